"""NumPy arrays in snapshots, and sums that no batching can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def dump_array(array: NDArray[Any]) -> dict[str, Any]:
    """The array as msgpack-able builtins: little-endian bytes with dtype and shape."""
    plain = np.ascontiguousarray(array)
    little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    return {"dtype": little.dtype.str, "shape": list(little.shape), "data": little.tobytes()}


def load_array(dumped: Mapping[str, Any]) -> NDArray[Any]:
    """The array that `dump_array` wrote; writable and in native byte order."""
    flat = np.frombuffer(dumped["data"], dtype=np.dtype(dumped["dtype"]))
    array = flat.reshape([int(size) for size in dumped["shape"]])
    return array.astype(array.dtype.newbyteorder("="), copy=True)


def running_sum(carry: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """`carry` plus the rows of `terms`, strictly one after the other.

    NumPy's own sum adds in pairs, whose rounding depends on where a batch was cut; this does not.

    Args:
        carry: the sums so far, shape (k,).
        terms: what to add, shape (n, k).

    Returns: the new sums, shape (k,), the same bits however the rows were split over calls.
    """
    if not len(terms):
        return carry
    total: NDArray[np.float64] = np.add.accumulate(np.concatenate([carry[None], terms]))[-1]
    return total
