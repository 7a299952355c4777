"""Slabs of labels of a model that end in one slice, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.flow.pending import Slot, label_frame, label_rows, plain_labels, stored_labels
from detectors.flow.saved_blocks import Block, Series, Touched, decoded
from detectors.flow.slab import ROW, row_numbers
from detectors.flow.stacked import Rows
from detectors.frame import ID, Array, Frame
from detectors.frame_codec import decode_frame, encode_array, encode_frame


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

    def end_blocks(self) -> None:
        """No checkpoint will ask for them any more."""
        for series in (*self._series, self.touched.series):
            series.clear()

    def _block_of_rows(self, start: int, stop: int) -> dict[str, Any]:
        return encode_frame(stored_labels(self.rows.span(start, stop)))

    def _block_of_moved(self, start: int, stop: int) -> bytes:
        return encode_array(np.array(self.moved[start:stop], ROW))

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
        frames = [plain_labels(decode_frame(frame)) for frame in rows]
        for frame in frames:
            self.rows.append(Frame(f"{self.model}@", "label", frame.n, frame.columns))
        gone = [row_numbers(part) for part in moved]
        for at in gone:
            self.moved.frombytes(at.tobytes())
        named = [np.frombuffer(part["ids"], ID).tolist() for part in touched]
        slots: dict[bytes, Slot] = {}
        for ids, part in zip(named, touched, strict=True):
            self.touched.keys += ids
            for row_id in ids:
                slots.pop(row_id, None)
            slots |= self._slots_of(part)
        self._series[0].adopt([frame.n for frame in frames], parts[0], self._block_of_rows)
        self._series[1].adopt(map(len, gone), parts[1], self._block_of_moved)
        self.touched.series.adopt(map(len, named), parts[2], self._block_of_touched)
        return slots

    def _slots_of(self, part: dict[str, Any]) -> dict[bytes, Slot]:
        labels = decode_frame(part["labels"])
        matched = np.frombuffer(part["matched"], bool).tolist()
        arrivals = np.frombuffer(part["arrivals"], "<i8").tolist()
        said = [
            Slot(label, met, arrival, self.end)
            for label, met, arrival in zip(label_rows(labels), matched, arrivals, strict=True)
        ]
        return dict(zip(labels.columns["id"].data.tolist(), said, strict=True))
