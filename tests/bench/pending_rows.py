"""Predictions that wait, and their labels, for the benchmarks of pending stores."""

from __future__ import annotations

import numpy as np

from detectors.flow.join import JoinSpec
from detectors.frame import ID, Array, Column, Frame, float_column
from streams.state.pending_disk import Head, SliceDisk
from streams.state.rocks_pending import RocksPending

STEP_ROWS = 2_000
START_MS = 1_790_000_000_000
HORIZON_MS = 86_400_000
SPEC = JoinSpec(default_horizon_ms=HORIZON_MS, default_segments=("region",))


def ids_of(first: int, n: int) -> Array:
    """Ids as good as hashes: a counter through a mixing function, 16 bytes each."""
    words = np.arange(first, first + n, dtype=np.uint64)
    mixed = np.empty((n, 2), np.uint64)
    for column, salt in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)):
        x = (words + np.uint64(1)) * np.uint64(salt)
        x ^= x >> np.uint64(29)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        mixed[:, column] = x ^ (x >> np.uint64(32))
    return mixed.view(ID).ravel()


def frame_of(first: int, n: int, entries: int) -> Frame:
    """The next predictions: a class, a score, a segment, as a binary classifier writes them."""
    rows = np.arange(first, first + n)
    times = START_MS + rows * HORIZON_MS // entries
    classes = Column((rows % 2).astype(np.uint32), None, ["no", "yes"])
    regions = Column((rows % 3).astype(np.uint32), None, ["north", "south", "west"])
    columns = {
        "id": Column(ids_of(first, n)),
        "ts": Column(times),
        "arrival": Column(times),
        "source": Column(rows % 4),
        "offset": Column(rows),
        "index": Column(np.zeros(n, np.int64)),
        "prediction": classes,
        "score": float_column((rows % 1_000) / 1_000),
        "g:region": regions,
    }
    return Frame("fraud@1", "prediction", n, columns)


def labels_of(rows: Array, arrivals: Array) -> Frame:
    """Labels of these predictions, in the order given."""
    n = len(rows)
    columns = {
        "id": Column(np.concatenate([ids_of(row, 1) for row in rows.tolist()])),
        "ts": Column(arrivals.copy()),
        "arrival": Column(arrivals.copy()),
        "source": Column(np.full(n, 1 << 32)),
        "offset": Column(rows.astype(np.int64)),
        "index": Column(np.zeros(n, np.int64)),
        "label": Column((rows % 2).astype(np.uint32), None, ["no", "yes"]),
    }
    return Frame("fraud@", "label", n, columns)


def save(pending: RocksPending, disk: SliceDisk) -> None:
    """What a checkpoint does with the disk."""
    disk.put(pending.changes(0))
    disk.advance(Head(b"bench", 1), pending.live)
    pending.saved()
