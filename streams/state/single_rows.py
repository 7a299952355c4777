"""The part of the pending store on disk that looks at ids one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from detectors.flow.id_table import GONE
from detectors.flow.pending import Label, Slot
from detectors.frame import ID
from streams.state.known_ids import Known, Row
from streams.state.pending_rows import Layouts, Stored, times
from streams.state.pending_slices import Slice, Slices
from streams.state.recent_rows import RecentRows

SINGLE = 1 << 62
"""Refs from here on are of rows that are looked at on their own; the others lie in columns."""


class SingleRows(ABC):
    """What is known of the ids that a step fetched, and of those that changed."""

    def __init__(self, slices: Slices, layouts: Layouts) -> None:
        self._slices = slices
        self._layouts = layouts
        self._rows: list[Row] = []  # ref - SINGLE -> row, of this step
        self._put: dict[int, Row] = {}  # ref -> row, of this step
        self._asked: list[bytes] = []  # ids that this step looks at one by one
        self._start()

    def _start(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._changed: dict[bytes, Known] = {}
        self._recent = RecentRows(self._slices, self._layouts)

    @abstractmethod
    def _let_go(self) -> None:
        """Lets go of what lies in memory of slices that are no more."""

    def _adopt(self, row_id: bytes, piece: Slice, stored: Stored) -> None:
        known = self._known.setdefault(row_id, Known())
        known.stored.append(piece)
        for row in stored.rows:
            subject = self._layouts[row.layout].subject
            known.rows.append(Row(row_id, subject, row.layout, row.packed, piece, row.label))
        for slot in stored.slots:
            found = Slot(slot.label, slot.matched, slot.arrival, piece.end)
            known.slots[slot.model] = (piece, found)

    def _change(self, row_id: bytes) -> Known:
        known = self._known.setdefault(row_id, Known())
        if not known.changed:
            known.changed = True
            self._changed[row_id] = known
        return known

    # -- predictions -----------------------------------------------------------------------------

    def put(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        row = self._recent.row(row_id, ref, self._count(ref))
        row.ref = ref
        self._put[ref] = row
        self._change(row_id).rows.append(row)

    def dismiss(self, ref: int) -> None:
        """See `Pending`."""
        self._count(ref)

    def _count(self, ref: int) -> Slice:
        self._slices.make_room()
        self._let_go()
        subject, end = self._recent.lies(ref)
        piece = self._slices.of(end)
        piece.predictions[subject] = piece.predictions.get(subject, 0) + 1
        return piece

    def count_repeats(self, subject: str, end: int, n: int) -> None:
        """So many rows of a slice were dismissed."""
        piece = self._slices.of(end)
        piece.predictions[subject] = piece.predictions.get(subject, 0) + n
        self._slices.entries += n

    def find(self, row_id: bytes) -> tuple[int, ...]:
        """See `Pending`."""
        known = self._known.get(row_id)
        if known is None:
            return ()
        return tuple([self._ref(row) for row in known.rows if row.slice.alive])

    def _ref(self, row: Row) -> int:
        if row.ref < 0:
            row.ref = SINGLE + len(self._rows)
            self._rows.append(row)
        return row.ref

    def _row(self, ref: int) -> Row:
        return self._rows[ref - SINGLE] if ref >= SINGLE else self._put[ref]

    def forget(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        self._change(row_id).rows.remove(self._row(ref))

    def subject(self, ref: int) -> str:
        """See `Pending`."""
        return self._row(ref).subject

    def times(self, ref: int) -> tuple[int, int]:
        """See `Pending`."""
        return times(self._row(ref).packed)

    def label(self, ref: int) -> Label | None:
        """See `Pending`."""
        return self._row(ref).label

    def set_label(self, ref: int, label: Label) -> None:
        """See `Pending`."""
        row = self._row(ref)
        row.label = label
        self._change(row.row_id)

    # -- labels ----------------------------------------------------------------------------------

    def slot(self, model: str, row_id: bytes) -> Slot | None:
        """See `Pending`."""
        known = self._known.get(row_id)
        found = None if known is None else known.slots.get(model)
        return found[1] if found is not None and found[0].alive else None

    def set_slot(self, model: str, row_id: bytes, slot: Slot) -> None:
        """See `Pending`."""
        known = self._change(row_id)
        former = known.slots.get(model)
        if former is not None and former[0].alive:
            former[0].count(model, former[1], -1)
        else:
            self._slices.make_room()
            self._let_go()
        piece = self._slices.of(slot.end)
        piece.count(model, slot, 1)
        known.slots[model] = (piece, slot)

    # -- time ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """See `Pending`: ids that did not change are asked for again."""
        for row in (*self._rows, *self._put.values()):
            row.ref = -1
        self._rows, self._put = [], {}
        gone = [row_id for row_id in self._asked if row_id not in self._changed]
        for row_id in gone:
            self._known.pop(row_id, None)
        if gone:
            self._recent.mark(np.frombuffer(b"".join(gone), ID), GONE)
        self._asked = []
        self._layouts.expire(self._slices.next_end)
