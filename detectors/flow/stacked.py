"""Frames one after the other, merged by levels, so that there are never many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from detectors.flow.groups import groups
from detectors.flow.id_table import words_of
from detectors.frame import Array, Frame, concat

_FAN = 16  # so many frames of one level are merged into one of the next


@dataclass(slots=True, eq=False)
class Rows:
    """The rows of frames of one subject and kind, numbered in the order they came."""

    frames: list[Frame] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    n: int = 0

    def append(self, frame: Frame) -> None:
        """Add rows, with the text values they use; they must not share a message's memory."""
        self.frames.append(frame.compact())
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
        for number, at in groups(frames):
            part = self.frames[number].take(rows[at] - self.starts[number])
            yield at, part.trimmed()

    def taken(self, rows: Array) -> Frame:
        """These rows, at least one, in the order given."""
        return together(list(self.take(rows)))

    def span(self, start: int, stop: int) -> Frame:
        """The rows from `start` to before `stop`, at least one, as `tidy`."""
        parts = [
            frame.span(max(0, start - first), min(frame.n, stop - first))
            for first, frame in zip(self.starts, self.frames, strict=True)
            if first < stop and first + frame.n > start
        ]
        return tidy(concat(parts))

    def words(self, start: int, stop: int) -> Array:
        """The ids of the rows from `start` to before `stop`, as two integers each."""
        parts = [
            words_of(frame.data("id")[max(0, start - first) : max(0, stop - first)])
            for first, frame in zip(self.starts, self.frames, strict=True)
            if first < stop and first + frame.n > start
        ]
        return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


def tidy(frame: Frame) -> Frame:
    """The rows with columns by name, without those that say nothing: equal rows, equal frames."""
    columns = {
        name: column.compact()
        for name, column in sorted(frame.columns.items())
        if column.valid is None or column.valid.any()
    }
    return Frame(frame.subject, frame.kind, frame.n, columns)


def together(parts: list[tuple[Array, Frame]]) -> Frame:
    """One frame of parts and the places that their rows have in it, with the texts they use."""
    frame = concat([part for _, part in parts])
    places = np.concatenate([at for at, _ in parts])
    if (places[1:] < places[:-1]).any():
        frame = frame.take(np.argsort(places))
    return frame.compact()
