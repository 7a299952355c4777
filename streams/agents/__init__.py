"""The four agents: decode, step, emit. Every decision lives in `detectors`."""
