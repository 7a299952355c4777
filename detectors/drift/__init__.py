"""Detectors of change: one file each, listed in `detectors.registry`."""
