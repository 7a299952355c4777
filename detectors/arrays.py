"""NumPy arrays in snapshots, in few bytes, and sums that no batching can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Dumped: TypeAlias = dict[str, Any]

_WORTHWHILE: Final = 64
"""Bytes below which an array is stored as it is."""
_PALETTE: Final = 256
_PROBE: Final = 1_024
_WHOLE_BITS: Final = 24
_FRACTION_BITS: Final = 24
"""Floats that are multiples of 2^-24 (the bank's evidence, counts, 0/1 errors) become integers."""


def dump_array(array: Array) -> Dumped:
    """The array as msgpack-able builtins, of which `load_array` makes the same bits again.

    The shortest of: its little-endian bytes; differences from its least value, as narrow as they
    fit; a palette of its values with as few bits a number as tell them apart.
    """
    plain = np.ascontiguousarray(array)
    little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    dumped: Dumped = {"dtype": little.dtype.str, "shape": list(little.shape)}
    shortest: Dumped = {"data": little.tobytes()}
    if little.nbytes > _WORTHWHILE:
        flat = little.ravel()
        for shorter in (_narrow(flat), _palette(flat)):
            if shorter is not None and _size(shorter) < _size(shortest):
                shortest = shorter
    return dumped | shortest


def load_array(dumped: Mapping[str, Any]) -> Array:
    """The array that `dump_array` wrote; writable and in native byte order."""
    dtype, shape = np.dtype(dumped["dtype"]), [int(size) for size in dumped["shape"]]
    flat: Array
    if "palette" in dumped:
        values = np.frombuffer(dumped["palette"], dtype)
        flat = values[_unpacked(dumped["data"], int(np.prod(shape)), len(values))]
    elif "unit" in dumped:
        units = np.frombuffer(dumped["data"], np.dtype(dumped["unit"])).astype(np.int64)
        flat = (units + dumped["base"]).astype(dtype)
        if "bits" in dumped:
            flat *= 2.0 ** -dumped["bits"]
    else:
        flat = np.frombuffer(dumped["data"], dtype)
    array = flat.reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=True)


def _size(dumped: Dumped) -> int:
    return len(dumped["data"]) + len(dumped.get("palette", b"")) + 16 * (len(dumped) - 1)


def _narrow(flat: Array) -> Dumped | None:
    """Integers, or floats that are whole numbers of 2^-24, as differences from the least."""
    extra: Dumped = {}
    whole = flat
    if flat.dtype == np.dtype("<f8"):
        if not (np.abs(flat) < 2.0**_WHOLE_BITS).all():  # NaN is not
            return None
        whole = (flat * 2.0**_FRACTION_BITS).astype(np.int64)
        extra = {"bits": _FRACTION_BITS}
        same = whole.astype(np.float64) * 2.0**-_FRACTION_BITS
        if not np.array_equal(same.view(np.int64), flat.view(np.int64)):  # as bits: -0.0 is not 0.0
            return None
    elif flat.dtype.kind not in "iu" or flat.dtype.itemsize == 1:
        return None
    least, greatest = int(whole.min()), int(whole.max())
    if least < -(2**62) or greatest >= 2**62:
        return None
    unit = np.min_scalar_type(greatest - least).newbyteorder("<")
    data = (whole.astype(np.int64) - least).astype(unit).tobytes()
    return {"unit": unit.str, "base": least, "data": data, **extra}


def _palette(flat: Array) -> Dumped | None:
    """At most 256 distinct values, told apart by their bits."""
    bits = flat.view(f"<u{flat.dtype.itemsize}")
    if bits.dtype.itemsize == 1:
        found = np.flatnonzero(np.bincount(bits, minlength=_PALETTE))
        index = np.zeros(_PALETTE, np.uint8)
        index[found] = np.arange(len(found))
        codes, values = index[bits], found.astype(np.uint8)
    else:
        if len(np.unique(bits[:_PROBE])) > _PALETTE:
            return None
        values, inverse = np.unique(bits, return_inverse=True)
        if len(values) > _PALETTE:
            return None
        codes = inverse.astype(np.uint8)
    width = _width(len(values))
    spread = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :width]
    return {"palette": values.tobytes(), "data": np.packbits(spread, bitorder="little").tobytes()}


def _unpacked(data: bytes, n: int, values: int) -> NDArray[np.uint8]:
    """The n indices into a palette of so many values."""
    width = _width(values)
    if not width:
        return np.zeros(n, np.uint8)
    spread = np.unpackbits(np.frombuffer(data, np.uint8), count=n * width, bitorder="little")
    return np.packbits(spread.reshape(n, width), axis=1, bitorder="little")[:, 0]


def _width(values: int) -> int:
    """Bits that tell so many values apart."""
    return max(values - 1, 0).bit_length()


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
