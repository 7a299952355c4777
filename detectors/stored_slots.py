"""Waiting labels in a checkpoint: those of one model, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.frame import Array, Frame
from detectors.frame_codec import decode_frame, encode_array, encode_frame
from detectors.pending import Slot, label_frame, label_rows


@dataclass(slots=True)
class StoredSlots:
    """The labels of one model that a dump describes; arrays of one value per label."""

    model: str
    labels: Frame
    """With ids and `order_ts`."""
    matched: Array
    arrivals: Array
    ends: Array

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> StoredSlots:
        """What `dump_slots` described."""
        return cls(
            dumped["model"],
            decode_frame(dumped["labels"]),
            np.frombuffer(dumped["matched"], bool),
            np.frombuffer(dumped["arrivals"], "<i8"),
            np.frombuffer(dumped["ends"], "<i8"),
        )

    @property
    def usual(self) -> Array:
        """Which of them met a prediction and were said once."""
        usual: Array = self.matched & (self.arrivals == self.labels.ints("arrival"))
        return usual

    def each(self, rows: Array) -> Iterator[tuple[bytes, Slot]]:
        """(id, slot) of these rows."""
        labels = self.labels.take(rows)
        parts = (self.matched[rows], self.arrivals[rows], self.ends[rows])
        slots = map(Slot, label_rows(labels), *(part.tolist() for part in parts))
        return zip(labels.columns["id"].data.tolist(), slots, strict=True)


def dump_slots(model: str, known: Mapping[bytes, Slot]) -> dict[str, Any]:
    """The labels of one model as builtins, by id."""
    slots = {row_id: known[row_id] for row_id in sorted(known)}
    return {
        "model": model,
        "labels": encode_frame(label_frame("", list(slots), [s.label for s in slots.values()])),
        "matched": encode_array(np.array([s.matched for s in slots.values()], bool)),
        "arrivals": encode_array(np.array([s.arrival for s in slots.values()], np.int64)),
        "ends": encode_array(np.array([s.end for s in slots.values()], np.int64)),
    }


def load_slots(dumped: dict[str, Any]) -> Iterator[tuple[bytes, Slot]]:
    """(id, waiting label) of one model's part of a dump."""
    stored = StoredSlots.load(dumped)
    return stored.each(np.arange(stored.labels.n))
