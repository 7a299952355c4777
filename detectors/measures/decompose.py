"""Why the error changed: other inputs (mix of cells) or another world (error within cells)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.measures.cells import CellCounts

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

SIGMAS = 2.0


@dataclass(frozen=True, slots=True)
class CellErrors:
    """Per cell: outcomes, the sum of their errors and of the errors' squares; shape (k,)."""

    n: Ints
    total: Floats
    squares: Floats

    @classmethod
    def of_rates(cls, counts: CellCounts) -> Self:
        """Errors that are 0 or 1."""
        errors = counts.errors.astype(np.float64)
        return cls(counts.n, errors, errors)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a difference, with its standard error; `low`, `high` are +-2 of them."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.value - SIGMAS * self.standard_error

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + SIGMAS * self.standard_error

    @property
    def clear(self) -> bool:
        """0 lies outside of the two ends."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Split:
    """A difference of mean errors, current - reference = mix + within.

    Attributes:
        reference: mean error of the reference.
        current: mean error now.
        mix: what comes of other shares of the cells: covariate change, as far as scores show it.
        within: what comes of other errors in the same cells: concept change.
        new: share of current outcomes in cells the reference does not have; their errors count as
            mix, for there is nothing to compare with.
    """

    reference: float
    current: float
    mix: Part
    within: Part
    new: float


def split(reference: CellErrors, current: CellErrors) -> Split | None:
    """The symmetric split of the error's change over cells; None where either side is empty.

    mix = sum (w1 - w0) (e0 + e1) / 2 and within = sum (w0 + w1) / 2 (e1 - e0), w shares and e mean
    errors of the cells; they add exactly. Standard errors by the delta method.

    Source: Kitagawa 1955, "Components of a Difference Between Two Rates", JASA 50, 1168.
    """
    n0, n1 = int(reference.n.sum()), int(current.n.sum())
    if not n0 or not n1:
        return None
    w0, w1 = reference.n / n0, current.n / n1
    e0, e1 = _means(reference), _means(current)
    e0, e1 = np.where(reference.n > 0, e0, e1), np.where(current.n > 0, e1, e0)
    shift, gap = w1 - w0, e1 - e0
    middle, weight = (e0 + e1) / 2, (w0 + w1) / 2
    of_means = (_variances(reference), _variances(current))
    sides = ((n0, w0), (n1, w1))
    mix = sum(_shares(n, w, middle) for n, w in sides)
    mix += sum(float((shift * shift / 4) @ variance) for variance in of_means)
    within = sum(_shares(n, w, gap / 2) for n, w in sides)
    within += sum(float((weight * weight) @ variance) for variance in of_means)
    return Split(
        float(w0 @ e0),
        float(w1 @ e1),
        Part(float(shift @ middle), mix**0.5),
        Part(float(weight @ gap), within**0.5),
        float(w1[reference.n == 0].sum()),
    )


def _means(cells: CellErrors) -> Floats:
    means: Floats = cells.total / np.maximum(cells.n, 1)
    return means


def _variances(cells: CellErrors) -> Floats:
    """Variance of each cell's mean, never quite 0: as if half an error more had been seen."""
    n = np.maximum(cells.n, 1)
    means = cells.total / n
    spread = np.maximum(cells.squares / n - means * means, 0.0)
    binary = np.array_equal(cells.squares, cells.total)
    if binary:
        smoothed = (cells.total + 0.5) / (cells.n + 1)
        spread = smoothed * (1 - smoothed)
    return np.where(cells.n > 0, spread / n, 0.0)


def _shares(n: int, shares: Floats, slope: Floats) -> float:
    """Variance that the sampling of a side's shares brings to sum(shares * slope)."""
    mean = float(shares @ slope)
    return max(float(shares @ (slope * slope)) - mean * mean, 0.0) / n
