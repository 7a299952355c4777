"""What the pending store in memory can do for many ids at once, for `detectors.usual`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from detectors.frame import Array
from detectors.pending import Label, Slot
from detectors.slab import Slab

SHIFT = 32
ROW = (1 << SHIFT) - 1
"""A ref is (number of the slab << SHIFT | row in it)."""


class ManyAtOnce(ABC):
    """The part of `MemoryPending` that works on whole columns."""

    _index: dict[bytes, int | tuple[int, ...]]
    _slabs: dict[int, Slab]
    _slots: dict[str, dict[bytes, Slot]]
    _slot_ids: dict[int, list[tuple[str, bytes]]]
    _entries: int

    @abstractmethod
    def _add_end(self, end: int) -> None:
        """Remember that a slice ends then."""

    def unknown(self, row_ids: Sequence[bytes], models: Sequence[str]) -> Array:
        """Which ids have neither a findable row nor a label of one of these models."""
        index = self._index
        new = np.array([row_id not in index for row_id in row_ids], bool)
        for model in models:
            new &= self.unheard(row_ids, model)
        return new

    def unheard(self, row_ids: Sequence[bytes], model: str) -> Array:
        """Which ids have no label of this model."""
        slots = self._slots.get(model)
        if not slots:
            return np.ones(len(row_ids), bool)
        return np.array([row_id not in slots for row_id in row_ids], bool)

    def unlabelled(self, row_ids: Sequence[bytes]) -> Array:
        """The ref of each id's one findable row, if that has no label yet, else -1."""
        found = [self._index.get(row_id, -1) for row_id in row_ids]
        slabs = self._slabs
        return np.array(
            [
                ref if type(ref) is int and ref >= 0
                and (ref & ROW) not in slabs[ref >> SHIFT].labels else -1
                for ref in found
            ],
            np.int64,
        )  # fmt: skip

    def whose(self, refs: Array) -> Iterator[tuple[str, Array, Array]]:
        """(subject, positions in `refs`, their ts in ms) of rows, slab by slab."""
        numbers = refs >> SHIFT
        for number in np.unique(numbers).tolist():
            slab, at = self._slabs[number], np.flatnonzero(numbers == number)
            yield slab.subject, at, np.frombuffer(slab.ts, np.int64)[refs[at] & ROW]

    def put_all(self, row_ids: Sequence[bytes], refs: Array) -> None:
        """Make kept rows of new ids findable; there is room for them."""
        self._index.update(zip(row_ids, refs.tolist(), strict=True))
        numbers, counts = np.unique(refs >> SHIFT, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._slabs[number].seen += count
            self._slabs[number].count += count
        self._entries += len(row_ids)

    def meet_all(
        self,
        model: str,
        row_ids: Sequence[bytes],
        refs: Array,
        labels: Sequence[Label],
        ends: Sequence[int],
    ) -> None:
        """Rows without a label get their first one, which is also kept; there is room for it."""
        slabs = self._slabs
        for ref, label in zip(refs.tolist(), labels, strict=True):
            slabs[ref >> SHIFT].labels[ref & ROW] = label
        arrivals = [label.arrival for label in labels]
        slots = map(Slot, labels, repeat(True), arrivals, ends)
        self._slots.setdefault(model, {}).update(zip(row_ids, slots, strict=True))
        for row_id, end in zip(row_ids, ends, strict=True):
            self._slot_ids[end].append((model, row_id))
        for end in set(ends):
            self._add_end(end)
        self._entries += len(row_ids)
