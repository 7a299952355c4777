"""Errors over time: worse, and worse for the same scores."""
