"""Event-time windows and what they say: outcomes scored, tallied, summarised."""
