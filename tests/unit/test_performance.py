"""Confusion matrices and regression sums, against scikit-learn and under any batching."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from detectors.api import Value
from detectors.performance.confusion import (
    NO_OUTCOMES,
    NO_POSITIVE_CLASS,
    PAIR_SHIFT,
    ClassEntries,
    Confusion,
    view,
)
from detectors.performance.regression import NumberEntries, Residuals
from detectors.registry import METRICS, metrics_of
from detectors.spec import MetricSpec, MonitorSpec

NAMES = ["_other", "a", "b", "c"]


def class_entries(predicted, labels, *, sign: int = 1, loss=None) -> ClassEntries:
    p, y = np.array(predicted, dtype=np.int64), np.array(labels, dtype=np.int64)
    losses = np.full(len(p), np.nan) if loss is None else np.array(loss, dtype=float)
    return ClassEntries(np.arange(len(p)), np.full(len(p), sign), p << PAIR_SHIFT | y, losses)


def values(confusion: Confusion, positive: str | None = "a") -> dict[str, Value]:
    seen = view(confusion, NAMES, positive)
    return {
        name: metric.measure(seen)
        for name, metric in METRICS.items()
        if "regression" not in metric.tasks
    }


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_class_metrics_equal_scikit_learns(rows):
    predicted, labels = zip(*rows, strict=True)
    confusion = Confusion()
    confusion.add(class_entries(predicted, labels))
    ours = values(confusion)
    assert ours["accuracy"].value == sklearn.accuracy_score(labels, predicted)
    assert ours["macro_f1"].value == pytest.approx(
        sklearn.f1_score(labels, predicted, average="macro"), abs=1e-12
    )
    recalls = [
        np.mean([p == c for p, y in rows if y == c]) for c in (1, 2, 3) if c in labels
    ]  # scikit-learn's balanced accuracy, which warns where a class has no label
    assert ours["balanced_accuracy"].value == pytest.approx(np.mean(recalls), abs=1e-12)
    y, p = [c == 1 for c in labels], [c == 1 for c in predicted]
    if any(y):
        assert ours["recall"].value == pytest.approx(sklearn.recall_score(y, p), abs=1e-12)
        assert ours["false_negative_rate"].value == pytest.approx(1 - sklearn.recall_score(y, p))
    else:
        assert ours["recall"] == Value(None, "no positive labels")
    if any(p):
        assert ours["precision"].value == pytest.approx(
            sklearn.precision_score(y, p, zero_division=0), abs=1e-12
        )
    else:
        assert ours["precision"] == Value(None, "no positive predictions")
    if any(y) or any(p):
        assert ours["f1"].value == pytest.approx(sklearn.f1_score(y, p), abs=1e-12)


def test_what_is_undefined_has_a_reason_and_no_value():
    empty = values(Confusion())
    assert {v.value for v in empty.values()} == {None}
    assert empty["accuracy"].reason == NO_OUTCOMES
    confusion = Confusion()
    confusion.add(class_entries([2, 2], [2, 2]))
    unknown = values(confusion, positive=None)
    assert unknown["precision"] == Value(None, NO_POSITIVE_CLASS)
    assert unknown["accuracy"].value == 1.0
    assert unknown["log_loss"] == Value(None, "no scores")
    none_positive = values(confusion)
    assert none_positive["recall"] == Value(None, "no positive labels")
    assert none_positive["false_positive_rate"].value == 0.0


def test_a_label_taken_out_leaves_no_trace():
    confusion = Confusion()
    confusion.add(class_entries([1, 2], [1, 1], loss=[0.5, np.nan]))
    confusion.add(class_entries([2], [1], sign=-1))
    confusion.add(class_entries([2], [2]))
    assert values(confusion)["accuracy"].value == 1.0
    assert (confusion.n, confusion.scored, confusion.loss) == (2, 1, 0.5)
    assert Confusion.load(confusion.dump()) == confusion


numbers = st.floats(-1e6, 1e6)


def number_entries(rows, *, sign: int = 1, origin: float = 0.0) -> NumberEntries:
    residual = np.array([p - y for p, y in rows], dtype=float)
    label = np.array([y - origin for _, y in rows], dtype=float)
    return NumberEntries(np.arange(len(rows)), np.full(len(rows), sign), residual, label)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=60))
@settings(max_examples=60, deadline=None)
def test_regression_metrics_equal_scikit_learns(rows):
    predicted, labels = zip(*rows, strict=True)
    tally = Residuals()
    tally.add(number_entries(rows, origin=labels[0]))
    ours = {m.name: m.measure(tally) for m in METRICS.values() if "regression" in m.tasks}
    near = {"rel": 1e-9, "abs": 1e-9}
    assert ours["mae"].value == pytest.approx(
        sklearn.mean_absolute_error(labels, predicted), **near
    )
    assert ours["rmse"].value == pytest.approx(
        sklearn.root_mean_squared_error(labels, predicted), **near
    )
    assert ours["bias"].value == pytest.approx(
        float(np.mean(np.subtract(predicted, labels))), **near
    )
    if np.std(labels) > 1e-3 * max(1.0, np.max(np.abs(labels))):
        assert ours["r2"].value == pytest.approx(sklearn.r2_score(labels, predicted), rel=1e-7)


def test_r2_of_labels_that_do_not_vary_is_undefined():
    tally = Residuals()
    tally.add(number_entries([(1.0, 5.0), (2.0, 5.0)]))
    assert METRICS["r2"].measure(tally) == Value(None, "the labels do not vary")
    assert METRICS["mae"].measure(Residuals()) == Value(None, "no outcomes yet")


@given(
    rows=st.lists(st.tuples(numbers, numbers), max_size=50),
    cuts=st.lists(st.integers(0, 50), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_any_batching_of_regression_sums_gives_the_same_bits(rows, cuts):
    whole, parts = Residuals(), Residuals()
    whole.add(number_entries(rows))
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    for begin, end in pairwise(edges):
        parts.add(number_entries(rows[begin:end]))
    assert parts.dump() == whole.dump()
    assert Residuals.load(whole.dump()).dump() == whole.dump()


def test_the_metrics_of_a_monitor_are_those_of_its_task():
    assert [m.name for m in metrics_of(MonitorSpec(model="m"), "regression")] == [
        *("mae", "rmse", "bias", "r2")
    ]
    chosen = MonitorSpec(
        model="m", metrics=tuple(MetricSpec(name=name) for name in ("f1", "mae", "accuracy"))
    )
    assert [m.name for m in metrics_of(chosen, "binary")] == ["f1", "accuracy"]
