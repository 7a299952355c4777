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

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from detectors.flow.id_table import GONE, ODD, words_of
from detectors.flow.pending import Label, Slot
from detectors.flow.slab import Slab
from detectors.flow.stacked import together
from detectors.flow.stored_slots import load_slots
from detectors.frame import ID, Array, Frame
from streams.state.known_ids import Known, Row
from streams.state.pending_rows import Layouts, Stored, decode_stored, times
from streams.state.pending_slices import Slice, Slices
from streams.state.recent_rows import RecentRows
from streams.state.slice_filter import Filters

MAX_ENTRIES = 75_000_000
"""Predictions and labels of one shard; beyond that the oldest slice goes: `pending_full`."""

MAX_CHANGED = 50_000
"""Changes since the last checkpoint, beyond which the next one is due at once: at most 50 MB."""

Changes: TypeAlias = dict[int, list[tuple[bytes, bytes]]]
"""Slice number -> (id, what it holds of that id now; empty: nothing)."""

_SINGLE = 1 << 62
"""Refs from here on are of rows that are looked at on their own; the others lie in columns."""


class Disk(Protocol):
    """Where the slices lie; `streams.state.pending_disk.SliceDisk`."""

    def get(self, number: int, ids: Sequence[bytes]) -> list[bytes | None]:
        """What a slice holds of each id."""


class RocksPending:
    """Implements `detectors.flow.pending.PendingAtOnce` over a disk."""

    def __init__(self, disk: Disk, max_entries: int = MAX_ENTRIES) -> None:
        self.disk = disk
        self._filters = Filters()
        self._start(Slices(max_entries), Layouts())

    def _start(self, slices: Slices, layouts: Layouts) -> None:
        self._slices = slices
        self._layouts = layouts
        self._rows: list[Row] = []  # ref - _SINGLE -> row, of this step
        self._put: dict[int, Row] = {}  # ref -> row, of this step
        self._asked: list[bytes] = []  # ids that this step looks at one by one
        self.saved()

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
        """Predictions and labels that changed since the last checkpoint, or are kept as if."""
        return len(self._changed) + self._recent.n

    # -- reading ---------------------------------------------------------------------------------

    def fetch(self, ids: Array) -> None:
        """See `Pending`: one pass over the databases for all ids that are not in memory."""
        wanted: list[bytes] = [i for i in dict.fromkeys(ids.tolist()) if i not in self._known]
        if not wanted:
            return
        ids = np.frombuffer(b"".join(wanted), ID)
        for row_id, known in self._recent.move(ids):
            self._known[row_id] = known
            if known.changed:
                self._changed[row_id] = known
        left = np.array([row_id not in self._known for row_id in wanted], bool)
        for piece, row_id, value in self._on_disk(ids[left]):
            self._adopt(row_id, piece, decode_stored(value))
        self._recent.mark(ids, ODD)
        self._asked += wanted

    def _on_disk(self, ids: Array) -> Iterator[tuple[Slice, bytes, bytes]]:
        """(slice, id, what its database holds of it); ids occur once."""
        if not len(ids):
            return
        words = words_of(ids)
        for piece in self._slices:
            if piece.since < 0:
                continue
            asked = ids[self._filters.may_hold(piece.number, words)].tolist()
            values = self.disk.get(piece.number, asked) if asked else []
            for row_id, value in zip(asked, values, strict=True):
                if value:
                    yield piece, row_id, value

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

    # -- many at once ----------------------------------------------------------------------------

    def places(self, words: Array) -> tuple[Array, Array, Array]:
        """See `PendingAtOnce`: predictions that wait for their first label come off the disk."""
        places, known, label = self._recent.places(words)
        unknown = np.flatnonzero(known == GONE)
        if len(unknown):
            _, first = np.unique(places[unknown], return_index=True)
            ids = np.ascontiguousarray(words[unknown[first]]).view(ID).reshape(-1)
            if self._read_usual(ids):
                return self._recent.places(words)
        return places, known, label

    def _read_usual(self, ids: Array) -> bool:
        """Takes ids with one prediction and no label off the disk; says if it knew of any id."""
        found: dict[bytes, tuple[Slice, bytes]] = {}
        odd: set[bytes] = set()
        for piece, row_id, value in self._on_disk(ids):
            if row_id in found:
                odd.add(row_id)
            found[row_id] = (piece, value)
        groups: dict[tuple[Slice, int], list[tuple[bytes, bytes]]] = {}
        for row_id, (piece, value) in found.items():
            stored = decode_stored(value)
            if row_id in odd or len(stored.rows) != 1 or stored.slots or stored.rows[0].label:
                odd.add(row_id)
            else:
                [row] = stored.rows
                groups.setdefault((piece, row.layout), []).append((row_id, row.packed))
        for (piece, layout), rows in groups.items():
            of, packed = zip(*rows, strict=True)
            self._recent.read(piece, self._layouts[layout].unpack(of, packed))
        if odd:
            self._recent.mark(np.frombuffer(b"".join(sorted(odd)), ID), ODD)
        return bool(found)

    def subjects(self, refs: Array) -> tuple[Array, Array, list[str]]:
        """See `PendingAtOnce`."""
        return self._recent.subjects(refs)

    def put_all(self, places: Array, refs: Array) -> None:
        """See `PendingAtOnce`."""
        self._recent.put_all(places, refs)

    def meet_all(self, model: str, places: Array, refs: Array, labels: Frame, ends: Array) -> None:
        """See `PendingAtOnce`."""
        self._recent.meet_all(model, places, refs, labels, ends)

    # -- predictions -----------------------------------------------------------------------------

    def keep(self, frame: Frame, ends: Array) -> Array:
        """See `Pending`."""
        return self._recent.keep(frame, ends)

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

    def find(self, row_id: bytes) -> tuple[int, ...]:
        """See `Pending`."""
        known = self._known.get(row_id)
        if known is None:
            return ()
        return tuple([self._ref(row) for row in known.rows if row.slice.alive])

    def _ref(self, row: Row) -> int:
        if row.ref < 0:
            row.ref = _SINGLE + len(self._rows)
            self._rows.append(row)
        return row.ref

    def _row(self, ref: int) -> Row:
        return self._rows[ref - _SINGLE] if ref >= _SINGLE else self._put[ref]

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

    def rows(self, refs: Array) -> Frame:
        """See `Pending`."""
        single = refs >= _SINGLE
        if not single.any():
            return self._recent.rows(refs)
        wanted = [self._row(ref) for ref in refs[single].tolist()]
        frame = self._layouts.frame([(row.row_id, row.layout, row.packed) for row in wanted])
        parts = [(np.flatnonzero(single), frame)]
        if not single.all():
            parts.append((np.flatnonzero(~single), self._recent.rows(refs[~single])))
        return together(parts)

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

    def expire(self, now: int) -> None:
        """See `Pending`."""
        self._slices.expire(now)
        self._let_go()

    def _let_go(self) -> None:
        """What lies in memory of slices that are no more."""
        for piece in self._slices.take_gone():
            self._recent.lose(piece.end)
            self._filters.drop(piece.number)

    def settle(self) -> None:
        """See `Pending`."""
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

    def take_losses(self) -> dict[tuple[str, str], int]:
        """See `Pending`."""
        return self._slices.take_losses()

    # -- checkpoint ------------------------------------------------------------------------------

    def changes(self, offset: int) -> Changes:
        """What the databases have to take; between steps.

        Args:
            offset: of the changes topic, at or below that of the first record these will have.
        """
        changes: dict[Slice, list[tuple[bytes, bytes]]] = {}
        for piece, held in self._recent.stored().items():
            changes[piece] = list(held.items())
        for row_id, known in self._changed.items():
            for piece, value in known.values():
                changes.setdefault(piece, []).append((row_id, value))
        for piece, values in changes.items():
            if piece.since < 0:
                piece.since = offset
                self._filters.begin(piece.number)
            self._filters.add(piece.number, b"".join([row_id for row_id, _ in values]))
        return {piece.number: values for piece, values in changes.items()}

    def saved(self) -> None:
        """The databases have the changes: nothing of them is needed in memory any more."""
        self._known: dict[bytes, Known] = {}
        self._changed: dict[bytes, Known] = {}
        self._recent = RecentRows(self._slices, self._layouts)

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
        store._start(Slices.load(dumped["slices"]), Layouts.load(dumped["layouts"]))
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
                ids = frame.columns["id"].data.tolist()
                store.fetch(frame.columns["id"].data)
                for row, (row_id, ref) in enumerate(zip(ids, refs.tolist(), strict=True)):
                    store.put(row_id, ref)
                    if row in slab.labels:
                        store.set_label(ref, slab.labels[row])
            repeats = slab.count - slab.n
            piece = store._slices.of(slab.end)
            piece.predictions[slab.subject] = piece.predictions.get(slab.subject, 0) + repeats
            store._slices.entries += repeats
        for entry in dumped["slots"]:
            slots = list(load_slots(entry))
            store.fetch(np.frombuffer(b"".join([row_id for row_id, _ in slots]), ID))
            for row_id, slot in slots:
                store.set_slot(entry["model"], row_id, slot)
        store.settle()
        return store
