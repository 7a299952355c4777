"""Moved again: an open signal that moves on says so, and one that stays where it is does not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from detectors import engine, policy
from detectors.bank import signal_of
from detectors.banked.levels import LEARNED, Level, _learned
from detectors.frame import ID, Column, Frame, float_column, text_column
from detectors.reference.profile import ReferenceProfile
from detectors.reference.profiling import numeric
from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from detectors.state import MonitorState
from driftline.alerts import Alert
from tests.monitored import START_MS, SUBJECT
from tests.unit.test_seasons import MIDNIGHT_MS, cycle

SPEC = MonitorSpec(model="m")


def stream(*parts: tuple[int, float], seed: int = 1) -> Frame:
    """Rows a second apart: of each part so many, whose mean is so far from the reference's."""
    dice = np.random.default_rng(seed)
    shift = np.concatenate([np.full(n, by) for n, by in parts])
    n = len(shift)
    at = np.arange(n, dtype=np.int64)
    country = np.where(dice.random(n) < 0.5 + shift / 10, "DE", "FR")
    columns = {
        "id": Column(np.stack([at, at], axis=1).reshape(-1).view(ID)),
        "ts": Column(START_MS + at * 1_000),
        "arrival": Column(START_MS + at * 1_000),
        "source": Column(np.zeros(n, np.int64)),
        "offset": Column(at),
        "index": Column(np.zeros(n, np.int64)),
        "x:amount": float_column(dice.normal(size=n) + shift),
        "c:country": text_column(country.tolist()),
        "prediction_value": float_column(dice.integers(0, 2, n)),
    }
    return Frame(str(SUBJECT), "prediction", n, columns)


@cache
def reference() -> ReferenceProfile:
    return build(SUBJECT, [stream((20_000, 0), seed=9)], SPEC)


def watch(
    frame: Frame, size: int = 2_000, *, restart: bool = False, known: ReferenceProfile | None = None
) -> tuple[MonitorState, list[Alert]]:
    state, alerts = engine.new(SUBJECT, SPEC, known or reference()), []
    for start in range(0, frame.n, size):
        part = frame.span(start, min(start + size, frame.n))
        state, findings = engine.step(state, [part], int(part.ints("arrival")[-1]))
        state.policy, told = policy.step(state.policy, findings)
        alerts += told
        if restart:
            state = engine.restore(engine.snapshot(state), SPEC)
    return state, alerts


def told(alerts: list[Alert], signal: str = "feature:amount") -> list[str]:
    return [alert.reason for alert in alerts if alert.signal == signal]


def second(text: str | None) -> float:
    assert text is not None
    return (np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64) - START_MS) / 1_000


def test_a_signal_that_moves_on_says_so_and_where_to() -> None:
    _, alerts = watch(stream((3_000, 0), (8_000, 1.0), (4_000, 1.6)))
    assert told(alerts) == ["opened", "updated"]
    opened, again = (alert for alert in alerts if alert.signal == "feature:amount")
    assert (again.id, again.revision) != (opened.id, opened.revision)
    assert (again.fingerprint, again.started_at) == (opened.fingerprint, opened.started_at)
    assert again.severity == opened.severity == "critical"
    assert 11_000 < second(again.detected_at) < 11_600
    assert abs(second(again.change_point) - 11_000) < 200
    assert again.summary.startswith("amount moved again: ")
    assert again.statistic.value > again.statistic.threshold
    assert again.statistic.effect_size > opened.statistic.effect_size


def test_a_signal_that_stays_at_its_new_level_is_told_once() -> None:
    _, alerts = watch(stream((3_000, 0), (60_000, 1.0)))
    assert told(alerts) == ["opened"]


def test_a_signal_that_returns_to_the_reference_is_over_and_did_not_move_again() -> None:
    state, alerts = watch(stream((3_000, 0), (8_000, 1.0), (10_000, 0)))
    assert told(alerts) == ["opened", "recovered"]
    assert state.features is not None
    assert state.features.banked.level_of_open.open == {}


def test_a_move_that_makes_it_worse_escalates() -> None:
    _, alerts = watch(stream((3_000, 0), (9_000, 0.3), (3_000, 2.5)), size=100)
    assert told(alerts)[0] == "opened"
    assert told(alerts)[-1] in ("escalated", "updated")
    assert {a.severity for a in alerts if a.signal == "feature:amount"} >= {"critical"}


def test_each_further_move_is_told() -> None:
    _, alerts = watch(stream((3_000, 0), (7_000, 1.0), (7_000, 2.0), (7_000, 1.0)))
    assert told(alerts) == ["opened", "updated", "updated"]


def test_a_move_before_the_level_is_known_is_part_of_the_level() -> None:
    _, alerts = watch(stream((3_000, 0), (500, 1.0), (20_000, 2.0)))
    assert told(alerts) == ["opened"]


def test_cuts_and_restarts_change_nothing() -> None:
    rows = stream((3_000, 0), (8_000, 1.0), (6_000, 2.0), (6_000, -1.0), (9_000, 0))
    whole, expected = watch(rows, rows.n)
    assert told(expected).count("updated") == 2
    assert told(expected)[-1] == "recovered"
    for size in (977, 4_096):
        state, alerts = watch(rows, size, restart=True)
        assert alerts == expected
        assert state.features is not None
        assert whole.features is not None
        assert state.features.banked.dump() == whole.features.banked.dump()


def test_a_daily_cycle_around_a_new_level_is_no_move() -> None:
    known = build(SUBJECT, [cycle(15, 1)], SPEC)
    assert known.hourly
    frame = cycle(5, 2, first_day=15, shift=0.8)
    _, alerts = watch(frame, known=known)
    assert told(alerts, "feature:load")[0] == "opened"
    assert "updated" not in told(alerts, "feature:load")
    assert frame.ints("ts")[0] == MIDNIGHT_MS + 15 * 86_400_000


def test_a_level_of_correlated_rows_is_as_weak_as_they_are() -> None:
    dice = np.random.default_rng(3)
    walk = np.empty(LEARNED)
    walk[0] = 0
    for at in range(1, LEARNED):
        walk[at] = 0.95 * walk[at - 1] + dice.normal()
    profile = numeric(dice.normal(0, walk.std(), 20_000))
    pinned = signal_of("x", profile, 0)
    assert pinned is not None
    assert pinned.phi < 2
    codes = np.searchsorted([profile.low, *profile.edges], walk, "left").astype(np.uint8)
    counts = np.bincount(pinned.label_of[codes], minlength=len(pinned.names))[None, :]
    level = _learned(pinned, Level(0, counts, codes, np.zeros(LEARNED, np.uint8)))
    assert level.phi > 5
    assert level.n == LEARNED
    assert level.digest != pinned.digest


def test_a_level_is_not_carried_over_to_another_reference() -> None:
    state, _ = watch(stream((3_000, 0), (8_000, 1.0)))
    assert state.features is not None
    dumped = state.features.banked.dump()
    other = engine.new(SUBJECT, SPEC, build(SUBJECT, [stream((20_000, 0), seed=5)], SPEC))
    assert other.features is not None
    other.features.banked.restore(dumped)
    assert other.features.banked.level_of_open.open == {}
    assert set(dumped["levels"]) == {"feature:amount", "feature:country"}


@pytest.mark.parametrize("seed", range(4))
def test_a_category_that_moves_on_says_so(seed: int) -> None:
    _, alerts = watch(stream((3_000, 0), (8_000, 2.0), (4_000, -1.5), seed=seed))
    first, second = told(alerts, "feature:country")[:2]
    assert (first, second in {"updated", "deescalated"}) == ("opened", True)
