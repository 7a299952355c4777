"""Waiting labels in a checkpoint: those of one model, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.flow.pending import Slot, label_frame, label_rows, stored_labels
from detectors.frame import Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_array, encode_frame


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


def dump_slots(
    model: str, known: Mapping[bytes, Slot], usual: Sequence[tuple[int, Frame]]
) -> dict[str, Any]:
    """The labels of one model as builtins, by id.

    Args:
        model: whose they are.
        known: those that are looked at one by one.
        usual: (end, labels with ids) of those that met a prediction and were said once.
    """
    slots = list(known.values())
    frames = [label_frame("", list(known), [slot.label for slot in slots])]
    frames += [Frame("", "label", frame.n, frame.columns) for _, frame in usual]
    labels = concat(frames)
    words = labels.columns["id"].data.view(">u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    n, ends = len(slots), [np.full(frame.n, end, np.int64) for end, frame in usual]
    matched = np.ones(labels.n, bool)
    matched[:n] = [slot.matched for slot in slots]
    arrivals = labels.ints("arrival").copy()
    arrivals[:n] = [slot.arrival for slot in slots]
    every = np.concatenate([np.array([slot.end for slot in slots], np.int64), *ends])
    return {
        "model": model,
        "labels": encode_frame(stored_labels(labels.take(order))),
        "matched": encode_array(matched[order]),
        "arrivals": encode_array(arrivals[order]),
        "ends": encode_array(every[order]),
    }


def load_slots(dumped: dict[str, Any]) -> Iterator[tuple[bytes, Slot]]:
    """(id, waiting label) of one model's part of a dump."""
    stored = StoredSlots.load(dumped)
    return stored.each(np.arange(stored.labels.n))
