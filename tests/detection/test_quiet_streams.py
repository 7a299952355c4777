"""Streams in which nothing changes, replayed with defaults: not one alert of any kind.

What a reference cannot know is not here: a cycle that is longer than the reference, or a memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.detection.made_streams import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    Stream,
    classifier,
    heard,
    times,
)

Rng = np.random.Generator
WARMUP = 2_000


def with_a_daily_cycle(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 1_500, 6, cycle=0.8))
    stream.features["x"] = stream.features["x"] + 0.6 * np.sin(2 * np.pi * stream.ts / DAY_MS)
    return stream


def in_bursts(rng: Rng) -> Stream:
    starts = rng.uniform(0, 8 * DAY_MS, 80)[:, None]
    at = START_MS + starts + rng.uniform(0, 5 * MINUTE_MS, (80, 100))
    return classifier(rng, np.sort(at.astype(np.int64).ravel()))


def in_office_hours(rng: Rng) -> Stream:
    ts = times(rng, 1_500, 16, weekend=0)
    return classifier(rng, ts[(ts % DAY_MS >= 8 * HOUR_MS) & (ts % DAY_MS < 18 * HOUR_MS)])


def with_weekends_of_a_fifth(rng: Rng) -> Stream:
    return classifier(rng, times(rng, 600, 16, weekend=0.2))


def with_labels_after_days(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 250, 24))
    slow = np.where(stream.label == "yes", 2, 8) * DAY_MS
    stream.delay = np.minimum(rng.exponential(slow), 14 * DAY_MS).astype(np.int64)
    return stream


def of_a_rare_class(rng: Rng) -> Stream:
    return classifier(rng, times(rng, 10_000, 1.5), positive=0.001)


def with_memory(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 8_000, 2))
    for name, rho in (("day", 0.9), ("week", 0.99), ("year", 0.997)):
        values = np.empty(len(stream.ts))
        last = 0.0
        for at, noise in enumerate(rng.normal(0, (1 - rho**2) ** 0.5, len(values)).tolist()):
            last = rho * last + noise
            values[at] = last
        stream.features[name] = values
    return stream


def of_heavy_tails(rng: Rng) -> Stream:
    ts = times(rng, 8_000, 1.5)
    x = rng.normal(size=len(ts))
    truth = 100 + 10 * x + 5 * rng.standard_t(2, len(ts))
    return Stream(ts, {"x": x}, 100 + 10 * x, truth, delay=HOUR_MS)


def of_a_version_that_another_replaces(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 1_500, 6))
    stream.version = np.where(stream.ts < START_MS + 4.4 * DAY_MS, "1", "2")
    return stream


def of_a_canary_that_takes_over(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 1_500, 8))
    day = (stream.ts - START_MS) / DAY_MS
    share = np.select([day < 4.3, day < 5.3, day < 7.3], [0.0, 0.1, 0.5], 1.0)
    stream.version = np.where(rng.random(len(day)) < share, "2", "1")
    return stream


def with_a_fifth_missing(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 8_000, 1.5))
    missing = rng.random(len(stream.ts)) < 0.2
    values = zip(stream.features["x"].tolist(), missing, strict=True)
    stream.features["x"] = [None if gone else value for value, gone in values]
    return stream


def of_few_rows_a_day(rng: Rng) -> Stream:
    return classifier(rng, times(rng, 60, 50))


def of_one_moment(rng: Rng) -> Stream:
    return classifier(rng, np.full(10_000, START_MS))


def of_whole_seconds(rng: Rng) -> Stream:
    return classifier(rng, times(rng, 20_000, 0.5) // 1_000 * 1_000)


def out_of_order(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 8_000, 1.5))
    late = rng.integers(0, 20 * MINUTE_MS, len(stream.ts))
    stream.arrival = stream.ts + np.where(rng.random(len(stream.ts)) < 0.2, late, 100)
    return stream


def with_latencies(rng: Rng) -> Stream:
    stream = classifier(rng, times(rng, 8_000, 1.5, cycle=0.5))
    stream.latency = rng.lognormal(3, 0.6, len(stream.ts))
    return stream


QUIET = (
    with_a_daily_cycle,
    in_bursts,
    in_office_hours,
    with_weekends_of_a_fifth,
    with_labels_after_days,
    of_a_rare_class,
    with_memory,
    of_heavy_tails,
    of_a_version_that_another_replaces,
    of_a_canary_that_takes_over,
    with_a_fifth_missing,
    of_few_rows_a_day,
    of_one_moment,
    of_whole_seconds,
    out_of_order,
    with_latencies,
)


@pytest.mark.parametrize("make", QUIET, ids=lambda make: make.__name__)
def test_no_alert_opens_on_a_stream(make: Callable[[Rng], Stream], tmp_path):
    stream = make(np.random.default_rng(1))
    horizon = 15 * DAY_MS if make is with_labels_after_days else DAY_MS
    out = heard(stream, tmp_path, warmup=WARMUP, horizon_ms=horizon, window_ms=DAY_MS)
    assert not out.rejected
    assert out.windows
    assert out.opened() == []
