"""What we reach into of River, pinned by tests."""
