"""Rows in order and labels to their predictions: the sequencer, the clock and the join."""
