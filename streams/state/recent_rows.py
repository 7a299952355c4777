"""The usual ids that changed since the last checkpoint, as columns, before they go to the disk.

What `detectors.flow.many_at_once` does for the store in memory: a table of ids, predictions and
labels in slabs. Here it is emptied with every checkpoint. Rows that were read from the disk lie in
slabs of their own, and have changed only once they have a label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from detectors.flow.id_table import NONE, ODD, words_of
from detectors.flow.label_slab import LabelSlab
from detectors.flow.many_at_once import ROW, SHIFT, ManyAtOnce
from detectors.flow.pending import Label, label_fields, label_rows
from detectors.flow.slab import Slab
from detectors.frame import Array, Frame
from streams.state.known_ids import Known, Row
from streams.state.pending_rows import (
    Layouts,
    Stored,
    decode_stored,
    encode_labels,
    encode_rows,
    encode_stored,
    encode_waiting,
)
from streams.state.pending_slices import Slice, Slices


class RecentRows(ManyAtOnce):
    """A part of `streams.state.rocks_pending.RocksPending`, with its slices and layouts."""

    def __init__(self, slices: Slices, layouts: Layouts) -> None:
        super().__init__()
        self._all_slices = slices
        self._layouts = layouts
        self._numbers: dict[int, dict[tuple[str, bool], int]] = defaultdict(dict)
        self._pieces: dict[int, Slice] = {}  # slab -> where its rows lie, once one was put
        self._read: set[int] = set()  # slabs of rows that the disk has
        self._packed: dict[int, list[tuple[int, bytes]]] = {}
        self.n = 0
        """Predictions here, each with a label or without, whatever became of them."""

    def _add_end(self, end: int) -> None:
        """The slices know."""

    def _add(self, row_id: bytes, ref: int) -> None:
        """Not here: there are no dictionaries."""

    # -- in --------------------------------------------------------------------------------------

    def keep(self, frame: Frame, ends: Array) -> Array:
        """As `Pending`."""
        refs = np.empty(frame.n, np.int64)
        for end in np.unique(ends).tolist():
            at = np.flatnonzero(ends == end)
            refs[at] = self._append(self._number(frame.subject, end, read=False), frame.take(at))
        return refs

    def read(self, piece: Slice, frame: Frame) -> None:
        """Rows of ids of which a slice's database holds just these predictions, and no other."""
        number = self._number(frame.subject, piece.end, read=True)
        self._pieces[number] = piece
        refs = self._append(number, frame)
        places = self._table.places(words_of(frame.columns["id"].data))
        self._table.prediction[places] = refs
        self._table.label[places] = NONE

    def _append(self, number: int, frame: Frame) -> Array:
        slab = self._slabs[number]
        refs: Array = (number << SHIFT) + slab.n + np.arange(frame.n)
        slab.append(frame)
        self.n += frame.n
        return refs

    def _number(self, subject: str, end: int, *, read: bool) -> int:
        number = self._numbers[end].get((subject, read))
        if number is None:
            number = self._numbers[end][subject, read] = len(self._slabs)
            self._slabs[number] = Slab(subject, end)
            if read:
                self._read.add(number)
        return number

    def put_all(self, places: Array, refs: Array) -> None:
        """As `ManyAtOnce`, and the slices count."""
        self._table.prediction[places] = refs
        self._table.label[places] = NONE
        numbers, counts = np.unique(refs >> SHIFT, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            slab = self._slabs[number]
            self._pieces[number] = piece = self._all_slices.of(slab.end)
            piece.predictions[slab.subject] = piece.predictions.get(slab.subject, 0) + count
        self._all_slices.entries += len(refs)

    def meet_all(self, model: str, places: Array, refs: Array, labels: Frame, ends: Array) -> None:
        """As `ManyAtOnce`, and the slices count."""
        super().meet_all(model, places, refs, labels, ends)
        slices, counts = np.unique(ends, return_counts=True)
        for end, count in zip(slices.tolist(), counts.tolist(), strict=True):
            piece = self._all_slices.of(end)
            piece.labels[model] = piece.labels.get(model, 0) + count
        self._all_slices.entries += len(refs)

    def mark(self, ids: Array, known: int) -> None:
        """Says of ids that they are `ODD` or `GONE` from now on."""
        places = self._table.places(words_of(ids))
        self._table.prediction[places] = known
        self._table.label[places] = NONE

    # -- out -------------------------------------------------------------------------------------

    def lose(self, end: int) -> None:
        """A slice is no more."""
        for number in self._numbers.pop(end, {}).values():
            self._forget_predictions(number, 0, self._slabs[number].n)
            self._pieces.pop(number, None)
        self._forget_labels(end)

    def move(self, ids: Array) -> Iterator[tuple[bytes, Known]]:
        """What is known of ids, which are looked at one by one from now on; each occurs once."""
        places = self._table.find(words_of(ids))
        here = np.flatnonzero(places >= 0)
        places = places[here]
        prediction, label = self._table.prediction[places], self._table.label[places]
        found: dict[bytes, Known] = {}
        self._move_rows(ids[here], prediction, found)
        self._move_slots(ids[here], label, found)
        self._table.prediction[places] = ODD
        self._table.label[places] = NONE
        return iter(found.items())

    def _move_rows(self, ids: Array, refs: Array, found: dict[bytes, Known]) -> None:
        ids, refs = ids[refs >= 0], refs[refs >= 0]
        for row_id, ref in zip(ids.tolist(), refs.tolist(), strict=True):
            number, at = ref >> SHIFT, ref & ROW
            known = found[row_id] = Known()
            row = self.row(row_id, ref, self._pieces[number])
            [row.label] = self._labels(self._slabs[number], np.array([at]))
            known.rows.append(row)
            if number in self._read:
                known.stored.append(row.slice)
            known.changed = number not in self._read or row.label is not None

    def _move_slots(self, ids: Array, refs: Array, found: dict[bytes, Known]) -> None:
        ids, refs = ids[refs >= 0], refs[refs >= 0]
        numbers = refs >> SHIFT
        for number in np.unique(numbers).tolist():
            slab, rows = self._label_slabs[number], refs[numbers == number] & ROW
            piece = self._all_slices.of(slab.end)
            for row_id, slot in slab.slots(rows).items():
                known = found.setdefault(row_id, Known())
                known.slots[slab.model] = (piece, slot)
                known.changed = True
            slab.moved.frombytes(rows.tobytes())

    def row(self, row_id: bytes, ref: int, piece: Slice) -> Row:
        """A row that is looked at on its own."""
        number, at = ref >> SHIFT, ref & ROW
        slab, packed = self._slabs[number], self._packed.setdefault(number, [])
        if at >= len(packed):
            frame = slab.rows.span(len(packed), slab.n)
            layout = self._layouts.of(frame, slab.end)
            packed += [(layout, one) for one in self._layouts[layout].pack(frame)]
        return Row(row_id, slab.subject, *packed[at], piece)

    def lies(self, ref: int) -> tuple[str, int]:
        """(subject of a row, end of its slice in ms)."""
        slab = self._slabs[ref >> SHIFT]
        return slab.subject, slab.end

    # -- to the disk -----------------------------------------------------------------------------

    def stored(self) -> dict[Slice, dict[bytes, bytes]]:
        """What living slices hold of the ids that changed and are not looked at one by one."""
        held: dict[Slice, dict[bytes, bytes]] = defaultdict(dict)
        said: dict[bytes, bytes] = {}  # id -> its label
        waiting = [(slab, *self._waiting(slab)) for slab in self._label_slabs.values()]
        for _, ids, _, encoded in waiting:
            said.update(zip(ids, encoded, strict=True))
        for number, piece in self._pieces.items():
            slab = self._slabs[number]
            rows = self._changed(number, slab)
            if len(rows):
                frame = slab.rows.taken(rows)
                layout = self._layouts.of(frame, slab.end)
                packed = self._layouts[layout].pack(frame)
                ids = frame.columns["id"].data.tolist()
                labels: list[bytes | None] = [said.get(row_id) for row_id in ids]
                self._add_past(slab, rows, labels)
                held[piece].update(zip(ids, encode_rows(layout, packed, labels), strict=True))
        for labelled, ids, arrivals, encoded in waiting:
            values = encode_waiting(labelled.model, encoded, arrivals)
            _add(held[self._all_slices.of(labelled.end)], ids, values)
        return held

    def _waiting(self, slab: LabelSlab) -> tuple[list[bytes], list[int], list[bytes]]:
        """(ids, arrivals, labels) of those that lie here."""
        rows = slab.alive()
        if not len(rows):
            return [], [], []
        frame = slab.rows.taken(rows)
        arrivals: list[int] = frame.ints("arrival").tolist()
        return frame.columns["id"].data.tolist(), arrivals, encode_labels(label_fields(frame))

    def _add_past(self, slab: Slab, rows: Array, labels: list[bytes | None]) -> None:
        """Labels that wait no more, as their slice is gone, and hold for their predictions yet."""
        past = np.flatnonzero(slab.labelled()[rows])
        past = past[[labels[at] is None for at in past.tolist()]] if len(past) else past
        for at, label in zip(past.tolist(), self._labels(slab, rows[past]), strict=True):
            [labels[at]] = encode_labels([label]) if label is not None else [None]

    def _changed(self, number: int, slab: Slab) -> Array:
        refs = (number << SHIFT) + np.arange(slab.n)
        places = self._table.find(slab.rows.words(0, slab.n))
        own = (places >= 0) & (self._table.prediction[places] == refs)
        if number in self._read:
            own &= slab.labelled()
        return np.flatnonzero(own)

    def _labels(self, slab: Slab, rows: Array) -> list[Label | None]:
        at = np.frombuffer(slab.label_at, np.int64)[rows]
        labels: list[Label | None] = [None] * len(rows)
        said = np.flatnonzero(at >= 0)
        if len(said):
            for place, label in zip(
                said.tolist(), label_rows(slab.label_rows.taken(at[said])), strict=True
            ):
                labels[place] = label
        return labels


def _add(held: dict[bytes, bytes], ids: list[bytes], values: list[bytes]) -> None:
    """A slice holds these, too."""
    both = held.keys() & set(ids) if held else ()
    former = {row_id: decode_stored(held[row_id]) for row_id in both}
    held.update(zip(ids, values, strict=True))
    for row_id, one in former.items():
        other = decode_stored(held[row_id])
        held[row_id] = encode_stored(Stored([*one.rows, *other.rows], [*one.slots, *other.slots]))
