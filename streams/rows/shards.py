"""Which shard a prediction id belongs to, and where the versions of a model meet.

Every reader and writer of an internal topic names partitions by these functions, so that it does
not matter how producers keyed or partitioned what came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from detectors.frame import ID, Array, Frame

_FEW = 1 << 16
_HASH = blake2b(digest_size=16)


def id_hash(prediction_id: str) -> bytes:
    """BLAKE2b-128 of the UTF-8 text: 16 bytes, what every later stage knows a prediction by."""
    return blake2b(prediction_id.encode(), digest_size=16).digest()


def id_hashes(prediction_ids: Sequence[str]) -> Array:
    """`id_hash` of many ids: dtype V16, shape (n,)."""
    fresh, hashes = _HASH.copy, []
    for prediction_id in prediction_ids:
        one = fresh()  # a copy costs less than a constructor with its parameters
        one.update(prediction_id.encode())
        hashes.append(one.digest())
    return np.frombuffer(b"".join(hashes), dtype=ID)


def shard_of(hashes: Array, shards: int) -> Array:
    """The shard of each id: first 8 bytes, little-endian, mod `shards`; int64, shape (n,)."""
    words = np.ascontiguousarray(hashes).view("<u8").reshape(-1, 2)[:, 0]
    return (words % np.uint64(shards)).astype(np.int64)


def model_partition(model: str, partitions: int) -> int:
    """The partition of `driftline-observations` where all versions of a model meet."""
    return int.from_bytes(id_hash(model)[:8], "little") % partitions


def split(frame: Frame, shards: int) -> list[tuple[int, Frame]]:
    """The frame's rows by shard of their id, in order; text columns keep only what they use."""
    if shards == 1:
        return [(0, frame)]
    shard = shard_of(frame.data("id"), shards)
    counts = np.bincount(shard, minlength=shards)
    present = counts.nonzero()[0].tolist()
    if len(present) == 1:
        return [(present[0], frame)]
    # One pass over the blocks puts the rows of each shard together; the parts share its memory.
    few = shards <= _FEW  # a short integer is sorted by its digits
    ranked = (shard.astype(np.uint16) if few else shard).argsort(kind="stable")
    together = frame.in_blocks().take(ranked)
    edges = [0, *counts.cumsum()[present].tolist()]
    out = []
    for number, start, stop in zip(present, edges, edges[1:], strict=False):
        out.append((number, together.span(start, stop).trimmed()))
    return out
