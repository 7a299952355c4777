"""Hour-of-day profiles: a daily cycle is no news, what happens at an hour is held against it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from detectors import engine, policy
from detectors.bank.season import seasonal
from detectors.frame import ID, Column, Frame, float_column, text_column
from detectors.reference.profile import ReferenceProfile, from_json
from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from driftline.alerts import Alert
from tests.monitored import SUBJECT

DAY_S = 86_400
MIDNIGHT_MS = 1_700_006_400_000
PER_DAY = 5_760
SPEC = MonitorSpec(model="m")


def cycle(
    days: float,
    seed: int,
    *,
    first_day: int = 0,
    at: float = 0.0,
    sd: float = 0.6,
    shift: float = 0,
) -> Frame:
    """Rows every 15 s whose mean has a daily cycle; those from hour `at` on move by `shift`."""
    dice = np.random.default_rng(seed)
    n = int(days * PER_DAY)
    second = at * 3_600 + first_day * DAY_S + np.arange(n) * (DAY_S // PER_DAY)
    hours = second / 3_600
    level = sd * np.sqrt(2) * np.sin(2 * np.pi * hours / 24)
    ts = MIDNIGHT_MS + (second * 1_000).astype(np.int64)
    day = (hours % 24 >= 8) & (hours % 24 < 20)
    busy = dice.random(n) < np.where(day, 0.8, 0.2)
    columns = {
        "id": Column(np.stack([ts, ts], axis=1).reshape(-1).view(ID)),
        "ts": Column(ts),
        "arrival": Column(ts),
        "source": Column(np.zeros(n, np.int64)),
        "offset": Column(np.arange(n, dtype=np.int64)),
        "index": Column(np.zeros(n, np.int64)),
        "x:load": float_column(dice.normal(size=n) + level + shift),
        "c:kind": text_column(np.where(busy, "office", "home").tolist()),
        "prediction_value": float_column(dice.integers(0, 2, n)),
    }
    return Frame(str(SUBJECT), "prediction", n, columns)


def watch(reference: ReferenceProfile, *frames: Frame, size: int = 1_440) -> list[Alert]:
    state, alerts = engine.new(SUBJECT, SPEC, reference), []
    for frame in frames:
        for start in range(0, frame.n, size):
            part = frame.span(start, min(start + size, frame.n))
            state, findings = engine.step(state, [part], int(part.ints("arrival")[-1]))
            state.policy, told = policy.step(state.policy, findings)
            alerts += told
    return alerts


@pytest.fixture(scope="module")
def long() -> ReferenceProfile:
    return build(SUBJECT, [cycle(15, 1)], SPEC)


def test_a_long_reference_has_a_profile_per_hour_that_adds_up_to_the_whole(long) -> None:
    assert sorted(long.hourly) == ["feature:kind", "feature:load", "prediction"]
    for name in ("kind", "load"):
        counts = np.array(long.hourly[f"feature:{name}"].counts)
        profile = long.features[name]
        assert counts.shape[0] == 24
        assert counts.sum() == long.n == 15 * PER_DAY
        assert counts[:, -1].sum() == profile.missing == 0
    load = np.array(long.hourly["feature:load"].counts)
    assert tuple(load.sum(axis=0)[1:-2].tolist()) == long.features["load"].counts
    assert from_json(long.to_json()) == long
    forged = msgspec.structs.replace(long, hourly={})
    assert forged.sealed().hash != long.hash


@pytest.mark.parametrize(("days", "rows"), [(13.9, 10**6), (15, 23_999)])
def test_below_14_days_or_24_000_rows_the_profile_is_flat(days: float, rows: int) -> None:
    frame = cycle(days, 1)
    kept = np.sort(np.random.default_rng(1).permutation(frame.n)[:rows])
    assert build(SUBJECT, [frame.take(kept)], SPEC).hourly == {}


def test_the_cycle_is_correlation_for_a_flat_profile_and_none_within_the_hours(long) -> None:
    assert long.features["load"].phi > 20
    assert long.hourly["feature:load"].phi < 2


def test_a_daily_cycle_raises_no_alarm(long) -> None:
    assert watch(long, cycle(7, 2, first_day=15)) == []


@pytest.mark.parametrize("hour", [6, 18], ids=["crest", "trough"])
def test_a_shift_at_the_extreme_hour_is_found_within_hundreds_of_rows(long, hour: int) -> None:
    quiet = cycle(1 + hour / 24, 2, first_day=15)
    moved = cycle(0.25, 3, first_day=16, at=hour, shift=-0.5 if hour == 6 else 0.5)
    alerts = [a for a in watch(long, quiet, moved, size=32) if a.reason == "opened"]
    assert [alert.signal for alert in alerts] == ["feature:load"]
    began = MIDNIGHT_MS + (16 * 24 + hour) * 3_600_000
    told = np.datetime64(alerts[0].detected_at.removesuffix("Z"), "ms").astype(np.int64)
    assert 0 < (told - began) / 15_000 < 600


def test_an_effect_is_measured_against_the_hours_of_its_rows(long) -> None:
    crest = watch(long, cycle(0.15, 3, first_day=16, at=5, shift=0.5), size=32)[-1]
    assert crest.signal == "feature:load"
    assert 0.1 < crest.statistic.effect_size < 0.6, "against the whole day it would be above 1"


def test_a_flat_profile_is_blind_to_it(long) -> None:
    flat = msgspec.structs.replace(long, hourly={}).sealed()
    moved = cycle(0.25, 3, first_day=16, at=18, shift=0.5)
    assert watch(flat, cycle(1.75, 2, first_day=15), moved, size=32) == []


def test_a_category_that_belongs_to_the_hour_is_no_news_and_is_at_another(long) -> None:
    night = cycle(0.2, 4, first_day=15, at=2)
    night.columns["c:kind"] = text_column(["office"] * night.n)
    assert {alert.signal for alert in watch(long, night)} == {"feature:kind"}


def test_cuts_and_restarts_change_nothing(long) -> None:
    stream = cycle(1, 3, first_day=15, at=10, shift=0.6)
    expected = watch(long, stream, size=stream.n)
    assert expected
    state, alerts = engine.new(SUBJECT, SPEC, long), []
    for start in range(0, stream.n, 777):
        part = stream.span(start, min(start + 777, stream.n))
        state, findings = engine.step(state, [part], int(part.ints("arrival")[-1]))
        state.policy, told = policy.step(state.policy, findings)
        alerts += told
        state = engine.restore(engine.snapshot(state), SPEC)
    assert alerts == expected


def test_an_hour_that_was_hardly_seen_has_the_shares_of_the_whole_day() -> None:
    counts = np.zeros((24, 3), np.int64)
    counts[8:20] = [3_000, 1_000, 0]
    counts[20] = [0, 499, 0]
    filled = seasonal(counts)
    assert (filled[8:20] == counts[8:20]).all()
    shares = filled / filled.sum(axis=1, keepdims=True)
    assert shares[:8, 0] == pytest.approx(0.74, abs=0.01)
    assert shares[20, 0] == pytest.approx(0.74, abs=0.01)


def test_a_service_that_was_closed_at_night_may_open_then(long) -> None:
    frame = cycle(30, 1, sd=0)
    hours = frame.ints("ts") // 3_600_000 % 24
    reference = build(SUBJECT, [frame.take((hours >= 8) & (hours < 20))], SPEC)
    assert reference.hourly
    night = cycle(0.4, 5, first_day=30, at=21, sd=0)
    loads = [a for a in watch(reference, night) if a.signal == "feature:load"]
    assert loads == []
