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

from detectors.flow.id_table import GONE, ODD
from detectors.flow.stacked import together
from detectors.frame import ID, Array, Frame
from streams.state.pending_rows import Layouts, decode_stored, usual_row
from streams.state.pending_slices import Slice, Slices
from streams.state.single_rows import SINGLE, SingleRows
from streams.state.slice_filter import Filters, asked_for

MAX_ENTRIES = 75_000_000
"""Predictions and labels of one shard; beyond that the oldest slice goes: `pending_full`."""

MAX_CHANGED = 50_000
"""Changes since the last checkpoint, beyond which the next one is due at once: at most 50 MB."""

FEW = 24
"""So many ids cost less to ask every database for than to look for in the filters."""

Changes: TypeAlias = dict[int, list[tuple[bytes, bytes]]]
"""Slice number -> (id, what it holds of that id now; empty: nothing)."""


class Disk(Protocol):
    """Where the slices lie; `streams.state.pending_disk.SliceDisk`."""

    def get(self, number: int, ids: Sequence[bytes]) -> list[bytes | None]:
        """What a slice holds of each id."""


class RocksPending(SingleRows):
    """Implements `detectors.flow.pending.PendingAtOnce` over a disk."""

    def __init__(
        self,
        disk: Disk,
        max_entries: int = MAX_ENTRIES,
        *,
        slices: Slices | None = None,
        layouts: Layouts | None = None,
    ) -> None:
        super().__init__(slices or Slices(max_entries), layouts or Layouts())
        self.disk = disk
        self._filters = Filters()

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
        """Ids that changed since the last checkpoint; those in columns that need not, too."""
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
        every: list[bytes] = ids.tolist()
        asked = asked_for(ids) if len(ids) > FEW else None
        for piece in self._slices:
            if piece.since < 0:
                continue
            wanted = every
            if asked and (maybe := self._filters.may_hold(piece.number, asked)) is not None:
                wanted = [every[at] for at in np.flatnonzero(maybe).tolist()]
            values = self.disk.get(piece.number, wanted) if wanted else []
            for row_id, value in zip(wanted, values, strict=True):
                if value:
                    yield piece, row_id, value

    # -- many at once ----------------------------------------------------------------------------

    def places(self, words: Array) -> tuple[Array, Array, Array]:
        """See `PendingAtOnce`: predictions that wait for their first label come off the disk."""
        places, known, label = self._recent.places(words)
        unknown = np.flatnonzero(known == GONE)
        if not len(unknown):
            return places, known, label
        _, first = np.unique(places[unknown], return_index=True)
        found = self._read_usual(np.ascontiguousarray(words[unknown[first]]).view(ID).reshape(-1))
        return self._recent.places(words) if found else (places, known, label)

    def _read_usual(self, ids: Array) -> bool:
        """Takes ids with one prediction and no label off the disk; says if it knew of any id."""
        found: dict[bytes, tuple[Slice, int, bytes]] = {}
        odd: set[bytes] = set()
        for piece, row_id, value in self._on_disk(ids):
            row = usual_row(value)
            if row is None or row_id in found:
                odd.add(row_id)
            else:
                found[row_id] = (piece, *row)
        groups: dict[tuple[Slice, int], tuple[list[bytes], list[bytes]]] = {}
        for row_id, (piece, layout, packed) in found.items():
            if row_id not in odd:
                group = groups.setdefault((piece, layout), ([], []))
                group[0].append(row_id)
                group[1].append(packed)
        for (piece, layout), (of, rows) in groups.items():
            self._recent.read(piece, self._layouts[layout].unpack(of, rows))
        if odd:
            self._recent.mark(np.frombuffer(b"".join(sorted(odd)), ID), ODD)
        return bool(found or odd)

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

    def rows(self, refs: Array) -> Frame:
        """See `Pending`."""
        single = refs >= SINGLE
        if not single.any():
            return self._recent.rows(refs)
        wanted = [self._row(ref) for ref in refs[single].tolist()]
        frame = self._layouts.frame([(row.row_id, row.layout, row.packed) for row in wanted])
        parts = [(np.flatnonzero(single), frame)]
        if not single.all():
            parts.append((np.flatnonzero(~single), self._recent.rows(refs[~single])))
        return together(parts)

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
        self._start()

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
        slices, layouts = Slices.load(dumped["slices"]), Layouts.load(dumped["layouts"])
        return cls(disk, slices=slices, layouts=layouts)
