"""Latency and attributions: what predictions come with is watched, and only what they come with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from detectors import engine, policy
from detectors.frame import ID, Column, Frame, concat, float_column
from detectors.plan import plan_of
from detectors.reference.profile import from_json
from detectors.reference_builder import build
from detectors.served import MAX_ATTRIBUTIONS, influences
from detectors.spec import MonitorSpec
from detectors.state import MonitorState, load
from driftline.alerts import Alert
from tests.monitored import START_MS, SUBJECT

SPEC = MonitorSpec(model="m", warmup=3_000)
ATTRIBUTIONS = {"amount": 1.0, "age": 0.1}


def rows(
    n: int,
    seed: int,
    begin: int = 0,
    *,
    slower: float = 1.0,
    attributions: dict[str, float] = ATTRIBUTIONS,
) -> Frame:
    """Predictions a second apart with a latency, and attributions of these standard deviations."""
    dice = np.random.default_rng(seed)
    at = np.arange(begin, begin + n, dtype=np.int64)
    columns = {
        "id": Column(np.stack([at, at], axis=1).reshape(-1).view(ID)),
        "ts": Column(START_MS + at * 1_000),
        "arrival": Column(START_MS + at * 1_000),
        "source": Column(np.zeros(n, np.int64)),
        "offset": Column(at),
        "index": Column(np.zeros(n, np.int64)),
        "x:amount": float_column(dice.normal(size=n)),
        "score": float_column(dice.uniform(size=n)),
        "prediction_value": float_column(dice.integers(0, 2, n)),
        "latency_ms": float_column(dice.lognormal(2, 0.5, n) * slower),
    }
    for name, sd in attributions.items():
        columns[f"a:{name}"] = float_column(dice.normal(0, sd, n))
    return Frame(str(SUBJECT), "prediction", n, columns)


def without(frame: Frame, *names: str) -> Frame:
    kept = {name: column for name, column in frame.columns.items() if name not in names}
    return Frame(frame.subject, frame.kind, frame.n, kept)


def watch(*frames: Frame, size: int = 2_000) -> tuple[MonitorState, list[Alert]]:
    """A monitor that learned from the first rows, and the alerts it opened."""
    state, alerts = engine.new(SUBJECT, SPEC, None), []
    for frame in frames:
        for start in range(0, frame.n, size):
            part = frame.span(start, min(start + size, frame.n))
            state, findings = engine.step(state, [part], int(part.ints("arrival")[-1]))
            state.policy, told = policy.step(state.policy, findings)
            alerts += told
    return state, alerts


def test_a_slower_model_is_an_alert_of_kind_latency() -> None:
    _, alerts = watch(rows(9_000, 1), rows(3_000, 2, 9_000, slower=1.5))
    [alert] = [alert for alert in alerts if alert.signal == "latency"]
    assert (alert.kind, alert.reason, alert.severity) == ("latency", "opened", "critical")
    assert alert.change_point is not None
    assert alert.summary.startswith("latency in ms: ")
    assert alert.evidence.histogram is not None
    assert {alert.signal for alert in alerts} == {"latency"}


@pytest.mark.parametrize("slower", [1.0, 0.5], ids=["as before", "faster"])
def test_a_latency_that_is_as_before_or_better_is_no_news(slower: float) -> None:
    state, alerts = watch(rows(9_000, 1), rows(9_000, 2, 9_000, slower=slower))
    assert alerts == []
    assert ("latency", "srbins") in state.statistics()


def test_only_the_slowest_tenth_getting_slower_is_news() -> None:
    tail = rows(6_000, 2, 9_000)
    slowest = np.random.default_rng(3).random(tail.n) < 0.1
    tail.columns["latency_ms"] = float_column(
        np.where(slowest, 60.0, tail.columns["latency_ms"].data)
    )
    _, alerts = watch(rows(9_000, 1), tail)
    assert {alert.signal for alert in alerts} == {"latency"}


def test_latencies_that_are_no_longer_served_are_no_news() -> None:
    _, alerts = watch(rows(6_000, 1), without(rows(6_000, 2, 6_000), "latency_ms"))
    assert alerts == []


def test_a_model_without_them_has_no_signal_for_them() -> None:
    frame = without(rows(6_000, 1), "latency_ms", "a:amount", "a:age")
    state, _ = watch(frame)
    assert state.profile is not None
    assert (state.profile.latency, state.profile.attributions) == (None, {})
    signals = {signal for signal, _ in state.statistics()}
    assert not any(s == "latency" or s.startswith("attribution") for s in signals)
    watched = engine.new(SUBJECT, SPEC, state.profile)
    _, findings = engine.step(watched, [rows(4_000, 2, slower=9)], START_MS + 10**8)
    assert findings == []


def test_a_model_that_listens_to_another_feature_is_an_attribution_drift() -> None:
    turned = rows(3_000, 2, 9_000, attributions={"amount": 1.0, "age": 0.3})
    _, alerts = watch(rows(9_000, 1), turned)
    [alert] = [alert for alert in alerts if alert.reason == "opened"]
    assert (alert.kind, alert.signal) == ("attribution_drift", "attribution:age")
    assert alert.summary.startswith("influence of age: ")


def test_a_changed_feature_is_told_with_its_influence() -> None:
    changed = rows(3_000, 2, 9_000)
    changed.columns["x:amount"] = float_column(changed.columns["x:amount"].data + 1.0)
    _, alerts = watch(rows(9_000, 1), changed)
    [opened] = [alert for alert in alerts if alert.reason == "opened"]
    assert opened.signal == "feature:amount"
    assert "; 91% of the influence" in opened.summary


def test_influence_as_before_is_no_news() -> None:
    state, alerts = watch(rows(9_000, 1), rows(9_000, 2, 9_000))
    assert alerts == []
    assert ("attribution:age", "srbins") in state.statistics()


def test_the_attributions_that_weigh_most_are_watched_and_the_rest_counted() -> None:
    sds = {f"f{i:02}": 1.0 + i for i in range(MAX_ATTRIBUTIONS + 7)}
    profile = build(SUBJECT, [rows(1_000, 1, attributions=sds)], SPEC)
    assert list(profile.attributions) == sorted(sds)[7:]
    assert profile.attributions_beyond == 7
    shares = influences(profile)
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == f"f{MAX_ATTRIBUTIONS + 6}"
    plan = plan_of(profile, [], SPEC)
    assert len([name for name in plan.log_c if name.startswith("attribution:")]) == 50


def test_a_warm_up_and_a_build_of_the_same_rows_have_the_same_parts() -> None:
    frame = rows(3_000, 1)
    state, _ = watch(frame, size=700)
    built = build(SUBJECT, [frame], SPEC)
    assert state.profile == msgspec.structs.replace(built, origin="warmup").sealed()
    assert state.profile.latency is not None
    assert state.profile.latency.n == 3_000


def test_cuts_and_restarts_change_nothing_while_it_learns_and_after() -> None:
    stream = concat([rows(9_000, 1), rows(3_000, 2, 9_000, slower=2, attributions={"age": 0.5})])
    whole, expected = watch(stream, size=stream.n)
    assert {alert.kind for alert in expected} == {"latency", "attribution_drift"}
    state, alerts = engine.new(SUBJECT, SPEC, None), []
    for start in range(0, stream.n, 1_111):
        part = stream.span(start, min(start + 1_111, stream.n))
        state, findings = engine.step(state, [part], int(part.ints("arrival")[-1]))
        state.policy, told = policy.step(state.policy, findings)
        alerts += told
        state = engine.restore(engine.snapshot(state), SPEC)
    assert alerts == expected
    assert state.statistics() == whole.statistics()


def test_of_features_with_attributions_no_more_are_kept_than_features_are() -> None:
    names = {f"f{i:03}": 1.0 for i in range(510)}
    state, _ = watch(rows(300, 1, attributions=names))
    assert state.learning is not None
    [kept] = state.learning.rows
    assert sum(name.startswith("a:") for name in kept.columns) == 500
    assert state.learning.attributions.over_cap == 10 * 300


def test_a_feature_that_the_reference_does_not_have_is_news_and_named() -> None:
    more = rows(3_000, 2, 6_000)
    seen = np.arange(more.n) >= 1_000
    more.columns["x:device"] = Column(np.ones(more.n), seen)
    more.columns["c:agent"] = Column(np.zeros(more.n, np.uint32), seen, ["curl"])
    more.columns["x:later"] = Column(np.ones(more.n), np.arange(more.n) >= 1_200)
    _, alerts = watch(rows(6_000, 1), more, size=3_000)
    [alert] = alerts
    assert (alert.kind, alert.signal, alert.severity) == (
        "data_quality",
        "new_features",
        "critical",
    )
    assert "of rows with features that the reference does not have (agent, device)" in alert.summary
    _, apart = watch(rows(6_000, 1), more, size=100)
    assert apart == alerts


def test_a_feature_that_vanished_changed_type_or_left_its_range_is_news() -> None:
    after = rows(3_000, 2, 6_000)
    gone = without(after, "x:amount")
    typed = without(after, "x:amount")
    typed.columns["c:amount"] = Column(np.zeros(after.n, np.uint32), None, ["12.5"])
    far = rows(3_000, 2, 6_000)
    beyond = np.random.default_rng(1).random(far.n) < 0.05
    far.columns["x:amount"] = float_column(np.where(beyond, 99.0, far.columns["x:amount"].data))
    found = [{a.signal for a in watch(rows(6_000, 1), frame)[1]} for frame in (gone, typed, far)]
    assert found[0] >= {"missing:amount", "feature:amount"}
    assert found[1] >= {"type_changed:amount", "feature:amount"}
    assert found[2] == {"feature:amount"}


def test_features_that_nobody_wants_watched_are_no_news() -> None:
    profile = build(SUBJECT, [rows(6_000, 1)], SPEC)
    assert any(kind == "new_features" for kind, _, _ in plan_of(profile, ["amount"], SPEC).rates)
    wanted = msgspec.structs.replace(SPEC, features=("amount",))
    assert not any(kind == "new_features" for kind, _, _ in plan_of(profile, [], wanted).rates)


def test_a_snapshot_from_before_new_features_were_watched_goes_on() -> None:
    state, _ = watch(rows(9_000, 1))
    assert state.features is not None
    ring = state.features.ring
    kept = ring.columns["codes"]
    ring.columns["codes"] = kept[:-1]
    old = state.dump()
    for part in ("levels", "news"):
        del old["features"]["banked"][part]
    ring.columns["codes"] = kept
    restored = load(old, SPEC)
    after = rows(2_000, 2, 9_000, slower=2)
    clock = int(after.ints("arrival")[-1])
    expected = engine.step(state, [after], clock)[1]
    assert engine.step(restored, [after], clock)[1] == expected != []


def test_a_profile_of_format_1_is_read_and_its_hash_holds() -> None:
    content = (Path(__file__).parent / "profile_format_1.json").read_bytes()
    profile = from_json(content)
    assert (profile.format, profile.n, profile.latency, profile.hourly) == (1, 12, None, {})
    assert from_json(profile.to_json()) == profile
