"""Detectors of the registry that a monitor file asks for."""
