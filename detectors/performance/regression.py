"""Regression errors: sums advanced one row after the other, and the metrics of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.api import Metric, Value
from detectors.arrays import running_sum

Ints = NDArray[np.int64]

_SUMS: Final = 5


@dataclass(slots=True)
class NumberEntries:
    """What outcomes add to (sign 1) and take out of (sign -1) the sums, in row order.

    `residual`: prediction - label; `label`: label minus an origin near the labels' mean, so that
    their spread is not lost in rounding.
    """

    row: Ints
    sign: Ints
    residual: NDArray[np.float64]
    label: NDArray[np.float64]

    def take(self, which: slice | NDArray[Any]) -> NumberEntries:
        """Some of the entries."""
        return NumberEntries(
            self.row[which], self.sign[which], self.residual[which], self.label[which]
        )


def _zeros() -> NDArray[np.float64]:
    return np.zeros(_SUMS)


@dataclass(slots=True)
class Residuals:
    """n, and the sums of |r|, r squared, r, y and y squared: r residual, y label minus origin."""

    n: int = 0
    sums: NDArray[np.float64] = field(default_factory=_zeros)

    def add(self, entries: NumberEntries) -> None:
        """Adds the entries, strictly in their order."""
        r, y = entries.residual, entries.label
        signs = entries.sign.astype(np.float64)[:, None]
        terms: NDArray[np.float64] = np.stack([np.abs(r), r * r, r, y, y * y], axis=1) * signs
        self.sums = running_sum(self.sums, terms)
        self.n += int(entries.sign.sum())

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"n": self.n, "sums": self.sums.tolist()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(dumped["n"], np.array(dumped["sums"], dtype=np.float64))


_NO_OUTCOMES = "no outcomes yet"


def mae(tally: Residuals) -> Value:
    """Mean |prediction - label|, in label units."""
    return _mean(tally, 0)


def rmse(tally: Residuals) -> Value:
    """Root of the mean squared residual, in label units."""
    mean = _mean(tally, 1)
    return mean if mean.value is None else Value(sqrt(max(mean.value, 0.0)))


def bias(tally: Residuals) -> Value:
    """Mean of prediction - label, in label units: above 0 where the model predicts too much."""
    return _mean(tally, 2)


def r2(tally: Residuals) -> Value:
    """Coefficient of determination: 1 - sum of squared residuals / label's sum of squares."""
    if not tally.n:
        return Value(None, _NO_OUTCOMES)
    _, squared, _, total, label_squared = tally.sums.tolist()
    spread = label_squared - total * total / tally.n
    if spread <= 1e-12 * label_squared or spread <= 0:
        return Value(None, "the labels do not vary")
    return Value(1 - squared / spread)


def _mean(tally: Residuals, which: int) -> Value:
    return Value(float(tally.sums[which]) / tally.n) if tally.n else Value(None, _NO_OUTCOMES)


METRICS: tuple[Metric[Residuals], ...] = (
    Metric("mae", ("regression",), mae),
    Metric("rmse", ("regression",), rmse),
    Metric("bias", ("regression",), bias),
    Metric("r2", ("regression",), r2),
)
