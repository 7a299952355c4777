"""Slabs of predictions of a subject that end in one slice, as columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.flow.id_table import NONE
from detectors.flow.pending import Label, label_frame, label_rows, plain_labels, stored_labels
from detectors.flow.saved_blocks import Block, Series, Touched, decoded
from detectors.flow.stacked import Rows, tidy
from detectors.frame import Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_array, encode_frame

ROW = np.dtype("<u4")
"""A row's number in a checkpoint."""


@dataclass(slots=True, eq=False)
class Slab:
    """The predictions of one subject that end in one slice, in the order they came."""

    subject: str
    end: int
    rows: Rows = field(default_factory=Rows)
    ts: array[int] = field(default_factory=lambda: array("q"))
    arrival: array[int] = field(default_factory=lambda: array("q"))
    labels: dict[int, Label] = field(default_factory=dict)
    """Labels of rows that are looked at one by one."""
    label_rows: Rows = field(default_factory=Rows)
    label_at: array[int] = field(default_factory=lambda: array("q"))
    """Row -> its label in `label_rows`; -1: none there."""
    labelled_rows: array[int] = field(default_factory=lambda: array("q"))
    """The row of each label in `label_rows`."""
    dead: array[int] = field(default_factory=lambda: array("q"))
    """Rows never found: repeats, and rows that a later one replaced."""
    seen: int = 0
    """Rows below this one were put or dismissed."""
    floor: int = 0
    """Rows below this one are forgotten."""
    count: int = 0
    """Rows that count towards the store's limit."""
    _touched: Touched[int] = field(default_factory=Touched)
    """Rows of `labels` that were set."""
    _series: tuple[Series, Series, Series] = field(
        default_factory=lambda: (Series(), Series(), Series())
    )
    """Of rows, of `label_rows`, of `dead`."""

    @property
    def n(self) -> int:
        """Rows, the forgotten ones among them."""
        return self.rows.n

    def alive(self) -> Array:
        """Which rows can be found, shape (n,)."""
        found = np.ones(self.n, bool)
        found[: self.floor] = False
        found[np.frombuffer(self.dead, np.int64)] = False
        return found

    def set_label(self, row: int, label: Label) -> None:
        """A row that is looked at on its own has this label now."""
        self.labels[row] = label
        self._touched.touch(row)

    def append(self, frame: Frame) -> None:
        """Add rows."""
        self.ts.frombytes(frame.ints("ts").tobytes())
        self.arrival.frombytes(frame.ints("arrival").tobytes())
        self.label_at.frombytes(np.full(frame.n, NONE, np.int64).tobytes())
        self.rows.append(frame)

    def set_labels(self, rows: Array, labels: Frame) -> None:
        """These rows have labels now: `plain_labels`, in their order."""
        at = np.frombuffer(self.label_at, np.int64)
        at[rows] = self.label_rows.n + np.arange(len(rows))
        self.labelled_rows.frombytes(rows.astype(np.int64).tobytes())
        self.label_rows.append(labels)

    def take_labels(self, rows: Array) -> None:
        """The labels of these rows are looked at one by one from now on."""
        every = np.frombuffer(self.label_at, np.int64)
        rows = rows[every[rows] >= 0]
        if len(rows):
            labels = label_rows(self.label_rows.taken(every[rows]))
            self.labels.update(zip(rows.tolist(), labels, strict=True))
            every[rows] = NONE

    def labelled(self) -> Array:
        """Which rows have a label in `label_rows`, shape (n,)."""
        return np.frombuffer(self.label_at, np.int64) >= 0

    def dump(self) -> dict[str, Any] | None:
        """The rows that can be found, as builtins; None: there are none, and nothing counts."""
        if not self.count:
            return None
        found = self.alive()
        alive = np.flatnonzero(found)
        said, labels = self._labels(found)
        return {
            "subject": self.subject,
            "end": self.end,
            "count": self.count,
            "frame": encode_frame(tidy(self.rows.taken(alive))) if len(alive) else None,
            "labelled": encode_array(np.searchsorted(alive, said).astype(np.uint32)),
            "labels": encode_frame(labels),
        }

    def _labels(self, found: Array) -> tuple[Array, Frame]:
        """(rows that have a label and can be found, in their order, and their labels)."""
        singly = [row for row in self.labels if found[row]]
        rows = np.flatnonzero(self.labelled() & found)
        parts = [label_frame("", None, [self.labels[row] for row in singly])]
        if len(rows):
            at = np.frombuffer(self.label_at, np.int64)[rows]
            taken = self.label_rows.taken(at)
            parts.append(Frame("", "label", taken.n, taken.columns))
        every = np.concatenate([np.array(singly, np.int64), rows])
        order = np.argsort(every)
        return every[order], stored_labels(concat(parts).take(order))

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Slab:
        """The slab that `dump` described; its rows are numbered anew."""
        slab = cls(dumped["subject"], dumped["end"], count=dumped["count"])
        if dumped["frame"] is not None:
            slab.append(decode_frame(dumped["frame"]))
        slab.seen = slab.n
        rows = np.frombuffer(dumped["labelled"], np.uint32).astype(np.int64)
        if len(rows):
            slab.set_labels(rows, plain_labels(decode_frame(dumped["labels"])))
        return slab

    # -- in blocks -----------------------------------------------------------------------------

    def blocks(self) -> list[list[Block]]:
        """The slab as blocks: its rows, labels, labels of rows looked at one by one, dead rows."""
        rows, labels, dead = self._series
        return [
            rows.cut(self.n, self._block_of_rows),
            labels.cut(self.label_rows.n, self._block_of_labels),
            self._touched.cut(self._block_of_touched),
            dead.cut(len(self.dead), self._block_of_dead),
        ]

    def end_blocks(self) -> None:
        """No checkpoint will ask for them any more."""
        for series in (*self._series, self._touched.series):
            series.clear()

    def _block_of_rows(self, start: int, stop: int) -> dict[str, Any]:
        return encode_frame(self.rows.span(start, stop))

    def _block_of_labels(self, start: int, stop: int) -> dict[str, Any]:
        rows = np.frombuffer(self.labelled_rows[start:stop], np.int64)
        labels = stored_labels(self.label_rows.span(start, stop))
        return {"rows": encode_array(rows.astype(ROW)), "labels": encode_frame(labels)}

    def _block_of_touched(self, start: int, stop: int) -> dict[str, Any]:
        rows = self._touched.keys[start:stop]
        labels = label_frame("", None, [self.labels[row] for row in rows])
        return {"rows": encode_array(np.array(rows, ROW)), "labels": encode_frame(labels)}

    def _block_of_dead(self, start: int, stop: int) -> bytes:
        return encode_array(np.array(self.dead[start:stop], ROW))

    @classmethod
    def assemble(cls, subject: str, end: int, parts: list[list[Block]]) -> Slab:
        """The slab of which `blocks` gave these; its rows have the numbers they had."""
        slab = cls(subject, end)
        rows, labels, touched, dead = ([decoded(block) for block in part] for part in parts)
        frames = [decode_frame(frame) for frame in rows]
        for frame in frames:
            slab.append(frame)
        slab.seen = slab.n
        labelled = [row_numbers(part["rows"]) for part in labels]
        for at, part in zip(labelled, labels, strict=True):
            slab.set_labels(at, plain_labels(decode_frame(part["labels"])))
        singly = [row_numbers(part["rows"]) for part in touched]
        for at, part in zip(singly, touched, strict=True):
            said = label_rows(decode_frame(part["labels"]))
            slab._touched.keys += at.tolist()
            slab.labels.update(zip(at.tolist(), said, strict=True))
            np.frombuffer(slab.label_at, np.int64)[at] = NONE
        gone = [row_numbers(part) for part in dead]
        for at in gone:
            slab.dead.frombytes(at.tobytes())
        rows_of, labels_of, dead_of = slab._series
        rows_of.adopt([frame.n for frame in frames], parts[0], slab._block_of_rows)
        labels_of.adopt(map(len, labelled), parts[1], slab._block_of_labels)
        slab._touched.series.adopt(map(len, singly), parts[2], slab._block_of_touched)
        dead_of.adopt(map(len, gone), parts[3], slab._block_of_dead)
        return slab


def row_numbers(data: bytes) -> Array:
    """Numbers of rows in a block, as int64."""
    numbers: Array = np.frombuffer(data, ROW).astype(np.int64)
    return numbers
