"""How often came true what was given a probability: counts by probability, calibration error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi, sqrt
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array
from detectors.measures.estimate import UNIT, Estimate, around, undefined

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

BINS: Final = 15
_EDGES: Final = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
_UNIT_BITS: Final = 40
_HALF_BITS: Final = _UNIT_BITS // 2

NO_SCORES: Final = "no scores"


def _zeros() -> Ints:
    return np.zeros((BINS, 2), np.int64)


def _sums() -> list[int]:
    return [0] * BINS


@dataclass(slots=True)
class Reliability:
    """Per bin of equal width (low, high]: rows, hits, and the sum of their probabilities.

    Probabilities are summed in units of 2^-40, so order and batching change nothing; a mean is off
    by less than 1e-12.
    """

    counts: Ints = field(default_factory=_zeros)
    """Shape (bins, 2): rows, hits."""
    sums: list[int] = field(default_factory=_sums)
    _curve: Curve | None = None
    """Of these counts, once somebody asked."""

    def add(self, probability: Floats, hit: NDArray[np.bool_], sign: Ints) -> None:
        """Counts rows (sign 1) or takes them out (sign -1); probabilities in [0, 1]."""
        self._curve = None
        at = _EDGES.searchsorted(probability)
        for column, weight in enumerate((sign, sign * hit)):
            counts = np.bincount(at, weights=weight, minlength=BINS)
            self.counts[:, column] += counts.astype(np.int64)
        units = np.rint(probability * 2.0**_UNIT_BITS).astype(np.int64) * sign
        high, low = units >> _HALF_BITS, units & ((1 << _HALF_BITS) - 1)
        highs = np.bincount(at, weights=high, minlength=BINS).tolist()  # exact: under 2^53
        lows = np.bincount(at, weights=low, minlength=BINS).tolist()
        parts = zip(self.sums, highs, lows, strict=True)
        self.sums = [total + (int(h) << _HALF_BITS) + int(low) for total, h, low in parts]

    def merge(self, other: Reliability) -> None:
        """Adds the counts of another."""
        self._curve = None
        self.counts += other.counts
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]

    def curve(self) -> Curve:
        """The reliability curve; see `curve`."""
        if self._curve is None:
            rows, hits = self.counts[:, 0], self.counts[:, 1]
            held = rows > 0
            sums = np.array([total / (1 << _UNIT_BITS) for total in self.sums])
            rows = rows[held]
            self._curve = Curve(rows, sums[held] / rows, hits[held] / rows)
        return self._curve

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reliability) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def dump(self) -> dict[str, Any]:
        """As builtins; sums below 2^63 while there are under 8 million rows, else as text."""
        return {"counts": dump_array(self.counts), "sums": [f"{total:x}" for total in self.sums]}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(load_array(dumped["counts"]), [int(text, 16) for text in dumped["sums"]])


@dataclass(frozen=True, slots=True)
class Curve:
    """The bins that have rows: how many, mean probability, and share that came true; shape (k,)."""

    rows: Ints
    predicted: Floats
    observed: Floats

    @property
    def gaps(self) -> Floats:
        """|observed - predicted| per bin."""
        return np.abs(self.observed - self.predicted)

    @property
    def variances(self) -> Floats:
        """Sampling variance of `observed` per bin."""
        return self.observed * (1 - self.observed) / self.rows


def curve(reliability: Reliability) -> Curve:
    """The reliability curve, for display and for the errors below."""
    return reliability.curve()


def expected_error(reliability: Reliability) -> Estimate:
    """Mean over rows of their bin's |observed - predicted|; `noise` is what chance alone gives.

    Source: Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    c = curve(reliability)
    n = int(c.rows.sum())
    if not n:
        return undefined(NO_SCORES)
    weights = c.rows / n
    error = sqrt(float((weights**2 * c.variances).sum()))
    return around(float((weights * c.gaps).sum()), error, n, UNIT)


def maximum_error(reliability: Reliability) -> Estimate:
    """The greatest |observed - predicted| of any bin; `n` is that bin's rows.

    Source: Guo et al. 2017, arXiv 1706.04599, equation 5.
    """
    c = curve(reliability)
    if not len(c.rows):
        return undefined(NO_SCORES)
    at = int(np.argmax(c.gaps))
    return around(float(c.gaps[at]), sqrt(float(c.variances[at])), int(c.rows[at]), UNIT)


def noise(reliability: Reliability) -> Estimate:
    """The expected calibration error that a perfectly calibrated model would show at these counts.

    Mean of |normal| with each bin's binomial variance; show it beside the calibration error.
    """
    c = curve(reliability)
    n = int(c.rows.sum())
    if not n:
        return undefined(NO_SCORES)
    spread = np.sqrt(c.predicted * (1 - c.predicted) / c.rows)
    return Estimate(float((c.rows / n * spread).sum()) * sqrt(2 / pi), n=n)
