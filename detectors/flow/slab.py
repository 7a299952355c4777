"""Slabs: predictions of a subject, or labels of a model, that end in one slice, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.flow.blocks import Block, Series, Touched, adopt, decoded
from detectors.flow.id_table import NONE
from detectors.flow.pending import Label, Slot, label_frame, label_rows, plain_labels, stored_labels
from detectors.flow.stacked import Rows, tidy
from detectors.frame import ID, Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_array, encode_frame

_ROW = np.dtype("<u4")  # a row's number in a checkpoint


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

    def _block_of_rows(self, start: int, stop: int) -> dict[str, Any]:
        return encode_frame(self.rows.span(start, stop))

    def _block_of_labels(self, start: int, stop: int) -> dict[str, Any]:
        rows = np.frombuffer(self.labelled_rows[start:stop], np.int64)
        labels = stored_labels(self.label_rows.span(start, stop))
        return {"rows": encode_array(rows.astype(_ROW)), "labels": encode_frame(labels)}

    def _block_of_touched(self, start: int, stop: int) -> dict[str, Any]:
        rows = self._touched.keys[start:stop]
        labels = label_frame("", None, [self.labels[row] for row in rows])
        return {"rows": encode_array(np.array(rows, _ROW)), "labels": encode_frame(labels)}

    def _block_of_dead(self, start: int, stop: int) -> bytes:
        return encode_array(np.array(self.dead[start:stop], _ROW))

    @classmethod
    def assemble(cls, subject: str, end: int, parts: list[list[Block]]) -> Slab:
        """The slab of which `blocks` gave these; its rows have the numbers they had."""
        slab = cls(subject, end)
        rows, labels, touched, dead = ([decoded(block) for block in part] for part in parts)
        for frame in rows:
            slab.append(decode_frame(frame))
        slab.seen = slab.n
        for part in labels:
            slab.set_labels(_rows(part["rows"]), plain_labels(decode_frame(part["labels"])))
        for part in touched:
            numbers = _rows(part["rows"])
            said = label_rows(decode_frame(part["labels"]))
            slab._touched.keys += numbers.tolist()
            slab.labels.update(zip(numbers.tolist(), said, strict=True))
            np.frombuffer(slab.label_at, np.int64)[numbers] = NONE
        for numbers in map(_rows, dead):
            slab.dead.frombytes(numbers.tobytes())
        slab._adopt(parts)
        return slab

    def _adopt(self, parts: list[list[Block]]) -> None:
        for ours, stored in zip(self.blocks(), parts, strict=True):
            adopt(ours, stored)


@dataclass(slots=True, eq=False)
class LabelSlab:
    """Labels of one model that end in one slice."""

    model: str
    end: int
    single: Mapping[bytes, Slot]
    """Those of the model, of all slices, that are looked at one by one."""
    rows: Rows = field(default_factory=Rows)
    """`plain_labels` with ids of those that met their prediction."""
    moved: array[int] = field(default_factory=lambda: array("q"))
    """Rows that are looked at one by one from now on, and not here."""
    touched: Touched[bytes] = field(default_factory=Touched)
    """Ids whose label in `single` came to this slice, was said again here, or went elsewhere."""
    _series: tuple[Series, Series] = field(default_factory=lambda: (Series(), Series()))
    """Of rows, of `moved`."""

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
        here[np.frombuffer(self.moved, np.int64)] = False
        return np.flatnonzero(here)

    # -- in blocks -----------------------------------------------------------------------------

    def blocks(self) -> list[list[Block]]:
        """The slab as blocks: its rows, those that moved, the labels looked at one by one."""
        rows, moved = self._series
        return [
            rows.cut(self.rows.n, self._block_of_rows),
            moved.cut(len(self.moved), self._block_of_moved),
            self.touched.cut(self._block_of_touched),
        ]

    def _block_of_rows(self, start: int, stop: int) -> dict[str, Any]:
        return encode_frame(stored_labels(self.rows.span(start, stop)))

    def _block_of_moved(self, start: int, stop: int) -> bytes:
        return encode_array(np.array(self.moved[start:stop], _ROW))

    def _block_of_touched(self, start: int, stop: int) -> dict[str, Any]:
        ids = self.touched.keys[start:stop]
        found = [(i, s) for i in ids if (s := self.single.get(i)) is not None and s.end == self.end]
        slots = [slot for _, slot in found]
        labels = label_frame("", [row_id for row_id, _ in found], [slot.label for slot in slots])
        return {
            "ids": b"".join(ids),
            "labels": encode_frame(labels),
            "matched": encode_array(np.array([slot.matched for slot in slots], bool)),
            "arrivals": encode_array(np.array([slot.arrival for slot in slots], "<i8")),
        }

    def assemble(self, parts: list[list[Block]]) -> dict[bytes, Slot]:
        """Takes what `blocks` gave; gives the labels that are looked at one by one."""
        rows, moved, touched = ([decoded(block) for block in part] for part in parts)
        for frame in rows:
            labels = plain_labels(decode_frame(frame))
            self.rows.append(Frame(f"{self.model}@", "label", labels.n, labels.columns))
        for numbers in map(_rows, moved):
            self.moved.frombytes(numbers.tobytes())
        slots: dict[bytes, Slot] = {}
        for part in touched:
            ids = np.frombuffer(part["ids"], ID).tolist()
            self.touched.keys += ids
            for row_id in ids:
                slots.pop(row_id, None)
            labels = decode_frame(part["labels"])
            said = zip(
                labels.columns["id"].data.tolist(),
                label_rows(labels),
                np.frombuffer(part["matched"], bool).tolist(),
                np.frombuffer(part["arrivals"], "<i8").tolist(),
                strict=True,
            )
            slots |= {
                row_id: Slot(label, matched, at, self.end) for row_id, label, matched, at in said
            }
        for ours, stored in zip(self.blocks(), parts, strict=True):
            adopt(ours, stored)
        return slots


def _rows(data: bytes) -> Array:
    numbers: Array = np.frombuffer(data, _ROW).astype(np.int64)
    return numbers
