"""From false alarms a week to thresholds."""

from math import log

import pytest

from detectors.bank import also_moved, log_threshold, ticks_per_day, weights
from detectors.bank.budget import (
    LEAST_LOG_THRESHOLD,
    MANY_SIGNALS,
    SHARES,
    expected_per_week,
    tick_size,
)

DAY_MS = 86_400_000


def test_a_week_of_200_signals_and_a_million_events_a_day_needs_evidence_of_17_6_nats():
    daily = ticks_per_day(1_000_000, DAY_MS)
    assert daily == 31_250
    assert log_threshold(daily, 1 / 200) == pytest.approx(17.6, abs=0.05)


def test_all_signals_together_cost_at_most_the_budget():
    share = weights({"performance": ["error"], "scores": ["a", "b"], "features": list("cdefg")})
    assert sum(share.values()) == pytest.approx(1.0)
    daily = [30_000.0] * len(share)
    limits = [log_threshold(30_000.0, weight, 2.0) for weight in share.values()]
    assert expected_per_week(limits, daily) == pytest.approx(2.0)


def test_families_that_are_absent_leave_their_share_to_the_others():
    share = weights({"performance": ["error"], "features": ["a", "b"], "groups": []})
    whole = SHARES["performance"] + SHARES["features"]
    assert share["error"] == pytest.approx(SHARES["performance"] / whole)
    assert share["a"] == share["b"] == pytest.approx(SHARES["features"] / whole / 2)


def test_slow_traffic_still_needs_a_thousand_to_one():
    assert log_threshold(ticks_per_day(10, 100 * DAY_MS), 1.0) == LEAST_LOG_THRESHOLD
    assert log(1_000) > LEAST_LOG_THRESHOLD


def test_many_signals_have_wide_ticks():
    assert [tick_size(n) for n in (1, MANY_SIGNALS, MANY_SIGNALS + 1)] == [32, 32, 128]


def test_signals_that_move_together_lend_each_other_nothing_but_their_number():
    least = log(1_000) + log(7) + log(4)
    alone = {"a": least - 0.1, "b": 0.0, "c": 0.0, "d": 0.0}
    assert also_moved(alone, 1_000) == []
    assert also_moved(alone | {"b": least - 0.2}, 1_000) == ["a", "b"]  # two need log 2 less each
    assert also_moved({}, 1_000) == []
