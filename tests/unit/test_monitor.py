"""The monitor of one subject: warm-up, windows, late rows, counters, alerts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import engine
from detectors.frame import Column, Frame, text_column
from detectors.reference_builder import build
from detectors.signals import MAX_FEATURES
from detectors.spec import MonitorSpec, config_hash
from driftline.errors import UnknownVersion
from tests.monitored import START_MS, SUBJECT, Row, Run, classifier, frames, regression

HOUR = 3_600_000
SPEC = MonitorSpec(model="m", warmup=50)


def prediction(i: int, *, ts: int | None = None, arrival: int | None = None, **body: Any) -> Row:
    at = START_MS + i * 1_000 if ts is None else ts
    said = {"features": {"x": float(i % 10)}, "prediction": "yes" if i % 2 else "no"} | body
    return Row("prediction", f"p{i}", at, at if arrival is None else arrival, said, offset=i)


def outcome(of: Row, label: Any, arrival: int, previous: Any = None) -> Row:
    body = {"prediction": of.body["prediction"], "label": label, "prediction_arrival": of.arrival}
    if previous is not None:
        body["previous"] = previous
    return Row("outcome", of.id, of.ts, arrival, body, rank=1)


def counts(frame: dict[str, int]) -> Frame:
    values = np.array(list(frame.values()), dtype=np.int64)
    columns = {"name": text_column(list(frame)), "value": Column(values)}
    return Frame(str(SUBJECT), "count", len(values), columns)


# -- warm-up ---------------------------------------------------------------------------------------


def test_the_task_is_decided_with_the_first_row_that_leaves_no_doubt():
    rows = [prediction(i) for i in range(50)]
    run = Run(SPEC).step(rows[:49], START_MS)
    assert (run.state.task, run.state.warmup_left) == ("binary", 1)
    run.step(rows[49:], START_MS)
    assert (run.state.task, run.state.decision.positive, run.state.warmup_left) == (
        *("binary", "yes"),
        0,
    )
    assert run.state.profile.n == 50
    assert run.state.learning is None


DECISIONS = [
    ([0, 1], None, "binary", "1"),
    ([1.0], None, "binary", "1"),
    ([0, 1, 2], None, "multiclass", None),
    (list(range(21)), None, "regression", None),
    ([0.5, 1.0], None, "regression", None),
    (["a", "b"], None, "binary", None),
    (["false"], None, "binary", "true"),
    (["a"], {"scores": {"a": 0.1, "b": 0.9, "c": 0.0}}, "multiclass", None),
]


@pytest.mark.parametrize(("said", "more", "task", "positive"), DECISIONS)
def test_what_predictions_are_follows_from_the_warm_up(said, more, task, positive):
    rows = [prediction(i, prediction=said[i % len(said)], **(more or {})) for i in range(50)]
    state = Run(SPEC).step(rows, START_MS).state
    assert (state.decision.task, state.decision.positive) == (task, positive)


def test_the_specification_decides_where_it_speaks():
    spec = MonitorSpec(
        model="m", warmup=5, task="binary", positive="1", classes={"1": ("true", "yes")}
    )
    rows = [prediction(i, prediction=["yes", "no"][i % 2]) for i in range(6)]
    labels = [outcome(row, "true", START_MS + 9_000 + i) for i, row in enumerate(rows)]
    state = Run(spec).step([*rows, *labels], START_MS + 10_000).state
    assert (state.decision.task, state.decision.positive) == ("binary", "1")
    assert state.metrics()["accuracy"] == 0.5
    assert state.metrics()["recall"] == 0.5


def test_outcomes_wait_for_the_decision_and_then_all_count():
    rows = [prediction(i, prediction=i % 2) for i in range(50)]
    labels = [outcome(row, row.body["prediction"], row.arrival) for row in rows]
    run = Run(SPEC).step(sorted([*rows[:40], *labels[:40]], key=lambda r: r.key), START_MS + 40_000)
    assert run.state.counters["joined"] == 40
    assert run.state.metrics() == {}
    run.step(sorted([*rows[40:], *labels[40:]], key=lambda r: r.key), START_MS + 60_000)
    assert run.state.values()["accuracy"].value == 1.0
    assert run.state.total.n == 50


def test_waiting_outcomes_are_bounded():
    row = prediction(0, prediction=1)
    labels = [outcome(row, 1, START_MS + i) for i in range(500)]
    run = Run(MonitorSpec(model="m", warmup=2)).step([row, *labels], START_MS + 1_000)
    waiting = run.state.learning.waiting
    assert waiting <= 16
    assert run.state.counters["outcomes_over_cap"] == 500 - waiting


@given(rng=st.randoms(use_true_random=False), n=st.integers(0, 300), cut=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_counts_are_exact_for_the_outcomes_that_were_not_left_out_however_revised(rng, n, cut):
    """No prediction leaves a doubt until the fifth on time; late ones do not count as such."""
    said = [(rng.randrange(40), rng.randrange(2)) for _ in range(n)]
    spec = MonitorSpec(model="m", warmup=5)
    late = [prediction(i, prediction=i % 2) for i in range(40)]
    for row in late:
        row.arrival = START_MS + 4 * 3_600_000
    decides = START_MS + 5 * 3_600_000 + 150 * 10
    usual = [
        Row("prediction", f"u{i}", decides, decides, {"prediction": i % 2}, offset=i)
        for i in range(5)
    ]
    rows, last = [*late, *usual], {}
    for at, (i, label) in enumerate(said):
        arrival = START_MS + 5 * 3_600_000 + at // 2 * 20
        told = outcome(late[i], label, arrival)
        told.offset = at
        if i in last:
            told.body |= {"previous": last[i][0], "previous_arrival": last[i][1]}
        last[i] = (label, arrival)
        rows.append(told)
    rows.sort(key=lambda row: row.key)
    at = int(cut * len(rows))
    whole, parts = Run(spec), Run(spec)
    end = START_MS + 20 * 3_600_000
    whole.step(rows, end)
    parts.step(rows[:at], rows[at].arrival if at < len(rows) else end)
    parts.restart().step(rows[at:], end)
    assert parts.result() == whole.result()
    state = whole.state
    kept = {
        i: label
        for i, (label, arrival) in last.items()
        if arrival > decides or _is_kept(state.thinning, late[i])
    }
    right = sum(late[i].body["prediction"] == label for i, label in kept.items())
    values = state.values()
    assert (0 if state.total is None else state.total.n) == len(kept)
    assert not kept or values["accuracy"].value == pytest.approx(right / len(kept))


def _is_kept(thinning, row):
    return bool(thinning.keeps(frames([row])[0])[0])


def test_a_pinned_reference_needs_no_warm_up():
    reference = build(SUBJECT, frames(classifier(5, 400, hostile=False)), SPEC)
    run = Run(SPEC, reference)
    assert (run.state.task, run.state.warmup_left) == ("binary", 0)
    assert run.state.concept.reference == reference.error
    assert sorted(run.state.roster.names) == ["amount", "constant", "country", "member"]


# -- features --------------------------------------------------------------------------------------


def test_features_are_frozen_after_the_warm_up_and_ten_thousand_new_ones_cost_nothing():
    rows = [prediction(i) for i in range(50)]
    names = {f"n{k}": 1.0 for k in range(10_000)}
    new = [prediction(50 + i, features={"x": 1.0, **names}) for i in range(3)]
    run = Run(SPEC).step([*rows, *new], START_MS + 60_000)
    assert run.state.roster.names == ["x"]
    assert len(run.state.roster.new) == MAX_FEATURES
    assert run.state.counters["new_features"] == MAX_FEATURES
    assert run.state.counters["features_over_cap"] == (10_000 - MAX_FEATURES) * 3
    assert len(engine.snapshot(run.state)) < 100_000


def test_in_the_warm_up_the_first_five_hundred_features_are_watched():
    names = {f"n{k:05}": 1.0 for k in range(10_000)}
    rows = [prediction(i, features=names) for i in range(5)]
    run = Run(MonitorSpec(model="m", warmup=5)).step(rows, START_MS + 60_000)
    assert run.state.roster.names == [f"n{k:05}" for k in range(MAX_FEATURES)]


def test_only_the_features_asked_for_are_watched():
    rows = [prediction(i, features={"x": 1.0, "y": 2.0}) for i in range(60)]
    run = Run(MonitorSpec(model="m", warmup=50, features=("y", "z"))).step(rows, START_MS + 70_000)
    assert run.state.roster.names == ["y"]
    assert run.state.counters["new_features"] == 0


def test_another_type_is_no_value_of_the_feature_and_is_counted():
    rows = [prediction(i) for i in range(50)]
    odd = [prediction(50, features={"x": "5"}), prediction(51, features={"x": None})]
    run = Run(SPEC).step([*rows, *odd], START_MS + 10 * HOUR)
    signals = run.windows[0].signals["feature:x"]
    assert (signals["n"], signals["missing"], signals["type_changed"]) == (51, 1, 1)


# -- windows ---------------------------------------------------------------------------------------


def pinned(**settings: Any) -> Run:
    spec = MonitorSpec(model="m", **settings)
    return Run(spec, build(SUBJECT, frames([prediction(i) for i in range(50)]), spec))


WINDOW = (START_MS // HOUR) * HOUR


def test_a_window_closes_when_the_clock_passes_its_end_and_lateness():
    run = pinned().step([prediction(0)], START_MS)
    close = WINDOW + HOUR + 600_000
    run.step([], close - 1)
    assert run.windows == []
    run.step([], close)
    (window,) = run.windows
    assert (window.revision, window.counts["predictions"], window.metrics) == (1, 1, {})
    assert window.signals["prediction"] == {"class:no": 1.0}
    assert window.signals["feature:x"]["mean_rank"] == pytest.approx(0.05, abs=1e-6)


def test_a_prediction_is_late_by_itself_and_so_is_its_outcome():
    close = WINDOW + HOUR + 600_000
    on_time = prediction(0, ts=START_MS, arrival=close - 1)
    late = prediction(1, ts=START_MS, arrival=close)
    labels = [outcome(on_time, "no", close + 5), outcome(late, "no", close + 6)]
    run = pinned().step([on_time, late, *labels], close + 10 * HOUR)
    assert run.state.counters["late_predictions"] == 1
    assert run.state.counters["late_outcomes"] == 1
    assert [w.counts for w in run.windows] == [
        {"predictions": 1, "outcomes": 0, "revisions": 0},
        {"predictions": 1, "outcomes": 1, "revisions": 0},
    ]
    assert run.state.total.n == 2
    assert run.state.values("last_1000")["accuracy"].value == 1.0


def test_labels_after_the_close_revise_the_window_at_most_hourly():
    close = WINDOW + HOUR + 600_000
    rows = [prediction(i) for i in range(4)]
    first = [outcome(row, "no", close + 60_000 * (i + 1)) for i, row in enumerate(rows)]
    changed = outcome(rows[0], "yes", close + 2 * HOUR, previous="no")
    run = pinned().step([*rows, *first, changed], close + 30 * HOUR)
    assert [w.revision for w in run.windows] == [1, 2, 3]
    assert [w.counts["outcomes"] for w in run.windows] == [0, 4, 4]
    assert [w.metrics.get("accuracy") for w in run.windows] == [None, 0.5, 0.25]
    assert run.windows[2].counts["revisions"] == 1
    assert run.windows[2].confusion.classes == ["no", "yes"]
    assert run.windows[2].confusion.counts == [[1, 2], [1, 0]]


def test_a_window_is_dropped_after_the_horizon_and_outcomes_then_count_in_total_only():
    run = pinned(horizon_ms=HOUR)
    row = prediction(0)
    run.step([row], START_MS)
    run.step([], WINDOW + HOUR + 600_000 + HOUR)
    assert run.state.windows.open == {}
    run.step([outcome(row, "no", WINDOW + 4 * HOUR)], WINDOW + 20 * HOUR)
    assert (len(run.windows), run.state.total.n) == (1, 1)


def test_open_windows_are_bounded_however_long_the_horizon():
    run = pinned(horizon_ms=10**12, window_ms=60_000, lateness_ms=0)
    rows = [prediction(i, ts=START_MS + i * 60_000) for i in range(1_500)]
    run.step(rows, rows[-1].arrival)
    assert len(run.state.windows.open) <= 1_002
    assert len(run.windows) == 1_499


# -- counters, classes, alerts ---------------------------------------------------------------------


def test_count_frames_are_added_up():
    run = pinned()
    for _ in range(2):
        run.state, _ = engine.step(run.state, [counts({"duplicates": 3, "orphan_labels": 1})], 0)
    assert run.state.counters["duplicates"] == 6
    assert run.state.counters["orphan_labels"] == 2


def test_a_label_that_no_prediction_had_joins_the_classes_and_is_counted():
    row = prediction(0)
    labels = [outcome(row, "maybe", row.arrival), outcome(row, 1, row.arrival)]
    run = pinned().step([row, *labels], WINDOW + 9 * HOUR)
    assert run.state.counters["unknown_class"] == 2
    assert run.windows[0].confusion.classes == ["1", "maybe", "no"]
    assert run.windows[0].metrics["accuracy"] == 0.0


def test_classes_are_capped():
    rows = [prediction(i, prediction=f"c{i}", arrival=START_MS + 3_000_000) for i in range(400)]
    labels = [outcome(row, f"l{i}", row.arrival) for i, row in enumerate(rows)]
    run = pinned().step([*sorted(rows, key=lambda r: r.key), *labels], WINDOW + 9 * HOUR)
    assert len(run.state.table.names) <= 202
    assert run.state.total.n == 400
    assert run.state.metrics()["accuracy"] == 0.0


def test_a_drift_opens_one_alert_and_its_end_resolves_it():
    rows = classifier(1, 16_000)
    run = Run(MonitorSpec(model="m", warmup=500)).step(rows, rows[-1].arrival + 10**9)
    concept = [a for a in run.alerts if a.kind == "concept_drift"]
    feature = [a for a in run.alerts if a.signal == "feature:amount"]
    new = [a for a in run.alerts if a.signal == "new_features"]
    assert {a.kind for a in run.alerts} == {"concept_drift", "feature_drift", "data_quality"}
    assert len(run.alerts) == len(concept) + len(feature) + len(new)
    for story in (concept, feature, new):
        assert [(a.status, a.reason, a.revision) for a in story] == [
            ("firing", "opened", 1),
            ("resolved", "recovered", 2),
        ]
        opened, resolved = story
        assert opened.fingerprint == resolved.fingerprint
        assert opened.started_at == resolved.started_at < resolved.ended_at
        assert opened.id != resolved.id
        assert opened.config_hash == config_hash(run.spec)
        begin = START_MS + 0.3 * 16_000_000
        assert abs(opened.order[0] - begin) < 120_000, "within two minutes of the change"
        assert all(len(a.summary) <= 200 for a in story)
    assert concept[0].statistic.baseline == pytest.approx(0.1, abs=0.03)
    assert feature[0].evidence.histogram is not None
    assert run.state.policy.active() == {}


def test_a_regression_that_gets_worse_opens_and_a_better_one_does_not():
    rows = regression(1, 15_000)
    run = Run(MonitorSpec(model="m", warmup=500)).step(rows, rows[-1].arrival + 10**9)
    assert [(a.kind, a.reason) for a in run.alerts] == [
        ("performance", "opened"),
        ("performance", "recovered"),
    ]
    assert run.alerts[0].statistic.name == "mae"
    better = [r for r in rows if r.kind == "outcome"][9_000:]
    for row in better:
        row.body["label"] = row.body["prediction"]
    run = Run(MonitorSpec(model="m", warmup=500)).step(rows, rows[-1].arrival + 10**9)
    assert [a.reason for a in run.alerts].count("opened") == 1


def test_page_hinkley_is_shown_and_opens_nothing():
    rows = classifier(1)
    run = Run(MonitorSpec(model="m", warmup=500)).step(rows, rows[-1].arrival + 10**9)
    assert run.state.detections["error", "page_hinkley"] >= 1
    assert ("error", "page_hinkley") in run.state.statistics()
    assert {a.detector.name for a in run.alerts} == {"srbins", "srbinary"}
    shown = sum(w.signals.get("error", {}).get("page_hinkley", 0) for w in run.windows)
    assert shown >= 1


def test_adwin_opens_where_there_is_no_bank_yet_or_where_it_is_asked_to():
    rows = classifier(1)
    for keys in ({"warmup": 400}, {"warmup": 500, "detectors": ("adwin",)}):
        run = Run(MonitorSpec(model="m", **keys)).step(rows, rows[-1].arrival + 10**9)
        holders = [name for names in run.state.policy.holders.values() for name in names]
        assert "adwin" in {*holders, *(a.detector.name for a in run.alerts)}


def test_what_is_missing_mistyped_or_never_seen_is_a_matter_of_data_quality():
    rows = [prediction(i, features={"x": float(i % 10), "c": "ab"[i % 2]}) for i in range(1_000)]
    odd = {"x": None, "c": "new"}
    rows += [
        prediction(i, features=odd if i % 2 else {"x": "9", "c": "a"}) for i in range(1_000, 1_400)
    ]
    run = Run(MonitorSpec(model="m", warmup=1_000)).step(rows, rows[-1].arrival)
    quality = {a.signal: a.severity for a in run.alerts if a.kind == "data_quality"}
    assert quality == dict.fromkeys(["missing:x", "type_changed:x", "unseen:c"], "critical")
    drift = {a.signal: a.suppressed_by for a in run.alerts if a.kind == "feature_drift"}
    causes = {a.fingerprint: a.signal for a in run.alerts}
    assert {signal: causes.get(mark or "") for signal, mark in drift.items()} == {
        "feature:x": "missing:x",
        "feature:c": None,  # a new value is what drifted
    }


def test_a_budget_of_more_false_alarms_lowers_every_threshold():
    rows = classifier(1, 2_000)
    few, many = (
        Run(MonitorSpec(model="m", warmup=1_000, false_alarms=n)).step(rows, 0).state.features.plan
        for n in (1, 100)
    )
    assert few.log_c.keys() == many.log_c.keys()
    assert all(few.log_c[name] > many.log_c[name] >= 6.9 for name in few.log_c)


def test_a_snapshot_of_a_newer_schema_is_refused():
    state = Run(SPEC).state
    dumped = {**state.dump(), "schema": 99}
    with pytest.raises(UnknownVersion):
        engine.states.load(dumped, SPEC)


def test_a_snapshot_restores_to_the_same_bytes():
    rows = classifier(2, 1_000)
    state = Run(MonitorSpec(model="m", warmup=300)).step(rows, rows[-1].arrival).state
    content = engine.snapshot(state)
    assert engine.snapshot(engine.restore(content, state.spec)) == content
