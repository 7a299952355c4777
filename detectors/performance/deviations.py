"""Regression metrics with their sampling error, from sums that hold every term exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import LARGEST, Metric, finite
from detectors.measures.estimate import Estimate, around, undefined
from detectors.measures.exact import ExactSums, exact_squares, standard_error

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_OVER, _UNDER, _OVER2, _UNDER2, _FOURTH, _APE, _APE2, _SAPE, _SAPE2, _Y, _YY = range(11)
_SUMS: Final = 13  # the last three together are the labels' squares

_NO_OUTCOMES: Final = "no outcomes yet"


@dataclass(slots=True)
class DeviationEntries:
    """What outcomes add (sign 1) and take out (sign -1), in row order; shape (n,).

    `residual`: prediction - label; `label`: as it came. Rows with numbers beyond 1e100 are skipped.
    """

    row: Ints
    sign: Ints
    residual: Floats
    label: Floats

    def take(self, which: slice | NDArray[Any]) -> DeviationEntries:
        """Some of the entries."""
        return DeviationEntries(
            self.row[which], self.sign[which], self.residual[which], self.label[which]
        )


def _sums() -> ExactSums:
    return ExactSums(_SUMS)


@dataclass(slots=True)
class Deviations:
    """Outcomes of a regression in one window or since the start; about 1 KiB.

    `relative`: outcomes whose label is not 0, on which alone the percentage error is defined.
    """

    n: int = 0
    relative: int = 0
    sums: ExactSums = field(default_factory=_sums)

    def add(self, entries: DeviationEntries) -> None:
        """Adds the entries."""
        usable = finite(entries.residual) & finite(entries.label)
        r, y, sign = entries.residual[usable], entries.label[usable], entries.sign[usable]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            share = np.abs(r / y)
            both = np.abs(y + r) + np.abs(y)
            symmetric = np.where(both > 0, 2 * np.abs(r) / both, 0.0)
        related = (y != 0) & (share <= LARGEST)
        share = np.where(related, share, 0.0)
        over, under = np.maximum(r, 0.0), np.maximum(-r, 0.0)
        fourth = np.minimum(np.abs(r), 1e60) ** 4
        rows = [over, under, over * over, under * under, fourth, share, share * share]
        rows += [symmetric, symmetric * symmetric, y, *exact_squares(y)]
        self.sums.add(np.stack(rows, axis=1) * sign[:, None])
        self.n += int(sign.sum())
        self.relative += int(sign[related].sum())

    def merge(self, other: Deviations) -> None:
        """Adds another tally: afterwards it is as if all entries had come here."""
        self.n += other.n
        self.relative += other.relative
        self.sums.merge(other.sums)

    def total(self, *columns: int) -> Fraction:
        """The sum of some columns, exactly."""
        wholes = [self.sums.whole(column) for column in columns]
        return Fraction(sum(m for m, _ in wholes), 1 << wholes[0][1])

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"n": self.n, "relative": self.relative, "sums": self.sums.dump()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(dumped["n"], dumped["relative"], ExactSums.load(dumped["sums"]))


_POSITIVE: Final[tuple[float | None, float | None]] = (0.0, None)


def _mean(
    total: Fraction,
    squares: Fraction,
    n: int,
    bounds: tuple[float | None, float | None] = _POSITIVE,
) -> Estimate:
    return around(float(total / n), standard_error(total, squares, n), n, bounds)


def mae(d: Deviations) -> Estimate:
    """Mean |prediction - label|, in label units."""
    if not d.n:
        return undefined(_NO_OUTCOMES)
    return _mean(d.total(_OVER, _UNDER), d.total(_OVER2, _UNDER2), d.n)


def bias(d: Deviations) -> Estimate:
    """Mean of prediction - label, in label units: above 0 where the model predicts too much."""
    if not d.n:
        return undefined(_NO_OUTCOMES)
    total = d.total(_OVER) - d.total(_UNDER)
    return _mean(total, d.total(_OVER2, _UNDER2), d.n, (None, None))


def rmse(d: Deviations) -> Estimate:
    """Root of the mean squared residual, in label units; its standard error by the delta method."""
    if not d.n:
        return undefined(_NO_OUTCOMES)
    squares = d.total(_OVER2, _UNDER2)
    value = sqrt(max(float(squares / d.n), 0.0))
    error = standard_error(squares, d.total(_FOURTH), d.n)
    if error is not None:
        error = error / (2 * value) if value else 0.0
    return around(value, error, d.n, _POSITIVE)


def r2(d: Deviations) -> Estimate:
    """Coefficient of determination: 1 - sum of squared residuals / the labels' sum of squares.

    Exact sums keep the labels' spread, however far from 0 they lie. Source of the standard error:
    Cohen et al. 2003, Applied Multiple Regression, section 3.6, for one regressor; None below 0.
    """
    if not d.n:
        return undefined(_NO_OUTCOMES)
    total = d.total(_Y)
    spread = d.total(_YY, _YY + 1, _YY + 2) - total * total / d.n
    if spread <= 0:
        return undefined("the labels do not vary")
    exactly = 1 - d.total(_OVER2, _UNDER2) / spread
    if exactly < -LARGEST:
        return undefined("the labels hardly vary")
    value = float(exactly)
    if value < 0 or d.n < 4:  # noqa: PLR2004  # degrees of freedom
        return Estimate(value, n=d.n)
    error = sqrt(4 * value * (1 - value) ** 2 * (d.n - 2) ** 2 / ((d.n**2 - 1) * (d.n + 3)))
    return around(value, error, d.n, (None, 1.0))


def mape(d: Deviations) -> Estimate:
    """Mean |prediction - label| / |label| over the outcomes whose label is not 0; 0.1 is 10 %."""
    if not d.relative:
        return undefined("every label is 0" if d.n else _NO_OUTCOMES)
    return _mean(d.total(_APE), d.total(_APE2), d.relative)


def smape(d: Deviations) -> Estimate:
    """Mean 2 |prediction - label| / (|prediction| + |label|), in [0, 2]; 0 where both are 0.

    Source: Makridakis 1993, "Accuracy measures: theoretical and practical concerns".
    """
    if not d.n:
        return undefined(_NO_OUTCOMES)
    return _mean(d.total(_SAPE), d.total(_SAPE2), d.n, (0.0, 2.0))


def quantile_loss(quantile: float) -> Callable[[Deviations], Estimate]:
    """Measures the mean pinball loss of predictions meant as this quantile, in label units.

    Raises: ValueError where the quantile is not between 0 and 1.

    Source: Koenker & Bassett 1978, "Regression Quantiles".
    """
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
    q = Fraction(quantile)

    def measure(d: Deviations) -> Estimate:
        if not d.n:
            return undefined(_NO_OUTCOMES)
        total = q * d.total(_UNDER) + (1 - q) * d.total(_OVER)
        squares = q * q * d.total(_UNDER2) + (1 - q) ** 2 * d.total(_OVER2)
        return _mean(total, squares, d.n)

    return measure


_NUMBERS = ("regression",)

METRICS: tuple[Metric[Deviations], ...] = (
    Metric("mae", _NUMBERS, mae),
    Metric("rmse", _NUMBERS, rmse),
    Metric("bias", _NUMBERS, bias),
    Metric("r2", _NUMBERS, r2),
    Metric("mape", _NUMBERS, mape),
    Metric("smape", _NUMBERS, smape),
    Metric("quantile_loss_0.1", _NUMBERS, quantile_loss(0.1)),
    Metric("quantile_loss_0.5", _NUMBERS, quantile_loss(0.5)),
    Metric("quantile_loss_0.9", _NUMBERS, quantile_loss(0.9)),
)
