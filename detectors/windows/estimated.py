"""Performance before the labels come (CBPE), from counts of score bins.

The estimate says what performance would be *if P(label | score) were that of the reference*. It is
blind to concept drift: show it beside the realised value, and take the difference of the two over
the same labelled outcomes (`surprise`) as the sign of concept drift.

Source: NannyML's confidence-based performance estimation; the binned form and its band are
detection.md section 3 of the design. A bin's reference rate takes the place of calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array
from detectors.measures.cells import CellCounts, CellGrid
from detectors.measures.estimate import UNIT, Estimate, around, undefined
from detectors.measures.score_counts import ScoreCounts, roc_auc

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

NO_PREDICTIONS: Final = "no predictions with a score"
FEW: Final = 30
"""Reference labels below which a cell's rate is thought unsure."""
_ONE_CLASS: Final = "the predictions expected to be positive, or those not, are none"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the reference says of each cell.

    Attributes:
        grid: the cells.
        counts: reference outcomes per cell.
        order: per score bin, how often a positive scores above another within it, ties half.
    """

    grid: CellGrid
    counts: CellCounts
    order: Floats

    @classmethod
    def fit(cls, scores: Floats, predicted: Mask, positive: Mask) -> Self:
        """From reference outcomes.

        Args:
            scores: probability of the positive class, NaN where absent, shape (n,). Multiclass:
                of the predicted class; then `predicted` is all True and `positive` is a hit, and
                accuracy is the one metric that means something.
            predicted: the positive class was predicted.
            positive: the label is the positive class.
        """
        return cls.on(CellGrid.of(scores), scores, predicted, positive)

    @classmethod
    def on(cls, grid: CellGrid, scores: Floats, predicted: Mask, positive: Mask) -> Self:
        """As `fit`, on cells that are there already."""
        counts = CellCounts.empty(grid)
        cells = grid.codes(scores, predicted)
        counts.add(cells, positive, np.ones(len(cells), np.int64))
        order = np.full(grid.bins, 0.5)
        for at in range(grid.bins):
            rows = cells // 2 == at
            within = ScoreCounts(cap=max(len(scores), 1))
            within.add(scores[rows], positive[rows], np.ones(int(rows.sum()), np.int64))
            known = roc_auc(within).value
            order[at] = 0.5 if known is None else known  # of one class: nothing to order
        return cls(grid, counts, order)

    def rates(self) -> Floats:
        """Share of positives per cell; where the reference has none, that of the bin, or of all."""
        n, positive = self.counts.n[:-2], self.counts.positive[:-2]
        of_bin_n = np.repeat(n.reshape(-1, 2).sum(axis=1), 2)
        of_bin = np.repeat(positive.reshape(-1, 2).sum(axis=1), 2)
        overall = int(positive.sum()) / max(int(n.sum()), 1)
        fallback = np.where(of_bin_n > 0, of_bin / np.maximum(of_bin_n, 1), overall)
        rates: Floats = np.where(n > 0, positive / np.maximum(n, 1), fallback)
        return rates

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "edges": dump_array(self.grid.edges),
            "counts": self.counts.dump(),
            "order": dump_array(self.order),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """The calibration that was dumped."""
        grid = CellGrid(load_array(dumped["edges"]))
        return cls(grid, CellCounts.load(dumped["counts"]), load_array(dumped["order"]))


@dataclass(slots=True)
class Expected:
    """Predictions of one window by cell: all that the estimate needs of it; 8 bytes a cell."""

    n: Ints

    @classmethod
    def empty(cls, grid: CellGrid) -> Self:
        """Nothing counted."""
        return cls(np.zeros(len(grid), np.int64))

    def add(self, cells: Ints) -> None:
        """Counts predictions by the codes of `CellGrid.codes`; O(1) each."""
        self.n += np.bincount(cells, minlength=len(self.n))

    def merge(self, other: Expected) -> None:
        """Adds the counts of another."""
        self.n += other.n


@dataclass(frozen=True, slots=True)
class _Terms:
    """Expected counts of a window, and how uncertain each cell's positives are."""

    n: Ints
    positive: Floats
    variance: Floats
    order: Floats

    @property
    def predicted(self) -> tuple[float, float]:
        """Expected (true, false) positives."""
        tp = float(self.positive[1::2].sum())
        return tp, float(self.n[1::2].sum()) - tp

    @property
    def others(self) -> tuple[float, float]:
        """Expected (false, true) negatives."""
        fn = float(self.positive[::2].sum())
        return fn, float(self.n[::2].sum()) - fn

    def estimate(self, value: float, when_predicted: float, otherwise: float) -> Estimate:
        """A value whose change per positive label more depends on the predicted class alone."""
        slope = np.tile([otherwise, when_predicted], len(self.n) // 2)
        return self.of(value, slope)

    def of(self, value: float, slope: Floats) -> Estimate:
        error = sqrt(float((slope * slope * self.variance).sum()))
        return around(value, error, int(self.n.sum()), UNIT)


def _accuracy(t: _Terms) -> Estimate:
    n = int(t.n.sum())
    return t.estimate((t.predicted[0] + t.others[1]) / n, 1 / n, -1 / n)


def _precision(t: _Terms) -> Estimate:
    tp, fp = t.predicted
    if tp + fp <= 0:
        return undefined("no positive predictions")
    return t.estimate(tp / (tp + fp), 1 / (tp + fp), 0.0)


def _recall(t: _Terms) -> Estimate:
    tp, fn = t.predicted[0], t.others[0]
    whole = tp + fn
    if whole <= 0:
        return undefined("no positive labels are expected")
    return t.estimate(tp / whole, fn / whole**2, -tp / whole**2)


def _specificity(t: _Terms) -> Estimate:
    fp, tn = t.predicted[1], t.others[1]
    whole = fp + tn
    if whole <= 0:
        return undefined("no negative labels are expected")
    return t.estimate(tn / whole, tn / whole**2, -fp / whole**2)


def _f1(t: _Terms) -> Estimate:
    (tp, fp), fn = t.predicted, t.others[0]
    whole = 2 * tp + fp + fn
    if whole <= 0:
        return undefined("no positive predictions, and no positive labels are expected")
    value = 2 * tp / whole
    return t.estimate(value, (2 - value) / whole, -value / whole)


def _roc_auc(t: _Terms) -> Estimate:
    pos = t.positive.reshape(-1, 2).sum(axis=1)
    neg = t.n.reshape(-1, 2).sum(axis=1) - pos
    p, q = float(pos.sum()), float(neg.sum())
    if p <= 0 or q <= 0:
        return undefined(_ONE_CLASS)
    below = np.cumsum(neg) - neg + t.order * neg
    above = p - np.cumsum(pos) + t.order * pos
    value = float((pos * below).sum()) / (p * q)
    slope = (below - above) / (p * q) - value * (1 / p - 1 / q)
    return t.of(value, np.repeat(slope, 2))


METRICS: Mapping[str, Callable[[_Terms], Estimate]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "precision": _precision,
        "recall": _recall,
        "specificity": _specificity,
        "f1": _f1,
        "roc_auc": _roc_auc,
    }
)


def estimate(calibration: Calibration, n: Ints) -> dict[str, Estimate]:
    """Every estimated metric of a window, with the 95 % band of what will be realised.

    The band holds the sampling of the labels to come and that of the reference's rates; it does not
    hold a change of P(label | score).

    Args:
        calibration: the reference.
        n: predictions per cell: `Expected.n`, or `CellCounts.n` of the labelled ones.
    """
    scored = n[:-2]
    total = int(scored.sum())
    if not total:
        return {name: undefined(NO_PREDICTIONS) for name in METRICS}
    rates = calibration.rates()
    known = calibration.counts.n[:-2]
    sure = (rates * known + 0.5) / (known + 1)  # a rate of 0 in few labels is not certain
    variance = sure * (1 - sure) * (scored + scored * scored / np.maximum(known, 1))
    terms = _Terms(scored, scored * rates, variance, calibration.order)
    return {name: measure(terms) for name, measure in METRICS.items()}


def unsure_share(calibration: Calibration, n: Ints) -> float | None:
    """Share of a window's predictions without score, or in cells of few reference labels."""
    total = int(n.sum())
    few = calibration.counts.n < FEW
    few[-2:] = True
    return int(n[few].sum()) / total if total else None


@dataclass(frozen=True, slots=True)
class Surprise:
    """Realised against expected over the same labelled outcomes.

    `difference` = realised - expected; beyond +-1.96 `z` P(label | score) differs from the
    reference's: concept drift.
    """

    realised: float
    expected: Estimate
    difference: float
    z: float | None


def surprise(calibration: Calibration, labelled: CellCounts) -> dict[str, Surprise]:
    """How the estimate turned out, per metric that is defined both ways; empty without labels.

    Both sides take the order of scores within a bin from the reference, so `realised` of ROC AUC is
    what the bins give, not the exact value.

    Args:
        calibration: the reference.
        labelled: the window's outcomes by cell, revisions included.
    """
    expected = estimate(calibration, labelled.n)
    scored = labelled.n[:-2]
    terms = _Terms(
        scored, labelled.positive[:-2].astype(np.float64), np.zeros(len(scored)), calibration.order
    )
    found = {}
    for name, guess in expected.items():
        if guess.value is None:
            continue
        realised = METRICS[name](terms).value
        if realised is None:
            continue
        gap, error = realised - guess.value, guess.standard_error
        found[name] = Surprise(realised, guess, gap, gap / error if error else None)
    return found
