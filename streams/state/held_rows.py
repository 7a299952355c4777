"""The bound on what a worker's sequencers hold: rows that wait for the arrival clock."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from detectors.flow.sequencer import Sequencer
from detectors.frame import Frame

HELD_BYTES = 256 << 20
"""What all sequencers of a worker hold before the fullest step their older half: `forced`."""


class HeldRows:
    """The bound on what the sequencers of a worker hold together.

    A sequencer that holds no less than its share of too much steps its older half. Which one that
    is depends on the others, but nothing is promised of forced rows, and they are counted.
    """

    def __init__(self, limit_bytes: int = HELD_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._sizes: WeakKeyDictionary[Sequencer, int] = WeakKeyDictionary()

    def force(self, sequencer: Sequencer) -> list[Frame]:
        """The frames that a sequencer must let go of now; mostly none."""
        self._sizes[sequencer] = sequencer.nbytes
        total = sum(self._sizes.values())
        if total <= self.limit_bytes or sequencer.nbytes * len(self._sizes) < total:
            return []
        frames = sequencer.force(0)
        self._sizes[sequencer] = sequencer.nbytes
        return frames
