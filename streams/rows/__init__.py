"""JSON events to columns."""
