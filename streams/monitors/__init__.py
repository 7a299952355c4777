"""Monitor files: read, judged, and described to editors."""
