"""Messages of a batch whose rows join releases together, and which of them caused each row."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detectors.frame import Column, Frame


@dataclass(slots=True)
class Waiting:
    """Messages whose rows are held and not released yet."""

    offsets: list[int] = field(default_factory=list)
    clocks: list[int | None] = field(default_factory=list)
    """The arrival clock after each of them, in ms."""
    rows: int = 0

    def add(self, offset: int, clock: int | None, rows: int) -> None:
        """Takes the next message."""
        self.offsets.append(offset)
        self.clocks.append(clock)
        self.rows += rows

    def causes(self, frame: Frame) -> Column:
        """Of each released row, the offset of the message that would have released it.

        That is the first whose clock has passed the row, or the row's own message, if later.
        """
        own = frame.column("cause")
        clocks = np.array([-1 if clock is None else clock for clock in self.clocks], np.int64)
        first = np.searchsorted(clocks, frame.ints("arrival"), side="right")
        causes = np.array(self.offsets, np.int64)[np.minimum(first, len(clocks) - 1)]
        if own is not None:
            causes = np.maximum(causes, np.where(own.mask, own.data, 0))
        return Column(causes)
