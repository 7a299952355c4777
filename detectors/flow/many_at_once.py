"""What the pending store in memory can do for many ids at once, for `detectors.flow.usual`.

Nearly every id has one prediction and, later, one label that met it. Such ids lie in a table of
arrays, their rows in slabs. An id with anything else about it, or whose row has to be looked at on
its own, moves to the dictionaries of `MemoryPending` for good: it is `ODD` in the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from detectors.flow.groups import groups
from detectors.flow.id_table import GONE, NONE, ODD, PAST, IdTable, words_of
from detectors.flow.label_slab import LabelSlab
from detectors.flow.pending import Slot
from detectors.flow.slab import Slab
from detectors.flow.stacked import together
from detectors.flow.stored_slots import StoredSlots
from detectors.frame import ID, Array, Frame

SHIFT = 32
ROW = (1 << SHIFT) - 1
"""A ref is (number of the slab << SHIFT | row in it)."""


class ManyAtOnce(ABC):
    """The part of `MemoryPending` that works on whole columns."""

    def __init__(self) -> None:
        self._table = IdTable()
        self._index: dict[bytes, int | tuple[int, ...]] = {}
        self._slabs: dict[int, Slab] = {}
        self._slots: dict[str, dict[bytes, Slot]] = {}
        self._label_slabs: dict[int, LabelSlab] = {}
        self._label_numbers: dict[int, dict[str, int]] = defaultdict(dict)  # end, model -> slab
        self._next_label_slab = 0
        self._looked_at: list[bytes] = []
        self._entries = 0

    @abstractmethod
    def _add_end(self, end: int) -> None:
        """Remember that a slice ends then."""

    # -- the usual rows of a step --------------------------------------------------------------

    def places(self, words: Array) -> tuple[Array, Array, Array]:
        """Of ids: where they lie in the table (until the end of the step), and what is known.

        Returns:
            places; the ref of the id's one prediction, `GONE` where nothing is known of the id,
            `NONE` where there is a label alone, `ODD` otherwise; the ref of its label, `NONE` where
            it never had one. Each of shape (n,).
        """
        places = self._table.places(words)
        return places, self._table.prediction.take(places), self._table.label.take(places)

    def subjects(self, refs: Array) -> tuple[Array, Array, list[str]]:
        """(ts in ms, place in the list, subjects) of predictions."""
        numbers = refs >> SHIFT
        ts, of = np.zeros(len(refs), np.int64), np.zeros(len(refs), np.int64)
        subjects: list[str] = []
        for number, at in groups(numbers):
            slab = self._slabs[number]
            ts[at] = np.frombuffer(slab.ts, np.int64)[refs[at] & ROW]
            of[at] = len(subjects)
            subjects.append(slab.subject)
        return ts, of, subjects

    def put_all(self, places: Array, refs: Array) -> None:
        """Make kept rows of new ids findable; there is room for them."""
        self._table.prediction[places] = refs
        self._table.label[places] = NONE
        for number, rows in groups(refs >> SHIFT):
            self._slabs[number].seen += len(rows)
            self._slabs[number].count += len(rows)
        self._entries += len(refs)

    def meet_all(self, model: str, places: Array, refs: Array, labels: Frame, ends: Array) -> None:
        """Rows without a label get their first one of `plain_labels`, which is also kept.

        There is room for it.
        """
        self._wait_all(model, places, labels, ends)
        numbers = refs >> SHIFT
        bare = labels.without(["id"])
        for number, at in groups(numbers):
            self._slabs[number].set_labels(refs[at] & ROW, bare.take(at))

    def _wait_all(self, model: str, places: Array, labels: Frame, ends: Array) -> None:
        """Keeps labels that met a prediction, in memory of their own."""
        for end, at in groups(ends):
            number = self._label_number(model, end)
            slab = self._label_slabs[number]
            self._table.label[places[at]] = (number << SHIFT) + slab.rows.n + np.arange(len(at))
            slab.rows.append(labels if len(at) == labels.n else labels.take(at))
        self._entries += len(places)

    def _label_number(self, model: str, end: int) -> int:
        number = self._label_numbers[end].get(model)
        if number is None:
            number = self._next_label_slab
            self._next_label_slab += 1
            single = self._slots.setdefault(model, {})
            self._label_slabs[number] = LabelSlab(model, end, single)
            self._label_numbers[end][model] = number
            self._add_end(end)
        return number

    @abstractmethod
    def _add(self, row_id: bytes, ref: int) -> None:
        """Make a row findable in the dictionaries."""

    # -- from the table to the dictionaries ----------------------------------------------------

    def fetch(self, ids: Array) -> None:
        """See `Pending`: what the table knows of them moves to the dictionaries."""
        each = list(dict.fromkeys(ids.tolist()))
        if not each:
            return
        ids = np.frombuffer(b"".join(each), ID)
        self._looked_at += each
        places = self._table.find(words_of(ids))
        ids, places = ids[places >= 0], places[places >= 0]
        self._move_predictions(ids, self._table.prediction[places])
        self._move_labels(ids, self._table.label[places])
        self._table.prediction[places] = ODD
        self._table.label[places] = NONE

    def _move_predictions(self, ids: Array, refs: Array) -> None:
        ids, refs = ids[refs >= 0], refs[refs >= 0]
        self._index.update(zip(ids.tolist(), refs.tolist(), strict=True))
        numbers = refs >> SHIFT
        for number, at in groups(numbers):
            self._slabs[number].take_labels(refs[at] & ROW)

    def _move_labels(self, ids: Array, refs: Array) -> None:
        ids, refs = ids[refs >= 0], refs[refs >= 0]
        numbers = refs >> SHIFT
        for number, at in groups(numbers):
            slab = self._label_slabs[number]
            rows = refs[at] & ROW
            slots = slab.slots(rows)
            self._slots[slab.model].update(slots)
            for row_id in slots:
                slab.touched.touch(row_id)
            slab.moved.frombytes(rows.tobytes())

    def _mark(self) -> None:
        """After a step the table says of ids that were looked at what the dictionaries have."""
        if not self._looked_at:
            return
        ids = list(dict.fromkeys(self._looked_at))
        self._looked_at = []
        known = [i in self._index or any(i in s for s in self._slots.values()) for i in ids]
        places = self._table.places(words_of(np.frombuffer(b"".join(ids), ID)))
        self._table.prediction[places] = np.where(known, ODD, GONE)

    # -- time ----------------------------------------------------------------------------------

    def _forget_predictions(self, number: int, start: int, stop: int) -> list[tuple[bytes, int]]:
        """Rows of a slab are in the table no more; gives (id, ref) of those that were not."""
        words = self._slabs[number].rows.words(start, stop)
        refs = (number << SHIFT) + start + np.arange(len(words))
        places = self._table.find(words)
        own = (places >= 0) & (self._table.prediction[places] == refs)
        waits = self._table.label[places[own]] >= 0
        self._table.prediction[places[own]] = np.where(waits, NONE, GONE)
        others = np.flatnonzero(~own)
        ids = np.ascontiguousarray(words[others]).view(ID).reshape(-1)
        return list(zip(ids.tolist(), refs[others].tolist(), strict=True))

    def _forget_labels(self, end: int) -> list[LabelSlab]:
        """Labels that end are in the table no more; gives their slabs."""
        gone: list[LabelSlab] = []
        for number in self._label_numbers.pop(end, {}).values():
            slab = self._label_slabs.pop(number)
            slab.end_blocks()
            rows = slab.alive()
            places = self._table.find(slab.rows.words(0, slab.rows.n)[rows])
            self._table.label[places] = PAST
            alone = places[self._table.prediction[places] == NONE]
            self._table.prediction[alone], self._table.label[alone] = GONE, NONE
            gone.append(slab)
            self._entries -= slab.count
        return gone

    # -- a store that was dumped ---------------------------------------------------------------

    def _find_again(self) -> None:
        """Makes the rows of all slabs findable."""
        slabs = self._slabs.items()
        if not slabs:
            return
        alive = np.concatenate([slab.alive() for _, slab in slabs])
        words = np.concatenate([slab.rows.words(0, slab.n) for _, slab in slabs])[alive]
        refs = np.concatenate([(number << SHIFT) + np.arange(slab.n) for number, slab in slabs])
        refs = refs[alive]
        places = self._table.places(words)
        alone = _once(places)
        singly = [(number << SHIFT) + row for number, slab in slabs for row in slab.labels]
        alone &= ~np.isin(refs, np.array(singly, np.int64))
        self._table.prediction[places] = np.where(alone, refs, ODD)
        labelled = np.concatenate([slab.labelled() for _, slab in slabs])[alive]
        self._table.label[places] = np.where(labelled & alone, PAST, NONE)  # until a slot is there
        for number, slab in slabs:
            slab.take_labels(refs[~alone & (refs >> SHIFT == number)] & ROW)
        odd = words[~alone].view(ID).reshape(-1).tolist()
        for row_id, ref in zip(odd, refs[~alone].tolist(), strict=True):
            self._add(row_id, ref)

    def _wait_again(self, slots: Sequence[StoredSlots]) -> Iterator[tuple[str, bytes, Slot]]:
        """Takes the labels that are as most are; gives the others."""
        if not slots:
            return
        ids = np.concatenate([part.labels.data("id") for part in slots])
        places = self._table.places(words_of(ids))
        usual = np.concatenate([part.usual for part in slots])
        usual &= _once(places) & (self._table.prediction[places] != ODD)
        self._table.prediction[places[usual & (self._table.prediction[places] == GONE)]] = NONE
        start = 0
        for part in slots:
            own = slice(start, start + part.labels.n)
            start += part.labels.n
            good = np.flatnonzero(usual[own])
            self._wait_all(part.model, places[own][good], part.labels.take(good), part.ends[good])
        self.fetch(ids[~usual])
        start = 0
        for part in slots:
            odd = np.flatnonzero(~usual[start : start + part.labels.n])
            start += part.labels.n
            for row_id, slot in part.each(odd):
                yield part.model, row_id, slot

    def _meet_again(self) -> None:
        """Makes the labels of all slabs findable, once the predictions are."""
        for number, slab in self._label_slabs.items():
            rows = slab.alive()
            places = self._table.places(slab.rows.words(0, slab.rows.n)[rows])
            self._table.label[places] = (number << SHIFT) + rows
            alone = places[self._table.prediction[places] == GONE]
            self._table.prediction[alone] = NONE
            self._entries += slab.count

    def _wait_singly(self, model: str, slots: dict[bytes, Slot]) -> None:
        """Labels that are looked at one by one, as they lie in their slabs' blocks."""
        if slots:
            self.fetch(np.frombuffer(b"".join(slots), ID))
            self._slots[model].update(slots)
            self._entries += len(slots)

    def rows(self, refs: Array) -> Frame:
        """See `Pending`."""
        numbers, rows = refs >> SHIFT, refs & ROW
        parts: list[tuple[Array, Frame]] = []
        for number, at in groups(numbers):
            parts += [
                (at[within], part) for within, part in self._slabs[number].rows.take(rows[at])
            ]
        return together(parts)


def _once(places: Array) -> Array:
    """Which places occur once, shape (n,)."""
    _, which, counts = np.unique(places, return_inverse=True, return_counts=True)
    once: Array = counts[which] == 1
    return once
