"""Which outcomes are left out where too many wait for the decision of the task, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.frame import Column, Frame

_WORD = 64
_PREVIOUS = ("previous", "previous_value")


@dataclass(slots=True)
class Thinning:
    """A share of predictions, 2 ** -bits by their ids' hash, whose waiting outcomes are kept.

    All outcomes of a prediction are kept or none is, so that a revision and what it revises are
    both counted or neither. How many bits that takes follows from the rows alone, however cut.

    Attributes:
        bits: 0 keeps all.
        until: arrival of the row that decided, ms: outcomes up to then were thinned. None: not yet.
    """

    bits: int = 0
    until: int | None = None

    def keeps(self, frame: Frame) -> NDArray[np.bool_]:
        """Rows of the share."""
        if not self.bits:
            return np.ones(frame.n, bool)
        words = np.frombuffer(frame.columns["id"].data.tobytes(), ">u8")[::2].astype(np.uint64)
        kept: NDArray[np.bool_] = words >> np.uint64(_WORD - self.bits) == 0
        return kept

    def fit(self, frames: list[Frame], room: int) -> tuple[list[Frame], int]:
        """(frames of at most `room` rows in all, rows that were left out)."""
        before = held = sum(frame.n for frame in frames)
        while held > room and self.bits < _WORD:
            self.bits += 1
            frames = [frame.take(self.keeps(frame)) for frame in frames]
            held = sum(frame.n for frame in frames)
        return frames, before - held

    def settle(self, frame: Frame) -> tuple[Frame, int]:
        """Outcomes once the task is decided, and how many were left out.

        One that revises an outcome which was left out is the first of its prediction.
        """
        if not self.bits or self.until is None or not frame.n:
            return frame, 0
        out = ~self.keeps(frame)
        known = out & (frame.ints("arrival") <= self.until)
        before, frame, out = frame.n, frame.take(~known), out[~known]
        if "previous_arrival" in frame.columns:
            revised = frame.ints("previous_arrival")
            if "prediction_arrival" in frame.columns:
                revised = np.maximum(revised, frame.ints("prediction_arrival"))
            first = out & (revised <= self.until)
            columns = dict(frame.columns)
            for name in set(_PREVIOUS) & set(columns):
                column = columns[name]
                said = column.mask & ~first
                data = np.where(said, column.data, np.zeros(1, column.data.dtype))
                columns[name] = Column(data, said, column.values)
            frame = Frame(frame.subject, frame.kind, frame.n, columns)
        return frame, before - frame.n

    def dump(self) -> list[Any]:
        """As builtins."""
        return [self.bits, self.until]

    @classmethod
    def load(cls, dumped: list[Any] | None) -> Self:
        """Goes on from `dump`; None: nothing was left out."""
        return cls(*(dumped or ()))
