"""A pending store that was in memory, on a disk from now on."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.flow.slab import Slab
from detectors.flow.stored_slots import load_slots
from detectors.frame import ID
from streams.state.rocks_pending import MAX_ENTRIES, Disk, RocksPending


def from_memory(dumped: dict[str, Any], disk: Disk) -> RocksPending:
    """A store with what `MemoryPending.dump` described; all of it counts as changed."""
    store = RocksPending(disk, max(MAX_ENTRIES, dumped["max_entries"]))
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
        store.count_repeats(slab.subject, slab.end, slab.count - slab.n)
    for entry in dumped["slots"]:
        slots = list(load_slots(entry))
        store.fetch(np.frombuffer(b"".join([row_id for row_id, _ in slots]), ID))
        for row_id, slot in slots:
            store.set_slot(entry["model"], row_id, slot)
    store.settle()
    return store
