"""The pure core: join, sequencer, references, detectors, metrics and policy, as functions of rows."""
