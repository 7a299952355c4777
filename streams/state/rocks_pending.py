"""The pending store on disk: what join remembers, as many ids as the disk holds.

Implements `detectors.flow.pending.Pending`, and gives exactly what `MemoryPending` gives. Memory
holds the ids of the step under way, those changed since the last checkpoint, and a few counters per
slice of time. Everything else lies in one database per slice (`streams.state.pending_disk`), read
by `fetch` and written by whoever writes the checkpoint:

    changes()   what the databases have to take; it also goes to the changes topic
    saved()     they have it: let go of it

Nothing here writes to the disk, so a step that fails, or a checkpoint that does, leaves it as the
last checkpoint knew it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from detectors.flow.pending import Label, Slot
from detectors.flow.slab import Slab
from detectors.flow.stored_slots import load_slots
from detectors.frame import Array, Frame
from streams.state.pending_rows import (
    Layouts,
    Stored,
    StoredRow,
    StoredSlot,
    decode_stored,
    encode_stored,
    times,
)
from streams.state.pending_slices import Slice, Slices

MAX_ENTRIES = 75_000_000
"""Predictions and labels of one shard; beyond that the oldest slice goes: `pending_full`."""

MAX_CHANGED = 50_000
"""Ids changed since the last checkpoint, beyond which the next one is due at once: about 50 MB."""

Changes: TypeAlias = dict[int, list[tuple[bytes, bytes]]]
"""Slice number -> (id, what it holds of that id now; empty: nothing)."""


class Disk(Protocol):
    """Where the slices lie; `streams.state.pending_disk.SliceDisk`."""

    def get(self, number: int, ids: Sequence[bytes]) -> list[bytes | None]:
        """What a slice holds of each id."""


@dataclass(slots=True, eq=False)
class _Row:
    """A prediction of the step under way, or one that changed since the last checkpoint."""

    row_id: bytes
    subject: str
    end: int
    layout: int
    packed: bytes
    slice: Slice | None = None
    """None: it has not had its turn yet, or was not wanted."""
    label: Label | None = None
    ref: int = -1


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of one id."""

    rows: list[_Row] = field(default_factory=list)
    slots: dict[str, tuple[Slice, Slot]] = field(default_factory=dict)
    stored: list[Slice] = field(default_factory=list)
    """Slices whose database holds something of it."""
    changed: bool = False


class RocksPending:
    """Implements `detectors.flow.pending.Pending` over a disk."""

    def __init__(self, disk: Disk, max_entries: int = MAX_ENTRIES) -> None:
        self.disk = disk
        self._slices = Slices(max_entries)
        self._layouts = Layouts()
        self._known: dict[bytes, _Known] = {}
        self._changed: dict[bytes, _Known] = {}
        self._fetched: list[bytes] = []  # ids that only this step asked for
        self._rows: list[_Row] = []  # ref -> row, of this step

    @property
    def next_end(self) -> int:
        """The arrival at which the next slice ends, in ms."""
        return self._slices.next_end

    @property
    def entries(self) -> int:
        """Predictions and labels held, with repeats of predictions that lie in their slice."""
        return self._slices.entries

    @property
    def room(self) -> int:
        """How many predictions and labels fit before the oldest slice has to go."""
        return self._slices.max_entries - self._slices.entries

    @property
    def waiting_labels(self) -> int:
        """Labels whose prediction has not come yet."""
        return sum(sum(piece.unmatched.values()) for piece in self._slices)

    @property
    def changed(self) -> int:
        """Ids changed since the last checkpoint."""
        return len(self._changed)

    # -- reading ---------------------------------------------------------------------------------

    def fetch(self, ids: Array) -> None:
        """See `Pending`: one pass over the databases for all ids that are not in memory."""
        wanted: list[bytes] = [i for i in dict.fromkeys(ids.tolist()) if i not in self._known]
        for piece in self._slices if wanted else ():
            if piece.since < 0:
                continue
            for row_id, value in zip(wanted, self.disk.get(piece.number, wanted), strict=True):
                if value:
                    self._adopt(row_id, piece, value)

    def _adopt(self, row_id: bytes, piece: Slice, value: bytes) -> None:
        known = self._known.get(row_id)
        if known is None:
            known = self._known[row_id] = _Known()
            self._fetched.append(row_id)
        known.stored.append(piece)
        stored = decode_stored(value)
        for row in stored.rows:
            subject = self._layouts[row.layout].subject
            known.rows.append(
                _Row(row_id, subject, piece.end, row.layout, row.packed, piece, row.label)
            )
        for slot in stored.slots:
            found = Slot(slot.label, slot.matched, slot.arrival, piece.end)
            known.slots[slot.model] = (piece, found)

    def _change(self, row_id: bytes) -> _Known:
        known = self._known.get(row_id)
        if known is None:
            known = self._known[row_id] = _Known()
        if not known.changed:
            known.changed = True
            self._changed[row_id] = known
        return known

    # -- predictions -----------------------------------------------------------------------------

    def keep(self, frame: Frame, ends: Array) -> Array:
        """See `Pending`."""
        if not frame.n:
            return np.empty(0, np.int64)
        layout = self._layouts.of(frame, int(ends.max()))
        first = len(self._rows)
        subject = frame.subject
        ids: list[bytes] = frame.columns["id"].data.tolist()
        packed = self._layouts[layout].pack(frame)
        self._rows += [
            _Row(row_id, subject, end, layout, row)
            for row_id, end, row in zip(ids, ends.tolist(), packed, strict=True)
        ]
        return np.arange(first, len(self._rows))

    def put(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        row = self._count(ref)
        row.ref = ref
        self._change(row_id).rows.append(row)

    def dismiss(self, ref: int) -> None:
        """See `Pending`."""
        self._count(ref)

    def _count(self, ref: int) -> _Row:
        self._slices.make_room()
        row = self._rows[ref]
        row.slice = self._slices.of(row.end)
        row.slice.predictions[row.subject] = row.slice.predictions.get(row.subject, 0) + 1
        return row

    def find(self, row_id: bytes) -> tuple[int, ...]:
        """See `Pending`."""
        known = self._known.get(row_id)
        if known is None:
            return ()
        return tuple([self._ref(row) for row in known.rows if row.slice and row.slice.alive])

    def _ref(self, row: _Row) -> int:
        if row.ref < 0:
            row.ref = len(self._rows)
            self._rows.append(row)
        return row.ref

    def forget(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        self._change(row_id).rows.remove(self._rows[ref])

    def subject(self, ref: int) -> str:
        """See `Pending`."""
        return self._rows[ref].subject

    def times(self, ref: int) -> tuple[int, int]:
        """See `Pending`."""
        return times(self._rows[ref].packed)

    def label(self, ref: int) -> Label | None:
        """See `Pending`."""
        return self._rows[ref].label

    def set_label(self, ref: int, label: Label) -> None:
        """See `Pending`."""
        row = self._rows[ref]
        row.label = label
        self._change(row.row_id)

    def rows(self, refs: Array) -> Frame:
        """See `Pending`."""
        wanted = [self._rows[ref] for ref in refs.tolist()]
        return self._layouts.frame([(row.row_id, row.layout, row.packed) for row in wanted])

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
        piece = self._slices.of(slot.end)
        piece.count(model, slot, 1)
        known.slots[model] = (piece, slot)

    # -- time ------------------------------------------------------------------------------------

    def expire(self, now: int) -> None:
        """See `Pending`."""
        self._slices.expire(now)

    def settle(self) -> None:
        """See `Pending`."""
        for row in self._rows:
            row.ref = -1
        self._rows = []
        for row_id in self._fetched:
            if not self._known[row_id].changed:
                del self._known[row_id]
        self._fetched = []
        self._layouts.expire(self._slices.next_end)

    def take_losses(self) -> dict[tuple[str, str], int]:
        """See `Pending`."""
        return self._slices.take_losses()

    # -- checkpoint ------------------------------------------------------------------------------

    def changes(self, offset: int) -> Changes:
        """What the databases have to take; between steps.

        Args:
            offset: of the changes topic, at or below that of the first record these will have.
        """
        changes: Changes = {}
        for row_id, known in self._changed.items():
            for piece, value in _values(known):
                changes.setdefault(piece.number, []).append((row_id, value))
                if piece.since < 0:
                    piece.since = offset
        return changes

    def saved(self) -> None:
        """The databases have the changes: nothing of them is needed in memory any more."""
        self._known = {}
        self._changed = {}

    @property
    def since(self) -> int | None:
        """Offset of the changes topic from which on it holds all of the store; None: no record."""
        return min((piece.since for piece in self._slices if piece.since >= 0), default=None)

    @property
    def live(self) -> frozenset[int]:
        """The numbers of the slices that hold anything."""
        return frozenset(piece.number for piece in self._slices)

    def dump(self) -> dict[str, Any]:
        """See `Pending`: counters and layouts, after `changes`; the rest is on the disk."""
        return {"slices": self._slices.dump(), "layouts": self._layouts.dump()}

    @classmethod
    def load(cls, dumped: dict[str, Any], disk: Disk) -> RocksPending:
        """The store that `dump` described, over a disk that has its changes."""
        store = cls(disk)
        store._slices = Slices.load(dumped["slices"])
        store._layouts = Layouts.load(dumped["layouts"])
        return store

    @classmethod
    def from_memory(cls, dumped: dict[str, Any], disk: Disk) -> RocksPending:
        """A store with what `MemoryPending.dump` described; all of it counts as changed."""
        store = cls(disk, max(MAX_ENTRIES, dumped["max_entries"]))
        for entry in dumped["slabs"]:
            slab = Slab.load(entry)
            slab.take_labels(np.arange(slab.n))
            for frame in slab.rows.frames:
                refs = store.keep(frame, np.full(frame.n, slab.end))
                for row, ref in enumerate(refs.tolist()):
                    store.put(store._rows[ref].row_id, ref)
                    if row in slab.labels:
                        store.set_label(ref, slab.labels[row])
            repeats = slab.count - slab.n
            piece = store._slices.of(slab.end)
            piece.predictions[slab.subject] = piece.predictions.get(slab.subject, 0) + repeats
            store._slices.entries += repeats
        for entry in dumped["slots"]:
            for row_id, slot in load_slots(entry):
                store.set_slot(entry["model"], row_id, slot)
        store.settle()
        return store


def _values(known: _Known) -> Iterable[tuple[Slice, bytes]]:
    """What each living slice holds of an id; nothing where it held something before."""
    rows: dict[Slice, list[StoredRow]] = {}
    slots: dict[Slice, list[StoredSlot]] = {}
    for row in known.rows:
        assert row.slice is not None
        rows.setdefault(row.slice, []).append(StoredRow(row.layout, row.packed, row.label))
    for model, (piece, slot) in known.slots.items():
        waiting = StoredSlot(model, slot.label, slot.matched, slot.arrival)
        slots.setdefault(piece, []).append(waiting)
    for piece in dict.fromkeys((*known.stored, *rows, *slots)):
        if piece.alive:
            held = Stored(rows.get(piece, []), slots.get(piece, []))
            yield piece, encode_stored(held) if held.rows or held.slots else b""
