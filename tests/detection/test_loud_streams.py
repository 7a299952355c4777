"""Streams in which something breaks, replayed with defaults: it is told, and soon."""

from __future__ import annotations

import numpy as np
import pytest

from tests.detection.made_streams import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    Heard,
    Stream,
    classifier,
    heard,
    times,
)

WARMUP = 2_000
CHANGE_MS = START_MS + DAY_MS
"""When things break, in streams of 5,000 rows a day."""


@pytest.fixture
def rng():
    return np.random.default_rng(2)


@pytest.fixture
def stream(rng):
    return classifier(rng, times(rng, 5_000, 1.5))


@pytest.fixture
def after(stream):
    return stream.ts >= CHANGE_MS


def rows_late(stream: Stream, known: int) -> int:
    """Predictions from the change to when it was told."""
    assert known >= CHANGE_MS
    return int(np.count_nonzero((stream.ts >= CHANGE_MS) & (stream.ts <= known)))


def told(stream: Stream, folder) -> Heard:
    return heard(stream, folder, warmup=WARMUP, horizon_ms=2 * HOUR_MS, window_ms=12 * HOUR_MS)


@pytest.mark.parametrize(("by", "within"), [(0.5, 1_000), (2.0, 150)])
def test_a_feature_that_shifts(by, within, stream, after, tmp_path):
    stream.features["x"] = stream.features["x"] + by * after
    assert rows_late(stream, told(stream, tmp_path).known("feature_drift", "feature:x")) <= within


def test_a_feature_that_goes_missing_in_a_tenth_of_rows(stream, after, rng, tmp_path):
    gone = after & (rng.random(len(after)) < 0.1)
    values = zip(stream.features["x"].tolist(), gone, strict=True)
    stream.features["x"] = [None if out else value for value, out in values]
    assert rows_late(stream, told(stream, tmp_path).known("data_quality", "missing:x")) <= 500


def test_a_category_that_was_never_seen(stream, after, rng, tmp_path):
    new = after & (rng.random(len(after)) < 0.05)
    stream.features["country"] = np.where(new, "xx", stream.features["country"])
    assert rows_late(stream, told(stream, tmp_path).known("data_quality", "unseen:country")) <= 500


def test_a_third_of_labels_turned_over(stream, after, rng, tmp_path):
    turned = after & (rng.random(len(after)) < 0.35)
    other = np.where(stream.label == "yes", "no", "yes")
    stream.label = np.where(turned, other, stream.label)
    known = told(stream, tmp_path).known("concept_drift", "error") - HOUR_MS
    assert rows_late(stream, known) <= 1_000


def test_another_mix_of_predicted_classes(stream, after, rng, tmp_path):
    more = after & (rng.random(len(after)) < 0.3)
    stream.prediction = np.where(more, "yes", stream.prediction)
    assert rows_late(stream, told(stream, tmp_path).known("prediction_drift", "prediction")) <= 500


def test_latency_that_doubles(stream, after, rng, tmp_path):
    stream.latency = rng.lognormal(3, 0.6, len(after)) * np.where(after, 2, 1)
    assert rows_late(stream, told(stream, tmp_path).known("latency", "latency")) <= 300


def test_numbers_that_a_regression_misses_by_more(rng, tmp_path):
    ts = times(rng, 5_000, 1.5)
    x, noise = rng.normal(size=len(ts)), rng.normal(size=len(ts))
    after = ts >= CHANGE_MS
    truth = 100 + 10 * x + noise * np.where(after, 10, 5)
    stream = Stream(ts, {"x": x}, 100 + 10 * x, truth, delay=HOUR_MS)
    known = told(stream, tmp_path).known("performance", "error") - HOUR_MS
    assert rows_late(stream, known) <= 500


def test_numbers_that_a_regression_misses_on_one_side(rng, tmp_path):
    """As large as before: only their sign says it."""
    ts = times(rng, 5_000, 1.5)
    x, noise = rng.normal(size=len(ts)), rng.normal(0, 5, len(ts))
    truth = 100 + 10 * x + np.where(ts >= CHANGE_MS, abs(noise), noise)
    stream = Stream(ts, {"x": x}, 100 + 10 * x, truth, delay=HOUR_MS)
    known = told(stream, tmp_path).known("performance", "residual") - HOUR_MS
    assert rows_late(stream, known) <= 500


@pytest.mark.parametrize("versions", [("1",), ("1", "2")])
def test_an_outage_of_steady_traffic(versions, rng, tmp_path):
    ts = times(rng, 2_000, 7)
    begin = START_MS + 4 * DAY_MS + 11 * HOUR_MS
    kept = (ts < begin) | (ts > begin + 2 * HOUR_MS)
    stream = classifier(rng, ts[kept])
    stream.version = rng.choice(list(versions), len(stream.ts))
    known = told(stream, tmp_path).known("volume", "volume")
    assert begin < known <= begin + 40 * MINUTE_MS


def test_an_outage_of_one_version_that_no_other_makes_up_for(rng, tmp_path):
    ts = times(rng, 3_000, 7)
    stream = classifier(rng, ts)
    stream.version = rng.choice(["1", "2"], len(ts))
    begin = START_MS + 4 * DAY_MS + 11 * HOUR_MS
    gone = (stream.version == "2") & (ts >= begin) & (ts < begin + 2 * HOUR_MS)
    rest = classifier(rng, ts[~gone])
    rest.version = stream.version[~gone]
    known = told(rest, tmp_path).known("volume", "volume")
    assert begin < known <= begin + 40 * MINUTE_MS
