"""Mathematics that metrics and reports share."""
