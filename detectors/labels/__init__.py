"""What labels tell beside errors: their mix, how late and how complete they come."""
