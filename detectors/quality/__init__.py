"""Data quality: what can be wrong with a row before any model sees it."""
