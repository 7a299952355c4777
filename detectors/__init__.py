"""The pure core: join, sequencer, references, detectors, metrics and policy."""
