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
    return _sorted(frame.ints("arrival"), lambda most: _keys(frame, most))


def merged_order(frames: Sequence[Frame]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of several frames as one sequence in order-key order; stable.

    Returns:
        (position in `frames`, position in that frame) of each row, both of shape (total rows,).
    """
    sizes = [frame.n for frame in frames]
    which = np.repeat(np.arange(len(frames)), sizes)
    row = np.concatenate([np.arange(n) for n in sizes]) if frames else np.empty(0, np.intp)
    if len(frames) == 0:
        return which, row

    def keys(most: int) -> list[Array]:
        parts = [_keys(frame, most) for frame in frames]
        return [np.concatenate(key) for key in zip(*parts, strict=True)]

    sequence = _sorted(np.concatenate([frame.ints("arrival") for frame in frames]), keys)
    return which[sequence], row[sequence]


def _keys(frame: Frame, most: int) -> list[Array]:
    """The parts of the order key, most significant first; no more than `_FIRST`, or all."""
    source = frame.ints("source")
    first = [frame.ints("arrival"), source >> SOURCE_SHIFT, _order_ts(frame)]
    if most <= _FIRST:
        return first
    ids = np.ascontiguousarray(frame.data("id")).view(">u8").reshape(-1, 2)
    return [
        *first,
        ids[:, 0].astype(np.uint64),
        ids[:, 1].astype(np.uint64),
        source & ((1 << SOURCE_SHIFT) - 1),
        frame.ints("offset"),
        frame.ints("index"),
    ]


def _order_ts(frame: Frame) -> Array:
    times = frame.data("ts")
    column = frame.column("order_ts")
    if column is None:
        return times
    return column.data if column.valid is None else np.where(column.valid, column.data, times)


_FIRST = 3  # arrival, rank and time: rows of one source are mostly in their order already
_USUALLY_ENOUGH = 4  # with half the id's hash they part almost all rows
_ALL = 8
_WIDEST = 1 << 62


def _sorted(arrivals: Array, keys: Callable[[int], Sequence[Array]]) -> NDArray[np.intp]:
    """np.lexsort, most significant key first; looks at the other keys only where the first tie."""
    if (arrivals[1:] > arrivals[:-1]).all():
        return np.arange(len(arrivals))
    first = keys(_FIRST)
    if _less(first).all():
        return np.arange(len(arrivals))
    packed = _packed(first)
    sequence = np.argsort(packed, kind="stable")
    ranked = packed[sequence]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return sequence
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    rows = sequence[tied]
    parts = keys(_ALL)
    some = [key[rows] for key in parts[:_USUALLY_ENOUGH]]
    within = np.lexsort(some[::-1])
    if not _less([key[within] for key in some]).all():
        within = np.lexsort([key[rows] for key in parts][::-1])
    sequence[tied] = rows[within]
    return sequence


def _packed(keys: Sequence[Array]) -> Array:
    """Integer keys as one with the same order; the first of them alone where they do not fit."""
    packed, span = keys[0], 1
    for at, key in enumerate(keys):
        least = int(key.min())
        width = int(key.max()) - least + 1
        span *= width
        if span > _WIDEST:
            return packed if at else keys[0]
        packed = key - least if not at else packed * width + (key - least)
    return packed


def _less(keys: Sequence[Array]) -> NDArray[np.bool_]:
    """Which rows are less than the row after them, the first key that differs deciding."""
    less = np.zeros(len(keys[0]) - 1, bool)
    equal = np.ones(len(keys[0]) - 1, bool)
    for key in keys:
        less |= equal & (key[:-1] < key[1:])
        equal &= key[:-1] == key[1:]
    return less
