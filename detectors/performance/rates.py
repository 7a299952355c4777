"""Metrics of a confusion matrix with their sampling errors; None with a reason where undefined.

All class-wise metrics here are `(a + b) h / (a l + b q)`: h right predictions, l labels and q
predictions of a class; recall is a, b = 1, 0, precision 0, 1, F-beta beta squared, 1. Their means
and gradients have one form, so one function serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from detectors.api import Metric
from detectors.measures.estimate import UNIT, Estimate, around, delta_error, share, undefined
from detectors.measures.matrix import NO_OUTCOMES, NO_POSITIVE_CLASS, Matrix, Measured, cells_of

NO_LABELS = "no positive labels"
NO_PREDICTIONS = "no positive predictions"
NO_NEGATIVES = "no negative labels"
NEITHER = "no positive labels and no positive predictions"


@dataclass(frozen=True, slots=True)
class Binary:
    """Counts around the positive class."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n(self) -> int:
        """Outcomes."""
        return self.tp + self.fp + self.fn + self.tn


def binary(m: Matrix) -> Binary | Estimate:
    """The counts around the positive class, or why there are none."""
    if m.positive is None:
        return undefined(NO_POSITIVE_CLASS)
    total = sum(map(sum, m.matrix))
    if not total:
        return undefined(NO_OUTCOMES)
    return _around_class(m, m.positive, total)


def _around_class(m: Matrix, name: str, total: int) -> Binary:
    if name not in m.classes:
        return Binary(0, 0, 0, total)
    at = m.classes.index(name)
    tp = m.matrix[at][at]
    fp, fn = sum(row[at] for row in m.matrix) - tp, sum(m.matrix[at]) - tp
    return Binary(tp, fp, fn, total - tp - fp - fn)


def _of_positive(measure: Callable[[Binary], Estimate]) -> Measured:
    def measured(m: Matrix) -> Estimate:
        counts = binary(m)
        return measure(counts) if isinstance(counts, Binary) else counts

    return measured


def f_beta(beta: float) -> Measured:
    """Measures F-beta of the positive class: recall weighs beta times as much as precision.

    Raises: ValueError where beta is not above 0.

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, not {beta}")
    return _of_positive(_f_of(beta * beta))


def _f_of(weight: float) -> Callable[[Binary], Estimate]:
    def measure(c: Binary) -> Estimate:
        whole = (1 + weight) * c.tp + weight * c.fn + c.fp
        if not whole:
            return undefined(NEITHER)
        value = (1 + weight) * c.tp / whole
        # the delta method: the gradient's mean over the outcomes is 0
        of_tp, of_wrong = (1 + weight) * (1 - value), value * value
        variance = c.tp * of_tp * of_tp + (c.fp + weight * weight * c.fn) * of_wrong
        return around(value, sqrt(variance) / whole, c.tp + c.fp + c.fn, UNIT)

    return measure


_f1 = _f_of(1.0)


def accuracy(m: Matrix) -> Estimate:
    """Share of right predictions; precision, recall and F1 averaged over outcomes (micro), too."""
    hits = sum(row[at] for at, row in enumerate(m.matrix))
    return share(hits, sum(map(sum, m.matrix)), NO_OUTCOMES)


def mcc(m: Matrix) -> Estimate:
    """Matthews correlation of predictions and labels, in [-1, 1], for any number of classes.

    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation
    coefficient"; standard error by the delta method.
    """
    counts = cells_of(m)
    cells = counts.astype(np.float64)
    n = float(cells.sum())
    if not n:
        return undefined(NO_OUTCOMES)
    labels, predictions = cells.sum(axis=1), cells.sum(axis=0)
    if np.count_nonzero(labels) < 2:  # noqa: PLR2004  # a constant correlates with nothing
        return undefined("the labels have a single class")
    if np.count_nonzero(predictions) < 2:  # noqa: PLR2004  # likewise
        return undefined("the predictions have a single class")
    right = float(np.trace(cells))
    top = right * n - float(predictions @ labels)
    of_predictions = n * n - float(predictions @ predictions)
    of_labels = n * n - float(labels @ labels)
    bottom = sqrt(of_predictions) * sqrt(of_labels)
    value = top / bottom
    slope = np.eye(len(cells)) * n + right - labels[None, :] - predictions[:, None]
    shrink = (n - predictions)[None, :] / of_predictions + (n - labels)[:, None] / of_labels
    error = delta_error(counts, slope / bottom - value * shrink)
    return around(value, error, int(n), (-1.0, 1.0))


# -- per class and averaged over classes -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """One class-wise metric by the weights of labels and predictions in its denominator."""

    labels: float
    predictions: float
    why_not: str


_PRECISION = _Kind(0.0, 1.0, "no predictions")
_RECALL = _Kind(1.0, 0.0, "no labels")
_F1 = _Kind(1.0, 1.0, "no outcomes yet")


def _mean_over_classes(kind: _Kind, *, weighted: bool) -> Measured:
    """Mean of a class-wise metric over the classes that have it; weighted: by their labels."""

    def measure(m: Matrix) -> Estimate:
        cells = cells_of(m)
        hits, labels = np.diagonal(cells), cells.sum(axis=1)
        whole = kind.labels * labels + kind.predictions * cells.sum(axis=0)
        weights = np.where(whole > 0, labels if weighted else 1, 0).astype(np.float64)
        total = float(weights.sum())
        if not total:
            return undefined(NO_OUTCOMES if not cells.sum() else kind.why_not)
        of = np.where(whole > 0, whole, 1.0)
        top = kind.labels + kind.predictions
        shares = top * hits / of
        value = float(weights @ shares) / total
        each = weights / total / of
        by_label = -each * shares * kind.labels
        if weighted:
            by_label += np.where(whole > 0, (shares - value) / total, 0.0)
        by_prediction = -each * shares * kind.predictions
        gradient = by_label[:, None] + by_prediction[None, :] + np.diag(top * each)
        return around(value, delta_error(cells, gradient), int(cells.sum()), UNIT)

    return measure


@dataclass(frozen=True, slots=True)
class ClassReport:
    """Precision, recall and F1 of one class, and how many labels and predictions it had."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    labels: int
    predictions: int


def per_class(m: Matrix) -> dict[str, ClassReport]:
    """A report of every class that occurred."""
    report = {}
    total = sum(map(sum, m.matrix))
    for name in m.classes:
        c = _around_class(m, name, total)
        labels, predictions = c.tp + c.fn, c.tp + c.fp
        report[name] = ClassReport(
            share(c.tp, predictions, "no predictions of this class"),
            share(c.tp, labels, "no labels of this class"),
            _f1(c),
            labels,
            predictions,
        )
    return report


_BOTH = ("binary", "multiclass")
_BINARY = ("binary",)
_MANY = ("multiclass",)

METRICS: tuple[Metric[Matrix], ...] = (
    Metric("accuracy", _BOTH, accuracy),
    Metric("balanced_accuracy", _BOTH, _mean_over_classes(_RECALL, weighted=False)),
    Metric("mcc", _BOTH, mcc),
    Metric("precision", _BINARY, _of_positive(lambda c: share(c.tp, c.tp + c.fp, NO_PREDICTIONS))),
    Metric("recall", _BINARY, _of_positive(lambda c: share(c.tp, c.tp + c.fn, NO_LABELS))),
    Metric("f1", _BINARY, f_beta(1.0)),
    Metric("f2", _BINARY, f_beta(2.0)),
    Metric("f0.5", _BINARY, f_beta(0.5)),
    Metric("specificity", _BINARY, _of_positive(lambda c: share(c.tn, c.tn + c.fp, NO_NEGATIVES))),
    Metric(
        "false_negative_rate", _BINARY, _of_positive(lambda c: share(c.fn, c.tp + c.fn, NO_LABELS))
    ),
    Metric(
        "false_positive_rate",
        _BINARY,
        _of_positive(lambda c: share(c.fp, c.fp + c.tn, NO_NEGATIVES)),
    ),
    Metric("macro_precision", _MANY, _mean_over_classes(_PRECISION, weighted=False)),
    Metric("macro_recall", _MANY, _mean_over_classes(_RECALL, weighted=False)),
    Metric("macro_f1", _MANY, _mean_over_classes(_F1, weighted=False)),
    Metric("weighted_precision", _MANY, _mean_over_classes(_PRECISION, weighted=True)),
    Metric("weighted_recall", _MANY, _mean_over_classes(_RECALL, weighted=True)),
    Metric("weighted_f1", _MANY, _mean_over_classes(_F1, weighted=True)),
    Metric("micro_precision", _MANY, accuracy),
    Metric("micro_recall", _MANY, accuracy),
    Metric("micro_f1", _MANY, accuracy),
)
