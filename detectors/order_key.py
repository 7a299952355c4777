"""The order key: in which order rows are stepped, wherever they came from.

Arrival, then the rank of the source topic, come first. Ties are broken by what the row *says* (its
time, its id) before where it lay (partition, offset, index), so that the order does not depend on
how a producer spread equal arrivals over partitions (ADR-0006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.frame import SOURCE_SHIFT, Array, Frame

ORDER = ("arrival", "source", "order_ts", "id", "offset", "index")
"""The columns of the key, most significant first; `order_ts` is absent where it equals `ts`."""


def order(frame: Frame) -> NDArray[np.intp]:
    """The positions of the rows in order-key order; stable, shape (n,)."""
    sequence = _sorted([frame])
    return np.arange(frame.n) if sequence is None else sequence


def in_order(frame: Frame) -> Frame:
    """The frame with its rows in order-key order; stable. The same one where they are."""
    sequence = _sorted([frame])
    return frame if sequence is None else frame.take(sequence)


def merged_order(frames: Sequence[Frame]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of several frames as one sequence in order-key order; stable.

    Returns:
        (position in `frames`, position in that frame) of each row, both of shape (total rows,).
    """
    sizes = [frame.n for frame in frames]
    which = np.repeat(np.arange(len(frames)), sizes)
    row = np.concatenate([np.arange(n) for n in sizes]) if frames else np.empty(0, np.intp)
    sequence = _sorted(frames) if frames else None
    return (which, row) if sequence is None else (which[sequence], row[sequence])


def _sorted(frames: Sequence[Frame]) -> NDArray[np.intp] | None:
    """np.lexsort, most significant key first; None: nothing to do.

    Looks at the other keys only where the first tie.
    """
    arrivals = _all(frames, _arrival)
    if (arrivals[1:] > arrivals[:-1]).all():
        return None
    packed, whole = _packed([arrivals, _all(frames, _rank), _all(frames, _order_ts)])
    if (packed[1:] > packed[:-1]).all():
        return None
    sequence = packed.argsort(kind="stable")
    ranked = packed[sequence]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return sequence
    ties = np.zeros(len(ranked), bool)
    ties[1:] = same
    ties[:-1] |= same
    tied = ties.nonzero()[0]
    sequence[tied] = _among_equals(frames, sequence[tied], ranked[tied] if whole else None)
    return sequence


def _among_equals(frames: Sequence[Frame], rows: Array, packed: Array | None) -> Array:
    """These rows in the order of the whole key; `packed`: its parts before the id, if they fit."""
    words = _all(frames, _id)[rows].view(">u8").reshape(-1, 2).astype(np.uint64)
    if packed is not None:
        within = _by_group(packed, words[:, 0])
        if within is not None:
            return rows[within]
    parts = (_arrival, _rank, _order_ts, _partition, _offset, _index)
    arrival, rank, ts, *place = (_all(frames, part)[rows] for part in parts)
    keys = [arrival, rank, ts, words[:, 0], words[:, 1], *place]
    ordered: Array = rows[np.lexsort(keys[::-1])]
    return ordered


def _by_group(packed: Array, half: Array) -> Array | None:
    """Rows by a key that rises, in equals by half of the id's hash; None: that parts not all rows.

    As one number, which sorts in half the time of two: the group's, then the hash's first bits.
    """
    group = np.zeros(len(packed), np.uint64)
    np.cumsum(packed[1:] != packed[:-1], out=group[1:])
    bits = np.uint64(64 - int(group[-1]).bit_length())
    key = half if not group[-1] else half >> (np.uint64(64) - bits) | group << bits
    within: Array = key.argsort(kind="stable")
    ranked = key[within]
    return None if (ranked[1:] == ranked[:-1]).any() else within


def _all(frames: Sequence[Frame], part: Callable[[Frame], Array]) -> Array:
    """A part of the order key of all rows."""
    if len(frames) == 1:
        return part(frames[0])
    return np.concatenate([part(frame) for frame in frames])


def _arrival(frame: Frame) -> Array:
    return frame.ints("arrival")


def _rank(frame: Frame) -> Array:
    return frame.ints("source") >> SOURCE_SHIFT


def _order_ts(frame: Frame) -> Array:
    column = frame.column("order_ts")
    if column is None:
        return frame.data("ts")
    if column.valid is None:
        return column.data
    return np.where(column.valid, column.data, frame.data("ts"))


def _id(frame: Frame) -> Array:
    return frame.data("id")


def _partition(frame: Frame) -> Array:
    return frame.ints("source") & ((1 << SOURCE_SHIFT) - 1)


def _offset(frame: Frame) -> Array:
    return frame.ints("offset")


def _index(frame: Frame) -> Array:
    return frame.ints("index")


_WIDEST = 1 << 62


def _packed(keys: Sequence[Array]) -> tuple[Array, bool]:
    """Integer keys as one with the same order, and whether all of them fitted into it."""
    packed, span = keys[0], 1
    for at, key in enumerate(keys):
        least = int(key.min())
        width = int(key.max()) - least + 1
        if width == 1 and at:
            continue
        span *= width
        if span > _WIDEST:
            return packed if at else keys[0], False
        packed = key - least if not at else packed * width + (key - least)
    return packed, True
