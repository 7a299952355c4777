"""Metrics of a confusion matrix: scikit-learn's values, sampling errors, why they are None."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from detectors.performance import rates
from detectors.performance.cost import cost

METRICS = {metric.name: metric.measure for metric in rates.METRICS}
NAMES = ("a", "b", "c", "d")


@dataclass
class Counted:
    classes: tuple[str, ...]
    matrix: list[list[int]]
    positive: str | None = None


def counted(label, said, positive=None):
    classes = sorted({*label, *said})
    matrix = [[0] * len(classes) for _ in classes]
    for pair in zip(label, said, strict=True):
        matrix[classes.index(pair[0])][classes.index(pair[1])] += 1
    return Counted(tuple(classes), matrix, positive)


def drawn(seed, n=400, k=4):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, k, n)
    said = np.where(rng.random(n) < 0.6, label, rng.integers(0, k, n))
    return [NAMES[i] for i in label], [NAMES[i] for i in said]


def sklearns(name, label, said):
    """What scikit-learn says; undefined shares left out of means, NaN where nothing is left."""
    both = {"zero_division": np.nan}
    positive = {"pos_label": "a", **both}
    kind, _, which = name.partition("_")
    table = {
        "accuracy": lambda: sk.accuracy_score(label, said),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(label, said),
        "mcc": lambda: sk.matthews_corrcoef(label, said),
        "precision": lambda: sk.precision_score(label, said, **positive),
        "recall": lambda: sk.recall_score(label, said, **positive),
        "f1": lambda: sk.f1_score(label, said, **positive),
        "f2": lambda: sk.fbeta_score(label, said, beta=2, **positive),
        "f0.5": lambda: sk.fbeta_score(label, said, beta=0.5, **positive),
        "specificity": lambda: sk.recall_score(label, said, pos_label="b", **both),
        "false_negative_rate": lambda: 1 - sk.recall_score(label, said, **positive),
        "false_positive_rate": lambda: 1 - sk.recall_score(label, said, pos_label="b", **both),
    }
    if name in table:
        return table[name]()
    score = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[which]
    return score(label, said, average=kind, **both)


@pytest.mark.parametrize("metric", rates.METRICS, ids=lambda m: m.name)
@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_scikit_learns(metric, seed):
    label, said = drawn(seed, k=2 if metric.tasks == ("binary",) else 4)
    estimate = metric.measure(counted(label, said, "a"))
    assert estimate.value == pytest.approx(sklearns(metric.name, label, said), abs=1e-9)
    low, high = estimate.interval
    assert low < estimate.value < high
    assert estimate.reason == ""


pairs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=8)
BOTH = [name for name, m in METRICS.items() if name.startswith(("macro", "weighted", "micro"))]


@given(pairs, st.sampled_from([*BOTH, "accuracy", "balanced_accuracy"]))
def test_with_few_outcomes_it_is_scikit_learns_or_none_with_a_reason(rows, name):
    label, said = [row[0] for row in rows], [row[1] for row in rows]
    estimate = METRICS[name](counted(label, said))
    if estimate.value is None:
        assert estimate.reason
        # no label is of a class that was predicted: a mean by labels has nothing to weigh
        assert not rows or (name == "weighted_precision" and not {*label} & {*said})
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)  # classes that were predicted alone
        expected = sklearns(name, label, said)
    assert estimate.value == pytest.approx(expected, abs=1e-9)


two = st.sampled_from("ab")
BINARY = [metric.name for metric in rates.METRICS if metric.tasks == ("binary",)]


@given(st.lists(st.tuples(two, two), max_size=6), st.sampled_from(BINARY))
def test_a_binary_metric_is_scikit_learns_or_none_where_that_is_nan(rows, name):
    label, said = [row[0] for row in rows], [row[1] for row in rows]
    estimate = METRICS[name](counted(label, said, "a"))
    if not rows:
        assert estimate.value is None
        return
    expected = sklearns(name, label, said)
    if np.isnan(expected):
        assert estimate.value is None
        assert estimate.reason
    else:
        assert estimate.value == pytest.approx(expected, abs=1e-9)


def test_a_correlation_with_a_constant_is_undefined():
    mcc = METRICS["mcc"]
    assert mcc(counted("aaa", "aba")).reason == "the labels have a single class"
    assert mcc(counted("aba", "aaa")).reason == "the predictions have a single class"
    assert mcc(counted("", "")).reason == "no outcomes yet"
    assert mcc(counted("abc", "abc")).value == pytest.approx(1.0)


def test_without_a_positive_class_it_says_what_to_set():
    for name in BINARY:
        estimate = METRICS[name](counted("abab", "abba"))
        assert (estimate.value, estimate.reason) == (None, "no positive class: set `positive`")


def test_cost_is_the_mean_of_what_each_outcome_cost():
    m = counted("aaabbbbb", "abbbbbaa", "a")  # two misses, two false calls
    estimate = cost(fn=500, fp=5)(m)
    paid = np.array([0, 500, 500, 0, 0, 0, 5, 5])
    assert estimate.value == pytest.approx(paid.mean())
    assert estimate.standard_error == pytest.approx(paid.std() / 8**0.5)
    pairs_of = {("a", "b"): 500.0, ("b", "a"): 5.0}
    assert cost(pairs=pairs_of)(m).value == estimate.value
    assert cost(fn=1)(counted("ab", "ba")).reason == "no positive class: set `positive`"
    assert cost(pairs=pairs_of)(counted("", "")).value is None


def test_each_class_has_its_report():
    label, said = drawn(2)
    report = rates.per_class(counted(label, said))
    p, r, f, n = sk.precision_recall_fscore_support(label, said, labels=NAMES)
    for at, name in enumerate(NAMES):
        one = report[name]
        found = (one.precision.value, one.recall.value, one.f1.value, one.labels)
        assert found == pytest.approx((p[at], r[at], f[at], n[at]), abs=1e-9)
    lone = rates.per_class(counted("ab", "aa"))["b"]
    assert (lone.precision.value, lone.precision.reason) == (None, "no predictions of this class")
    assert lone.recall.value == 0.0


@pytest.mark.parametrize("metric", rates.METRICS, ids=lambda m: m.name)
def test_the_standard_error_is_that_of_repeated_samples(metric):
    k = 2 if metric.tasks == ("binary",) else 4
    found = [metric.measure(counted(*drawn(seed, 300, k), "a")) for seed in range(200)]
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([e.standard_error for e in found]) == pytest.approx(spread, rel=0.2)


def test_the_interval_of_a_share_is_wilsons():
    from scipy.stats import binomtest

    from detectors.measures.estimate import wilson

    for part, whole in ((0, 7), (3, 7), (7, 7), (40, 1000)):
        theirs = binomtest(part, whole).proportion_ci(method="wilson")
        assert wilson(part, whole) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("beta", [0, -1, float("nan")])
def test_a_beta_that_is_not_above_zero_is_refused(beta):
    with pytest.raises(ValueError, match="above 0"):
        rates.f_beta(beta)
