"""Reference profiles: what normal looks like."""
