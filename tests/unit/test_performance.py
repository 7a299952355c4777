"""Confusion matrices against scikit-learn, and which metrics a monitor has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from detectors.api import Value
from detectors.measures.matrix import NO_OUTCOMES, NO_POSITIVE_CLASS
from detectors.performance.confusion import (
    PAIR_SHIFT,
    ClassEntries,
    Confusion,
    view,
)
from detectors.registry import METRICS, metrics_of
from detectors.spec import MetricSpec, MonitorSpec

NAMES = ["_other", "a", "b", "c"]


def class_entries(predicted, labels, *, sign: int = 1) -> ClassEntries:
    p, y = np.array(predicted, dtype=np.int64), np.array(labels, dtype=np.int64)
    return ClassEntries(np.arange(len(p)), np.full(len(p), sign), p << PAIR_SHIFT | y)


def values(confusion: Confusion, positive: str | None = "a") -> dict[str, Value]:
    seen = view(confusion, NAMES, positive)
    return {name: metric.measure(seen) for name, metric in METRICS.items() if metric.of == "matrix"}


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
        assert (ours["recall"].value, ours["recall"].reason) == (None, "no positive labels")
    if any(p):
        assert ours["precision"].value == pytest.approx(
            sklearn.precision_score(y, p, zero_division=0), abs=1e-12
        )
    else:
        assert (ours["precision"].value, ours["precision"].reason) == (
            None,
            "no positive predictions",
        )
    if any(y) or any(p):
        assert ours["f1"].value == pytest.approx(sklearn.f1_score(y, p), abs=1e-12)


def test_what_is_undefined_has_a_reason_and_no_value():
    empty = values(Confusion())
    assert {v.value for v in empty.values()} == {None}
    assert empty["accuracy"].reason == NO_OUTCOMES
    confusion = Confusion()
    confusion.add(class_entries([2, 2], [2, 2]))
    unknown = values(confusion, positive=None)
    assert (unknown["precision"].value, unknown["precision"].reason) == (None, NO_POSITIVE_CLASS)
    assert unknown["accuracy"].value == 1.0
    none_positive = values(confusion)
    assert (none_positive["recall"].value, none_positive["recall"].reason) == (
        None,
        "no positive labels",
    )
    assert none_positive["false_positive_rate"].value == 0.0


def test_a_label_taken_out_leaves_no_trace():
    confusion = Confusion()
    confusion.add(class_entries([1, 2], [1, 1]))
    confusion.add(class_entries([2], [1], sign=-1))
    confusion.add(class_entries([2], [2]))
    assert values(confusion)["accuracy"].value == 1.0
    assert confusion.n == 2
    assert Confusion.load(confusion.dump()) == confusion


def test_the_metrics_of_a_monitor_are_those_of_its_task():
    assert [m.name for m in metrics_of(MonitorSpec(model="m"), "regression")] == [
        *("mae", "rmse", "bias", "r2", "mape", "smape")
    ]
    chosen = MonitorSpec(
        model="m", metrics=tuple(MetricSpec(name=name) for name in ("f1", "mae", "accuracy"))
    )
    assert [m.name for m in metrics_of(chosen, "binary")] == ["f1", "accuracy"]


def test_a_metric_with_parameters_says_them_in_its_name():
    wanted = (
        MetricSpec(name="cost", params={"fn": 500, "fp": 5}),
        MetricSpec(name="f_beta", params={"beta": 3}),
    )
    found = metrics_of(MonitorSpec(model="m", metrics=wanted), "binary")
    assert [metric.name for metric in found] == ["cost", "f3"]
    confusion = Confusion()
    confusion.add(class_entries([1, 2, 2, 1], [1, 1, 2, 2]))  # a is positive: one FN, one FP
    assert found[0].measure(view(confusion, NAMES, "a")).value == (500 + 5) / 4
    assert found[1].measure(view(confusion, NAMES, "a")).value == pytest.approx(0.5)
