"""Sums of floats without rounding: any order, any batching, and what is taken out is gone.

A float64 sum depends on the order of its terms, and `(a + b) - b` need not be `a`. Both matter
here: windows are revised when labels change, and the same rows must give the same bits however they
were batched. So sums are integers: every float64 is a whole multiple of a power of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import sqrt
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_LIMB: Final = 32
_PLAIN: Final = 1000  # powers of two below are far from the ends of float64
_ROWS: Final = 1 << 20  # 2^20 limbs of 32 bits add up exactly in a float64


def _shifted(x: Floats, bits: int) -> Floats:
    """The product of x and a power of two."""
    if abs(bits) < _PLAIN:
        product: Floats = x * 2.0**bits  # many times faster than ldexp
        return product
    shifted: Floats = np.ldexp(x, bits)
    return shifted


class ExactSums:
    """k sums of float64 terms, each held exactly.

    `add` costs about 20 ns a term in large batches; the state is about 60 bytes a sum.
    """

    __slots__ = ("_low", "_units")

    def __init__(self, k: int) -> None:
        self._units = [0] * k
        self._low = 0  # units are of 2 ** (32 * low)

    def add(self, terms: Floats) -> None:
        """Adds the rows of `terms`, shape (n, k), all finite; to take out, add the negative."""
        for start in range(0, len(terms), _ROWS):
            self._add(terms[start : start + _ROWS])

    def _add(self, terms: Floats) -> None:
        rest = np.array(terms.T, dtype=np.float64, order="C")  # a sum runs along memory
        largest = float(np.abs(rest).max(initial=0.0))
        if not largest:
            return
        limb = int(np.frexp(largest)[1]) // _LIMB
        sums = [0] * len(self._units)
        while True:
            digits = np.rint(_shifted(rest, -_LIMB * limb))
            rest -= _shifted(digits, _LIMB * limb)  # exact: multiples of rest's last bit
            of_limb = digits.sum(axis=1).tolist()
            sums = [(high << _LIMB) + int(low) for high, low in zip(sums, of_limb, strict=True)]
            if not rest.any():
                break
            limb -= 1
        self._merge(sums, limb)

    def _merge(self, units: list[int], low: int) -> None:
        base = min(self._low, low)
        mine, theirs = _LIMB * (self._low - base), _LIMB * (low - base)
        pairs = zip(self._units, units, strict=True)
        self._units = [(a << mine) + (b << theirs) for a, b in pairs]
        self._low = base

    def merge(self, other: ExactSums) -> None:
        """Adds the sums of another, of the same k."""
        self._merge(other._units, other._low)

    def fraction(self, column: int) -> Fraction:
        """One sum, exactly."""
        units, shift = self._units[column], _LIMB * self._low
        return Fraction(units << shift) if shift >= 0 else Fraction(units, 1 << -shift)

    def whole(self, column: int) -> tuple[int, int]:
        """(m, k) of one sum m / 2^k, k at least 0 and the same for every column."""
        shift = _LIMB * self._low
        return (self._units[column] << max(shift, 0)), max(-shift, 0)

    def value(self, column: int) -> float:
        """One sum, rounded once."""
        return float(self.fraction(column))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExactSums) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def dump(self) -> dict[str, Any]:
        """As builtins; equal sums give equal bytes, whatever was added and taken out meanwhile."""
        units, low = self._units, self._low
        if not any(units):
            low = 0
        while low < 0 and not any(unit & ((1 << _LIMB) - 1) for unit in units):
            units, low = [unit >> _LIMB for unit in units], low + 1
        sizes = [unit.bit_length() // 8 + 1 for unit in units]
        packed = [u.to_bytes(n, "little", signed=True) for u, n in zip(units, sizes, strict=True)]
        return {"units": packed, "low": low}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        sums = cls(len(dumped["units"]))
        sums._units = [int.from_bytes(unit, "little", signed=True) for unit in dumped["units"]]
        sums._low = dumped["low"]
        return sums


def exact_squares(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Three arrays whose sum is x * x without rounding, for |x| between 1e-140 and 1e140, or 0.

    Source: Dekker 1971, "A floating-point technique for extending the available precision".
    """
    scaled = x * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - x)
    low = x - high
    return high * high, 2.0 * high * low, low * low


def mean_of(sums: ExactSums, column: int, squares: int, n: int) -> tuple[float, float | None]:
    """(mean, its standard error) of n >= 1 terms from their sum and the sum of their squares.

    The same bits as by `standard_error` and a fraction's division, without fractions: they are
    reduced at every step, which takes longer than all else.
    """
    total, bits = sums.whole(column)
    mean = total / (n << bits)
    if n < 2:  # noqa: PLR2004  # one value has no spread
        return mean, None
    spread = max((sums.whole(squares)[0] << bits) * n - total * total, 0)
    return mean, sqrt(spread / ((n * n * (n - 1)) << 2 * bits))


def standard_error(total: Fraction, squares: Fraction, n: int) -> float | None:
    """Standard error of a mean from the sum and the sum of squares; None below two terms."""
    if n < 2:  # noqa: PLR2004  # one value has no spread
        return None
    spread = max(squares - total * total / n, Fraction(0))
    return sqrt(float(spread / (n - 1) / n))
