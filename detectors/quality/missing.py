"""Missing values: rows whose feature is null or absent."""

from __future__ import annotations

from detectors.api import Value


def missing_rate(rows: int, present: int) -> Value:
    """Share of `rows` without the feature, 0 to 1; `present` of them had it, of whatever type."""
    return Value((rows - present) / rows) if rows else Value(None, "no rows")
