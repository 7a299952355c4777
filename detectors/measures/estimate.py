"""Values with their sampling error: how far off they may be as so few rows were seen."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Value

Interval: TypeAlias = tuple[float, float]

Z95: Final = 1.959963984540054
UNIT: Final[Interval] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Estimate(Value):
    """A metric's value with what is not known about it.

    Attributes:
        standard_error: of the value as an estimate from `n` rows; None where none is known.
        interval: 95 % confidence interval.
        error: how far the value may be from what all rows give, because of how they are stored;
            0.0 where it is exact. Not a sampling error.
        n: rows it rests on, such as positive predictions for precision.
    """

    standard_error: float | None = None
    interval: Interval | None = None
    error: float = 0.0
    n: int = 0


def undefined(reason: str) -> Estimate:
    """No value, and why."""
    return Estimate(None, reason)


def wilson(part: int, whole: int, z: float = Z95) -> Interval:
    """Confidence interval of the share `part / whole`, whole > 0; in [0, 1].

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    share, weight = part / whole, z * z / whole
    center = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / whole + weight / (4 * whole)) / (1 + weight)
    low = 0.0 if part == 0 else max(0.0, center - half)
    return low, 1.0 if part == whole else min(1.0, center + half)


def share(part: int, whole: int, why_not: str) -> Estimate:
    """The share `part / whole` with its Wilson interval, or the reason where whole is 0."""
    if not whole:
        return undefined(why_not)
    value = part / whole
    error = sqrt(value * (1 - value) / whole)
    return Estimate(value, "", error, wilson(part, whole), n=whole)


def around(
    value: float,
    error: float | None,
    n: int,
    bounds: tuple[float | None, float | None] = (None, None),
    binning: float = 0.0,
) -> Estimate:
    """A value with the interval of +-1.96 standard errors, cut at the bounds the metric has.

    Args:
        value: the estimate.
        error: its standard error, None where unknown.
        n: rows it rests on.
        bounds: least and greatest possible value.
        binning: bound of the storage error, which widens the interval.
    """
    if error is None:
        return Estimate(value, error=binning, n=n)
    half = Z95 * error + binning
    low, high = value - half, value + half
    if bounds[0] is not None:
        low = max(low, bounds[0])
    if bounds[1] is not None:
        high = min(high, bounds[1])
    return Estimate(value, "", error, (low, high), binning, n)


def delta_error(counts: NDArray[np.int64], gradient: NDArray[np.float64]) -> float:
    """Standard error of a function of cell counts, by the delta method.

    Args:
        counts: rows per cell, any shape; as if drawn from one multinomial distribution.
        gradient: how the function changes per row more in each cell, same shape.

    Source: Agresti 2013, Categorical Data Analysis, section 16.1.
    """
    n = int(counts.sum())
    mean = float((counts * gradient).sum()) / n
    return sqrt(max(float((counts * (gradient - mean) ** 2).sum()), 0.0))
