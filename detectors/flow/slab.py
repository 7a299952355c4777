"""Slabs: predictions of a subject, or labels of a model, that end in one slice, as columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.flow.id_table import NONE
from detectors.flow.pending import Label, Slot, label_frame, label_rows, plain_labels, stored_labels
from detectors.flow.stacked import Rows
from detectors.frame import Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_array, encode_frame


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
    dead: set[int] = field(default_factory=set)
    """Rows never found: repeats, and rows that a later one replaced."""
    seen: int = 0
    """Rows below this one were put or dismissed."""
    floor: int = 0
    """Rows below this one are forgotten."""
    count: int = 0
    """Rows that count towards the store's limit."""

    @property
    def n(self) -> int:
        """Rows, the forgotten ones among them."""
        return self.rows.n

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
        found = np.ones(self.n, bool)
        found[: self.floor] = False
        found[list(self.dead)] = False
        alive = np.flatnonzero(found)
        said, labels = self._labels(found)
        return {
            "subject": self.subject,
            "end": self.end,
            "count": self.count,
            "frame": encode_frame(self.rows.taken(alive)) if len(alive) else None,
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


@dataclass(slots=True, eq=False)
class LabelSlab:
    """Labels of one model that met their prediction and end in one slice."""

    model: str
    end: int
    rows: Rows = field(default_factory=Rows)
    """`plain_labels` with ids."""
    moved: set[int] = field(default_factory=set)
    """Rows that are looked at one by one from now on, and not here."""

    @property
    def count(self) -> int:
        """Labels that are still here."""
        return self.rows.n - len(self.moved)

    def slots(self, rows: Array) -> dict[bytes, Slot]:
        """Id -> what waits, of these rows."""
        if not len(rows):
            return {}
        labels = self.rows.taken(rows)
        found = [Slot(label, True, label.arrival, self.end) for label in label_rows(labels)]
        return dict(zip(labels.columns["id"].data.tolist(), found, strict=True))

    def alive(self) -> Array:
        """The rows that are still here."""
        here = np.ones(self.rows.n, bool)
        here[list(self.moved)] = False
        return np.flatnonzero(here)
