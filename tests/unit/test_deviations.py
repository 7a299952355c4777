"""Regression metrics: scikit-learn's values, exact under any batching, and why they are None."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from detectors.performance import deviations as d

METRICS = {metric.name: metric.measure for metric in d.METRICS}


def entries_of(said, label, sign=None):
    said, label = np.asarray(said, float), np.asarray(label, float)
    sign = np.ones(len(said), np.int64) if sign is None else np.asarray(sign, np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        return d.DeviationEntries(np.arange(len(said)), sign, said - label, label)


def tally_of(said, label):
    tally = d.Deviations()
    tally.add(entries_of(said, label))
    return tally


def drawn(seed, offset=0.0):
    rng = np.random.default_rng(seed)
    label = rng.gamma(2, 30, 500) + 1 + offset
    return label + rng.normal(3, 12, 500), label


EXPECTED = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "bias": lambda y, p: float(np.mean(p - y)),
    "r2": sk.r2_score,
    "mape": sk.mean_absolute_percentage_error,
    "smape": lambda y, p: float(np.mean(2 * np.abs(p - y) / (np.abs(p) + np.abs(y)))),
    "quantile_loss_0.1": lambda y, p: sk.mean_pinball_loss(y, p, alpha=0.1),
    "quantile_loss_0.5": lambda y, p: sk.mean_pinball_loss(y, p, alpha=0.5),
    "quantile_loss_0.9": lambda y, p: sk.mean_pinball_loss(y, p, alpha=0.9),
}


@pytest.mark.parametrize("metric", d.METRICS, ids=lambda m: m.name)
@pytest.mark.parametrize("offset", [0.0, 1e6, -500.0])
def test_every_metric_is_scikit_learns(metric, offset):
    for seed in range(3):
        said, label = drawn(seed, offset)
        estimate = metric.measure(tally_of(said, label))
        assert estimate.value == pytest.approx(EXPECTED[metric.name](label, said), abs=1e-9)
        low, high = estimate.interval
        assert low < estimate.value < high


def test_a_far_origin_does_not_drown_the_spread_of_the_labels():
    label = 1e9 + np.arange(50) * 1e-3
    said = label + np.where(np.arange(50) % 2, 1e-3, -1e-3)
    assert METRICS["r2"](tally_of(said, label)).value == pytest.approx(
        sk.r2_score(label - 1e9, said - 1e9), abs=1e-6
    )


numbers = st.floats(-1e100, 1e100) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e-320, -1e150])
outcomes = st.lists(st.tuples(numbers, numbers), max_size=20)


@given(outcomes, outcomes, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_batching_merging_and_revisions_change_no_bit(stay, leave, random, size):
    moves = [(*row, 1) for row in stay + leave] + [(*row, -1) for row in leave]
    random.shuffle(moves)
    parts = [d.Deviations(), d.Deviations()]
    for at in range(0, len(moves), size):
        said, label, sign = (list(c) for c in zip(*moves[at : at + size], strict=True))
        parts[at % 2].add(entries_of(said, label, sign))
    parts[1].merge(d.Deviations.load(parts[0].dump()))
    fresh = tally_of(*([list(c) for c in zip(*stay, strict=True)] or [[], []]))
    assert parts[1] == fresh
    for metric in d.METRICS:
        value = metric.measure(fresh).value
        assert value is None or np.isfinite(value)


def test_what_is_undefined_says_why():
    for metric in d.METRICS:
        assert metric.measure(d.Deviations()).reason == "no outcomes yet"
    zeros = tally_of([1.0, 2.0], [0.0, 0.0])
    assert METRICS["mape"](zeros).reason == "every label is 0"
    assert METRICS["smape"](zeros).value == 2.0
    assert METRICS["r2"](zeros).reason == "the labels do not vary"
    assert METRICS["smape"](tally_of([0.0], [0.0])).value == 0.0
    assert METRICS["mae"](zeros).value == 1.5


def test_the_percentage_error_leaves_labels_of_zero_out_and_says_how_many_it_rests_on():
    estimate = METRICS["mape"](tally_of([1.0, 11.0, 8.0], [0.0, 10.0, 10.0]))
    assert estimate.value == pytest.approx(0.15)
    assert estimate.n == 2


def test_the_standard_errors_are_those_of_repeated_samples():
    for name in EXPECTED:
        found = [METRICS[name](tally_of(*drawn(seed))) for seed in range(150)]
        spread = np.std([estimate.value for estimate in found])
        told = np.mean([estimate.standard_error for estimate in found])
        assert told == pytest.approx(spread, rel=0.6 if name == "r2" else 0.25), name


@pytest.mark.parametrize("quantile", [0, 1, -0.5, float("nan")])
def test_a_quantile_outside_zero_and_one_is_refused(quantile):
    with pytest.raises(ValueError, match="between 0 and 1"):
        d.quantile_loss(quantile)
