"""The pending store in memory: columns per subject and slice of time, and an index by id.

A ref is (number of the slab << 32 | row in it). About 200 bytes per prediction, 120 more per label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.flow.groups import groups
from detectors.flow.label_slab import LabelSlab
from detectors.flow.many_at_once import ROW, SHIFT, ManyAtOnce
from detectors.flow.pending import Label, Slot
from detectors.flow.saved_blocks import Block
from detectors.flow.sequencer import FOREVER
from detectors.flow.slab import Slab
from detectors.flow.slab_blocks import assembled_slabs, cut_slabs, parts_of
from detectors.flow.stored_slots import StoredSlots, dump_slots
from detectors.frame import Array, Frame

MAX_ENTRIES = 2_000_000
"""Predictions and labels of one shard; beyond that the oldest slice goes: `pending_full`."""


class MemoryPending(ManyAtOnce):
    """Implements `detectors.flow.pending.Pending`."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        super().__init__()
        self.max_entries = max_entries
        self.next_end = FOREVER
        self._numbers: dict[int, dict[str, int]] = defaultdict(dict)  # end -> subject -> slab
        self._next_number = 0
        self._ends: set[int] = set()
        self._losses: Counter[tuple[str, str]] = Counter()

    @property
    def entries(self) -> int:
        """Predictions and labels held, with repeats of predictions that lie in their slice."""
        return self._entries

    @property
    def room(self) -> int:
        """See `Pending`."""
        return self.max_entries - self._entries

    @property
    def waiting_labels(self) -> int:
        """Labels whose prediction has not come yet."""
        return sum(not slot.matched for slots in self._slots.values() for slot in slots.values())

    # -- predictions ---------------------------------------------------------------------------

    def keep(self, frame: Frame, ends: Array) -> Array:
        """See `Pending`."""
        refs = np.empty(frame.n, np.int64)
        for end, at in groups(ends):
            number = self._number(frame.subject, end)
            slab = self._slabs[number]
            refs[at] = (number << SHIFT) + slab.n + np.arange(len(at))
            slab.append(frame.take(at))  # copies: the frame may share a whole message's memory
        return refs

    def _number(self, subject: str, end: int) -> int:
        number = self._numbers[end].get(subject)
        return self._adopt(Slab(subject, end)) if number is None else number

    def _adopt(self, slab: Slab) -> int:
        number = self._next_number
        self._next_number += 1
        self._slabs[number] = slab
        self._numbers[slab.end][slab.subject] = number
        self._add_end(slab.end)
        return number

    def _add_end(self, end: int) -> None:
        if end not in self._ends:
            self._ends.add(end)
            self.next_end = min(self.next_end, end)

    def put(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        self._see(ref)
        self._add(row_id, ref)

    def _add(self, row_id: bytes, ref: int) -> None:
        found = self._index.get(row_id)
        if found is None:
            self._index[row_id] = ref
        elif isinstance(found, int):
            self._index[row_id] = (found, ref)
        else:
            self._index[row_id] = (*found, ref)

    def dismiss(self, ref: int) -> None:
        """See `Pending`."""
        self._see(ref)
        self._slabs[ref >> SHIFT].dead.append(ref & ROW)

    def _see(self, ref: int) -> None:
        if self._entries >= self.max_entries:
            self._evict()
        slab = self._slabs[ref >> SHIFT]
        slab.seen += 1
        slab.count += 1
        self._entries += 1

    def find(self, row_id: bytes) -> tuple[int, ...]:
        """See `Pending`."""
        found = self._index.get(row_id)
        if found is None:
            return ()
        return (found,) if isinstance(found, int) else found

    def forget(self, row_id: bytes, ref: int) -> None:
        """See `Pending`."""
        self._slabs[ref >> SHIFT].dead.append(ref & ROW)
        self._unindex(row_id, ref)

    def _unindex(self, row_id: bytes, ref: int) -> None:
        found = self._index.get(row_id)
        if found == ref:
            del self._index[row_id]
            self._looked_at.append(row_id)
        elif isinstance(found, tuple) and ref in found:
            rest = tuple(other for other in found if other != ref)
            self._index[row_id] = rest if len(rest) > 1 else rest[0]

    def subject(self, ref: int) -> str:
        """See `Pending`."""
        return self._slabs[ref >> SHIFT].subject

    def times(self, ref: int) -> tuple[int, int]:
        """See `Pending`."""
        slab = self._slabs[ref >> SHIFT]
        row = ref & ROW
        return slab.ts[row], slab.arrival[row]

    def label(self, ref: int) -> Label | None:
        """See `Pending`."""
        return self._slabs[ref >> SHIFT].labels.get(ref & ROW)

    def set_label(self, ref: int, label: Label) -> None:
        """See `Pending`."""
        self._slabs[ref >> SHIFT].set_label(ref & ROW, label)

    # -- labels --------------------------------------------------------------------------------

    def slot(self, model: str, row_id: bytes) -> Slot | None:
        """See `Pending`."""
        slots = self._slots.get(model)
        return None if slots is None else slots.get(row_id)

    def set_slot(self, model: str, row_id: bytes, slot: Slot) -> None:
        """See `Pending`."""
        slots = self._slots.setdefault(model, {})
        known = slots.get(row_id)
        if known is None:
            if self._entries >= self.max_entries:
                self._evict()
            self._entries += 1
        slots[row_id] = slot
        if known is not None and known.end != slot.end:  # it lies there no more
            self._label_slab(model, known.end).touched.touch(row_id)
        self._label_slab(model, slot.end).touched.touch(row_id)

    def _label_slab(self, model: str, end: int) -> LabelSlab:
        return self._label_slabs[self._label_number(model, end)]

    # -- time ----------------------------------------------------------------------------------

    def expire(self, now: int) -> None:
        """See `Pending`."""
        for end in sorted(end for end in self._ends if end <= now):
            self._clear(end, evicted=False)
        self.next_end = min((end for end in self._ends if end > now), default=FOREVER)

    def settle(self) -> None:
        """See `Pending`."""
        self._mark()
        gone = [k for k, slab in self._slabs.items() if slab.floor == slab.n and not slab.count]
        for number in gone:
            slab = self._slabs.pop(number)
            slab.end_blocks()
            numbers = self._numbers[slab.end]
            del numbers[slab.subject]
            if not numbers:
                del self._numbers[slab.end]

    def _evict(self) -> None:
        """The oldest slice that holds anything goes."""
        for end in sorted(self._ends):
            if self._clear(end, evicted=True):
                break
        self.next_end = min(self._ends, default=FOREVER)

    def _clear(self, end: int, *, evicted: bool) -> int:
        """Forget a slice; rows of this step not looked at yet stay. Returns how many went."""
        before = self._entries
        complete = True
        for subject, number in self._numbers.get(end, {}).items():
            slab = self._slabs[number]
            self._clear_slab(number, slab)
            complete &= slab.seen == slab.n
            if evicted and slab.count:
                self._losses[subject, "pending_full"] += slab.count
            self._entries -= slab.count
            slab.count = 0
        for labels in self._forget_labels(end):
            if evicted and labels.count:
                self._losses[f"{labels.model}@", "pending_full"] += labels.count
            self._forget_singly(labels, evicted=evicted)
        if complete:
            self._ends.discard(end)
        return before - self._entries

    def _forget_singly(self, labels: LabelSlab, *, evicted: bool) -> None:
        for row_id in labels.touched.keys:
            slot = self.slot(labels.model, row_id)
            if slot is None or slot.end != labels.end:
                continue  # it was said again, and lies in a later slice
            del self._slots[labels.model][row_id]
            self._looked_at.append(row_id)
            self._entries -= 1
            if evicted or not slot.matched:
                name = "pending_full" if evicted else "orphan_labels"
                self._losses[f"{labels.model}@", name] += 1

    def _clear_slab(self, number: int, slab: Slab) -> None:
        for row_id, ref in self._forget_predictions(number, slab.floor, slab.seen):
            self._unindex(row_id, ref)
        slab.floor = slab.seen

    def take_losses(self) -> dict[tuple[str, str], int]:
        """See `Pending`."""
        losses, self._losses = self._losses, Counter()
        return losses

    # -- checkpoint ----------------------------------------------------------------------------

    def blocks(self) -> tuple[dict[str, Any], list[Block]]:
        """The store in parts, for the checkpoint; taken between steps.

        Returns:
            Builtins that say what the blocks are, and the blocks. Of those there are as many as
            the store is large, but what lies in them is encoded only where it changed.
        """
        held = [slab for slab in self._slabs.values() if slab.count]
        about, blocks = cut_slabs(held, self._label_slabs.values())
        return about | {"max_entries": self.max_entries}, blocks

    def dump(self) -> dict[str, Any]:
        """See `Pending`: equal stores give equal ones. What `blocks` gives is less work."""
        slabs = [dumped for slab in self._slabs.values() if (dumped := slab.dump()) is not None]
        usual: dict[str, list[tuple[int, Frame]]] = {m: [] for m, s in self._slots.items() if s}
        for labels in self._label_slabs.values():
            if labels.count:
                taken = labels.rows.taken(labels.alive())
                usual.setdefault(labels.model, []).append((labels.end, taken))
        slots = [dump_slots(m, self._slots.get(m, {}), usual[m]) for m in sorted(usual)]
        return {"max_entries": self.max_entries, "slabs": slabs, "slots": slots}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> MemoryPending:
        """The store that `dump` described; every later step gives what it would have given."""
        store = cls(dumped["max_entries"])
        for entry in dumped["slabs"]:
            slab = Slab.load(entry)
            store._adopt(slab)
            store._entries += slab.count
        store._find_again()
        slots = [StoredSlots.load(entry) for entry in dumped["slots"]]
        for model, row_id, slot in store._wait_again(slots):
            store.set_slot(model, row_id, slot)
        store._mark()
        return store

    @classmethod
    def assemble(cls, about: dict[str, Any], blocks: Sequence[Block]) -> MemoryPending:
        """The store that `blocks` gave in parts; every later step gives what it would have given.

        Its blocks lie where those do, until they change.
        """
        store = cls(about["max_entries"])
        left = iter(blocks)
        for slab in assembled_slabs(about, left):
            store._adopt(slab)
            store._entries += slab.count
        store._find_again()
        singly = []
        for model, end, *lengths in about["labels"]:
            labels = store._label_slab(model, end)
            singly.append((model, labels.assemble(parts_of(left, lengths))))
        store._meet_again()
        for model, slots in singly:
            store._wait_singly(model, slots)
        store._mark()
        return store
