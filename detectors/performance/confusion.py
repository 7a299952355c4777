"""Confusion matrices, binary and multiclass, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.api import Metric, Value
from detectors.arrays import running_sum

Ints = NDArray[np.int64]

PAIR_SHIFT: Final = 20
"""A pair is class code of the prediction << 20 | class code of the label."""

_FEW = 12  # below this many entries a plain loop beats NumPy


@dataclass(slots=True)
class ClassEntries:
    """What outcomes add to (sign 1) and take out of (sign -1) a confusion matrix, in row order.

    `row`: row of the outcome frame, rising; `loss`: log loss of the label, NaN without a score.
    """

    row: Ints
    sign: Ints
    pair: Ints
    loss: NDArray[np.float64]

    def take(self, which: slice | NDArray[Any]) -> ClassEntries:
        """Some of the entries."""
        return ClassEntries(self.row[which], self.sign[which], self.pair[which], self.loss[which])


@dataclass(slots=True)
class Confusion:
    """Outcomes by prediction and label: exact counts, and the sum of their log losses."""

    counts: dict[int, int] = field(default_factory=dict)
    loss: float = 0.0
    scored: int = 0

    def add(self, entries: ClassEntries) -> None:
        """Counts the entries."""
        counts = self.counts
        if len(entries.pair) < _FEW:
            moves = list(zip(entries.pair.tolist(), entries.sign.tolist(), strict=True))
        else:
            pairs, where = np.unique(entries.pair, return_inverse=True)
            totals = np.bincount(where, weights=entries.sign)
            moves = list(zip(pairs.tolist(), map(int, totals.tolist()), strict=True))
        for pair, n in moves:
            counts[pair] = counts.get(pair, 0) + n
            if counts[pair] <= 0:
                del counts[pair]
        known = ~np.isnan(entries.loss)
        sign = entries.sign[known]
        terms = (entries.loss[known] * sign)[:, None]
        self.loss = float(running_sum(np.array([self.loss]), terms)[0])
        self.scored += int(sign.sum())

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return sum(self.counts.values())

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        pairs = sorted(self.counts)
        counts = [self.counts[pair] for pair in pairs]
        return {"pairs": pairs, "counts": counts, "loss": self.loss, "scored": self.scored}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        counts = dict(zip(dumped["pairs"], dumped["counts"], strict=True))
        return cls(counts, dumped["loss"], dumped["scored"])


@dataclass(frozen=True, slots=True)
class ConfusionView:
    """A confusion matrix to compute metrics from: `matrix[i][j]`, label i, prediction j.

    `classes` are those that occurred, sorted; `positive` is None where it is not known. Per class:
    `hits` right predictions, `labels` labels, `predictions` predictions. Plain integers, because
    matrices are small and a window's metrics are computed each time it is published.
    """

    classes: tuple[str, ...]
    matrix: list[list[int]]
    positive: str | None
    loss: float
    scored: int
    hits: list[int]
    labels: list[int]
    predictions: list[int]

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return sum(self.labels)


def view(confusion: Confusion, names: Sequence[str], positive: str | None) -> ConfusionView:
    """The matrix over the classes that occurred; `names`: text of each class code."""
    mask = (1 << PAIR_SHIFT) - 1
    cells = [(pair >> PAIR_SHIFT, pair & mask, n) for pair, n in confusion.counts.items()]
    present = sorted({code for p, label, _ in cells for code in (p, label)}, key=lambda c: names[c])
    at = {code: i for i, code in enumerate(present)}
    matrix = [[0] * len(present) for _ in present]
    for predicted, label, n in cells:
        matrix[at[label]][at[predicted]] = n
    return ConfusionView(
        classes=tuple(names[code] for code in present),
        matrix=matrix,
        positive=positive,
        loss=confusion.loss,
        scored=confusion.scored,
        hits=[row[i] for i, row in enumerate(matrix)],
        labels=[sum(row) for row in matrix],
        predictions=[sum(column) for column in zip(*matrix, strict=True)],
    )


NO_OUTCOMES = "no outcomes yet"
NO_POSITIVE_CLASS = "no positive class: set `positive`"


def ratio(part: int, whole: int, why_not: str) -> Value:
    """The quotient `part / whole`, or the reason where whole is 0."""
    return Value(part / whole) if whole else Value(None, why_not)


def accuracy(v: ConfusionView) -> Value:
    """Share of right predictions."""
    return ratio(sum(v.hits), v.n, NO_OUTCOMES)


def balanced_accuracy(v: ConfusionView) -> Value:
    """Mean recall over the classes that have labels.

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", ICPR.
    """
    recalls = [hits / labels for hits, labels in zip(v.hits, v.labels, strict=True) if labels]
    return Value(fsum(recalls) / len(recalls)) if recalls else Value(None, NO_OUTCOMES)


def macro_f1(v: ConfusionView) -> Value:
    """Mean over classes of 2 TP / (labels + predictions)."""
    counts = zip(v.hits, v.labels, v.predictions, strict=True)
    scores = [2 * hits / (labels + predictions) for hits, labels, predictions in counts]
    return Value(fsum(scores) / len(scores)) if scores else Value(None, NO_OUTCOMES)


def log_loss(v: ConfusionView) -> Value:
    """Mean of -ln(score of the label), in nats, over the outcomes whose label has a score."""
    return Value(v.loss / v.scored) if v.scored else Value(None, "no scores")


@dataclass(frozen=True, slots=True)
class _Binary:
    """Counts around the positive class."""

    tp: int
    fp: int
    fn: int
    tn: int


def _of_positive(share: Callable[[_Binary], Value]) -> Callable[[ConfusionView], Value]:
    def measure(v: ConfusionView) -> Value:
        if v.positive is None:
            return Value(None, NO_POSITIVE_CLASS)
        if not v.n:
            return Value(None, NO_OUTCOMES)
        if v.positive not in v.classes:
            return share(_Binary(0, 0, 0, v.n))
        at = v.classes.index(v.positive)
        tp = v.hits[at]
        fp, fn = v.predictions[at] - tp, v.labels[at] - tp
        return share(_Binary(tp, fp, fn, v.n - tp - fp - fn))

    return measure


_NO_LABEL = "no positive labels"
_BINARY = ("binary", "multiclass")

METRICS: tuple[Metric[ConfusionView], ...] = (
    Metric("accuracy", _BINARY, accuracy),
    Metric("balanced_accuracy", _BINARY, balanced_accuracy),
    Metric(
        "precision",
        ("binary",),
        _of_positive(lambda c: ratio(c.tp, c.tp + c.fp, "no positive predictions")),
    ),
    Metric("recall", ("binary",), _of_positive(lambda c: ratio(c.tp, c.tp + c.fn, _NO_LABEL))),
    Metric(
        "f1",
        ("binary",),
        _of_positive(
            lambda c: ratio(
                2 * c.tp, 2 * c.tp + c.fp + c.fn, "no positive labels and no positive predictions"
            )
        ),
    ),
    Metric(
        "false_negative_rate",
        ("binary",),
        _of_positive(lambda c: ratio(c.fn, c.tp + c.fn, _NO_LABEL)),
    ),
    Metric(
        "false_positive_rate",
        ("binary",),
        _of_positive(lambda c: ratio(c.fp, c.fp + c.tn, "no negative labels")),
    ),
    Metric("macro_f1", ("multiclass",), macro_f1),
    Metric("log_loss", _BINARY, log_loss),
)
