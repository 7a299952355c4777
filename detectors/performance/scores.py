"""Scores against labels: ranking, log loss, Brier score, calibration, top-k.

Every part is exact under any batching, any order and any revision: a label that is taken out again
leaves the same bits as if it had never come (but for empty bins, which keep the bins' width
independent of the order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Metric
from detectors.measures import reliability, score_counts
from detectors.measures.estimate import Estimate, around, share, undefined
from detectors.measures.exact import ExactSums, mean_of
from detectors.measures.reliability import NO_SCORES, Reliability
from detectors.measures.score_counts import ScoreCounts

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

RANKS: Final = 10
"""Ranks of the label that are told apart; top-k is known for k up to this."""
UNRANKED: Final = -1

_EPSILON: Final = float(np.finfo(np.float64).eps)
_LOSS, _LOSS2, _SQUARE, _SQUARE2 = range(4)


@dataclass(slots=True)
class ScoreEntries:
    """What outcomes with scores add (sign 1) and take out (sign -1), in row order; shape (n,).

    Attributes:
        row: row of the outcome frame, rising.
        sign: 1 or -1.
        probability: binary: of the positive class; multiclass: of the predicted class.
        hit: binary: the label is the positive class; multiclass: the prediction was right.
        loss: -ln(probability of the label), in nats.
        square: squared distance of the probabilities from the label.
        rank: classes that score above the label; `UNRANKED` for binary.
    """

    row: Ints
    sign: Ints
    probability: Floats
    hit: Mask
    loss: Floats
    square: Floats
    rank: Ints
    _summed: ScoreTally | None = field(default=None, init=False, repr=False, compare=False)

    def summed(self) -> ScoreTally:
        """What they add up to, computed once: a window and the totals take the same."""
        if self._summed is None:
            self._summed = ScoreTally(scores=ScoreCounts(cap=len(self.row)))
            self._summed.add(self)
        return self._summed

    def take(self, which: slice | NDArray[Any]) -> ScoreEntries:
        """Some of the entries."""
        return ScoreEntries(
            self.row[which],
            self.sign[which],
            self.probability[which],
            self.hit[which],
            self.loss[which],
            self.square[which],
            self.rank[which],
        )


def _loss(probability: Floats) -> Floats:
    """-ln, clipped as scikit-learn does."""
    loss: Floats = -np.log(np.clip(probability, _EPSILON, 1 - _EPSILON))
    return loss


def binary_entries(row: Ints, sign: Ints, score: Floats, positive: Mask) -> ScoreEntries:
    """Entries of a two-class model; rows whose score is not in [0, 1] (NaN: absent) are left out.

    Args:
        row: row of the outcome frame, rising.
        sign: 1: the label came; -1: it is taken out.
        score: probability of the positive class.
        positive: the label is the positive class.
    """
    known = (score >= 0) & (score <= 1)
    row, sign, p, hit = row[known], sign[known], score[known], positive[known]
    missed = np.where(hit, 1 - p, p)
    rank = np.full(len(row), UNRANKED, np.int64)
    return ScoreEntries(row, sign, p, hit, _loss(np.where(hit, p, 1 - p)), missed * missed, rank)


def multiclass_entries(
    row: Ints, sign: Ints, scores: Floats, predicted: Ints, label: Ints
) -> ScoreEntries:
    """Entries of a model with many classes; rows without the scores of both classes are left out.

    Args:
        row: row of the outcome frame, rising.
        sign: 1 or -1.
        scores: probability per class, shape (n, classes), classes in the order of their texts;
            NaN: absent.
        predicted: column of each row's prediction, -1 where it has none.
        label: column of each row's label, likewise.
    """
    given = np.flatnonzero((predicted >= 0) & (label >= 0))
    of_label = scores[given, label[given]]
    of_predicted = scores[given, predicted[given]]
    known = (of_label >= 0) & (of_label <= 1) & (of_predicted >= 0) & (of_predicted <= 1)
    rows = given[known]
    p, own, of_label = np.nan_to_num(scores[rows]), label[rows], of_label[known]
    # Of classes with equal scores the later one ranks higher, as in scikit-learn.
    later = np.arange(scores.shape[1])[None] > own[:, None]
    ahead = (p > of_label[:, None]) | ((p == of_label[:, None]) & later)
    square = (p * p).sum(axis=1) - 2 * of_label + 1
    return ScoreEntries(
        row[rows],
        sign[rows],
        of_predicted[known],
        predicted[rows] == own,
        _loss(of_label),
        np.maximum(square, 0.0),
        ahead.sum(axis=1),
    )


def _ranks() -> Ints:
    return np.zeros(RANKS + 1, np.int64)


def _sums() -> ExactSums:
    return ExactSums(4)


@dataclass(slots=True)
class ScoreTally:
    """Everything the metrics of this module need, for one window or since the start.

    Memory: 24 bytes per distinct score up to 24 KiB (`ScoreCounts.cap`), and 1 KiB.
    """

    scores: ScoreCounts = field(default_factory=ScoreCounts)
    reliability: Reliability = field(default_factory=Reliability)
    sums: ExactSums = field(default_factory=_sums)
    ranks: Ints = field(default_factory=_ranks)
    n: int = 0

    def add(self, entries: ScoreEntries) -> None:
        """Counts the entries."""
        if not len(entries.row):
            return
        sign = entries.sign
        self.n += int(sign.sum())
        self.scores.add(entries.probability, entries.hit, sign)
        self.reliability.add(entries.probability, entries.hit, sign)
        loss, square = entries.loss, entries.square
        terms = np.stack([loss, loss * loss, square, square * square], axis=1)
        self.sums.add(terms * sign[:, None])
        ranked = entries.rank != UNRANKED
        ranks = np.minimum(entries.rank[ranked], RANKS)
        counts = np.bincount(ranks, weights=sign[ranked], minlength=RANKS + 1)
        self.ranks += counts.astype(np.int64)

    def merge(self, other: ScoreTally) -> None:
        """Adds another tally: afterwards it is as if all entries had come here."""
        self.n += other.n
        self.scores.merge(other.scores)
        self.reliability.merge(other.reliability)
        self.sums.merge(other.sums)
        self.ranks += other.ranks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreTally) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "scores": self.scores.dump(),
            "reliability": self.reliability.dump(),
            "sums": self.sums.dump(),
            "ranks": self.ranks.tolist(),
            "n": self.n,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(
            ScoreCounts.load(dumped["scores"]),
            Reliability.load(dumped["reliability"]),
            ExactSums.load(dumped["sums"]),
            np.array(dumped["ranks"], np.int64),
            dumped["n"],
        )


def roc_auc(tally: ScoreTally) -> Estimate:
    """Area under the ROC curve; see `detectors.measures.score_counts.roc_auc`."""
    return score_counts.roc_auc(tally.scores)


def pr_auc(tally: ScoreTally) -> Estimate:
    """Average precision; see `detectors.measures.score_counts.pr_auc`."""
    return score_counts.pr_auc(tally.scores)


def log_loss(tally: ScoreTally) -> Estimate:
    """Mean of -ln(probability of the label), in nats."""
    return _mean(tally, _LOSS, _LOSS2)


def brier(tally: ScoreTally) -> Estimate:
    """Mean squared distance of the probabilities from what came true.

    Binary: of the positive class alone, in [0, 1]. Multiclass: summed over classes, in [0, 2].

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    return _mean(tally, _SQUARE, _SQUARE2)


def _mean(tally: ScoreTally, column: int, squares: int) -> Estimate:
    if not tally.n:
        return undefined(NO_SCORES)
    mean, error = mean_of(tally.sums, column, squares, tally.n)
    return around(mean, error, tally.n, (0.0, None))


def expected_calibration_error(tally: ScoreTally) -> Estimate:
    """See `detectors.measures.reliability.expected_error`."""
    return reliability.expected_error(tally.reliability)


def maximum_calibration_error(tally: ScoreTally) -> Estimate:
    """See `detectors.measures.reliability.maximum_error`."""
    return reliability.maximum_error(tally.reliability)


def top_k(k: int) -> Callable[[ScoreTally], Estimate]:
    """Measures the share of outcomes whose label is among the k classes that score highest.

    Raises: ValueError where k is not from 1 to `RANKS`.
    """
    if not 1 <= k <= RANKS:
        raise ValueError(f"top-k accuracy is kept for k from 1 to {RANKS}, not {k}")

    def measure(tally: ScoreTally) -> Estimate:
        return share(int(tally.ranks[:k].sum()), int(tally.ranks.sum()), NO_SCORES)

    return measure


def macro_roc_auc(by_class: Mapping[str, ScoreCounts]) -> Estimate:
    """Mean ROC AUC of each class against the rest, over the classes where it is defined.

    Args:
        by_class: class -> counts of that class's score, "positive" being that label.

    Source: Provost & Domingos 2000 (one against the rest), each class weighing the same.
    """
    areas = [score_counts.roc_auc(counts) for counts in by_class.values()]
    known = [(area.value, area) for area in areas if area.value is not None]
    if not known:
        return undefined("no class has both labels and others")
    k = len(known)
    variance = sum((area.standard_error or 0.0) ** 2 for _, area in known)
    binning = sum(area.error for _, area in known) / k
    rows = max(area.n for _, area in known)
    return around(sum(v for v, _ in known) / k, variance**0.5 / k, rows, (0.0, 1.0), binning)


_BOTH = ("binary", "multiclass")

METRICS: tuple[Metric[ScoreTally], ...] = (
    Metric("roc_auc", ("binary",), roc_auc),
    Metric("pr_auc", ("binary",), pr_auc),
    Metric("log_loss", _BOTH, log_loss),
    Metric("brier", _BOTH, brier),
    Metric("expected_calibration_error", _BOTH, expected_calibration_error),
    Metric("maximum_calibration_error", _BOTH, maximum_calibration_error),
    Metric("top_3_accuracy", ("multiclass",), top_k(3)),
    Metric("top_5_accuracy", ("multiclass",), top_k(5)),
)
