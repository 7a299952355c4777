"""A slab: the pending predictions of one subject that end in one slice of time, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.frame import Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_array, encode_frame
from detectors.pending import Label, label_frame, label_rows

_FAN = 16  # so many frames of one level are merged into one of the next


@dataclass(slots=True, eq=False)
class Slab:
    """The predictions of one subject that end in one slice, in the order they came."""

    subject: str
    end: int
    frames: list[Frame] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    n: int = 0
    ts: array[int] = field(default_factory=lambda: array("q"))
    arrival: array[int] = field(default_factory=lambda: array("q"))
    labels: dict[int, Label] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    """Rows never found: repeats, and rows that a later one replaced."""
    seen: int = 0
    """Rows below this one were put or dismissed."""
    floor: int = 0
    """Rows below this one are forgotten."""
    count: int = 0
    """Rows that count towards the store's limit."""

    def append(self, frame: Frame) -> None:
        """Add rows; small frames are merged by levels, so that there are never many."""
        self.ts.frombytes(frame.ints("ts").tobytes())
        self.arrival.frombytes(frame.ints("arrival").tobytes())
        self.frames.append(frame)
        self.levels.append(0)
        self.starts.append(self.n)
        self.n += frame.n
        while self.levels[-_FAN:] == [self.levels[-1]] * _FAN:
            self.frames[-_FAN:] = [concat(self.frames[-_FAN:])]
            self.levels[-_FAN:] = [self.levels[-1] + 1]
            self.starts[-_FAN:] = [self.starts[-_FAN]]

    def take(self, rows: Array) -> Iterator[tuple[Array, Frame]]:
        """(positions in `rows`, those rows) for each frame that has some."""
        frames = np.searchsorted(np.array(self.starts), rows, side="right") - 1
        for number in np.unique(frames).tolist():
            at = np.flatnonzero(frames == number)
            part = self.frames[number].take(rows[at] - self.starts[number])
            part.columns = {name: column.compact() for name, column in part.columns.items()}
            yield at, part

    def ids(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """(row, id) of the rows from `start` to before `stop`, and of others in their frames."""
        for first, frame in zip(self.starts, self.frames, strict=True):
            if first < stop and first + frame.n > start:
                yield from enumerate(frame.columns["id"].data.tolist(), first)

    def dump(self) -> dict[str, Any] | None:
        """The rows that can be found, as builtins; None: there are none, and nothing counts."""
        found = np.ones(self.n, bool)
        found[: self.floor] = False
        found[list(self.dead)] = False
        alive = np.flatnonzero(found)
        if not self.count:
            return None
        taken = list(self.take(alive))
        labelled = [new for new, row in enumerate(alive.tolist()) if row in self.labels]
        labels = [self.labels[row] for row in alive[labelled].tolist()]
        return {
            "subject": self.subject,
            "end": self.end,
            "count": self.count,
            "frame": encode_frame(concat([part for _, part in taken])) if taken else None,
            "labelled": encode_array(np.array(labelled, np.uint32)),
            "labels": encode_frame(label_frame("", None, labels)),
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Slab:
        """The slab that `dump` described; its rows are numbered anew."""
        slab = cls(dumped["subject"], dumped["end"], count=dumped["count"])
        if dumped["frame"] is not None:
            slab.append(decode_frame(dumped["frame"]))
        slab.seen = slab.n
        rows = np.frombuffer(dumped["labelled"], np.uint32).tolist()
        slab.labels = dict(zip(rows, label_rows(decode_frame(dumped["labels"])), strict=True))
        return slab
