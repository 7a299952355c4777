"""Thresholds on windows: for how long, back to where, relative to what, and taken back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detectors import policy
from detectors.baseline import of_error
from detectors.policy import PolicyState
from detectors.reference.profile import ErrorReference, NumericProfile, ReferenceProfile, from_json
from detectors.reference_builder import build
from detectors.registry import METRICS, metrics_of
from detectors.spec import MetricSpec, MonitorSpec, Threshold
from detectors.thresholds import WEEK_MS, Known, Thresholds
from driftline.alerts import WindowSummary
from driftline.rules import iso_ms, rfc3339
from driftline.subject import Subject
from tests.monitored import SUBJECT, Row, Run, classifier, frames, regression

HOUR = 3_600_000
PROFILE = ReferenceProfile(
    model="m", version="1", origin="build", n=1_000, task="binary",
    error=ErrorReference(n=1_000, mean=0.2, sd=0.4),
    features={
        "x": NumericProfile(n=9, missing=1, low=0, edges=(1,), counts=(9,), mean=0, sd=1)
    },
)  # fmt: skip
KNOWN = Known(PROFILE, of_error(PROFILE))


def window(start: int, *, outcomes: int = 1_000, missing: float = 0.0, **metrics: float):
    return WindowSummary(
        model="m", version="1", start=rfc3339(start), end=rfc3339(start + HOUR), size_ms=HOUR,
        revision=1, counts={"predictions": outcomes, "outcomes": outcomes}, metrics=metrics,
        signals={"feature:x": {"missing_rate": missing}},
    )  # fmt: skip


def states(windows: Sequence[WindowSummary], **settings) -> list[str]:
    """What each window's publication says, "" for nothing; over a restart at every one."""
    spec = MonitorSpec(model="m", thresholds=(Threshold(**settings),))
    held, said = Thresholds(spec), []
    for at, each in enumerate(windows):
        found = held.take(each, 10 * WEEK_MS + at, KNOWN)
        said.append(found[0].state if found else "")
        held = Thresholds.load(held.dump(), spec)
    return said


def hours(*values: float, **more) -> list[WindowSummary]:
    return [window(i * HOUR, accuracy=value, **more) for i, value in enumerate(values)]


def test_a_fixed_limit_opens_once_and_ends_when_it_holds_again():
    assert states(hours(0.9, 0.7, 0.6, 0.8), metric="accuracy", below=0.75) == [
        *("", "changed", "", "recovered")
    ]


def test_it_takes_so_many_windows_in_a_row_both_ways():
    said = states(hours(0.7, 0.9, 0.7, 0.7, 0.9, 0.9), metric="accuracy", below=0.75, for_windows=2)
    assert said == ["", "", "", "changed", "", "recovered"]


def test_it_is_over_only_beyond_the_clear_level():
    said = states(hours(0.7, 0.76, 0.79, 0.81), metric="accuracy", below=0.75, clear=0.8)
    assert said == ["changed", "", "", "recovered"]


def test_a_window_of_few_samples_says_nothing():
    assert states(hours(0.1, 0.1, outcomes=99), metric="accuracy", below=0.75) == ["", ""]


def test_relative_to_the_reference():
    assert states(hours(0.73, 0.71), metric="accuracy", below=0.1, relative="reference") == [
        *("", "changed")  # 10 % below 0.8 is 0.72
    ]


def test_relative_to_the_same_hour_last_week():
    before = window(0, accuracy=0.5)
    now = [window(WEEK_MS + i * HOUR, accuracy=0.4) for i in range(2)]
    said = states([before, *now], metric="accuracy", below=0.1, relative="last_week")
    assert said == ["", "changed", ""], "the second hour has no last week, and says nothing"


def test_a_missing_rate_is_a_matter_of_data_quality():
    spec = MonitorSpec(
        model="m", thresholds=(Threshold(metric="missing_rate:x", above=0.3, name="holes"),)
    )
    (finding,) = Thresholds(spec).take(window(0, missing=0.4), 1, KNOWN)
    assert (finding.kind, finding.rule, finding.statistic.value) == ("data_quality", "holes", 0.4)


def test_revised_labels_retract_what_was_not_so():
    spec = MonitorSpec(model="m", thresholds=(Threshold(metric="accuracy", below=0.75),))
    held, incidents, alerts = Thresholds(spec), PolicyState.new(Subject("m", "1"), spec), []
    for at, value in enumerate([0.7, 0.74, 0.76]):
        found = held.take(window(0, accuracy=value), at, KNOWN)
        incidents, told = policy.step(incidents, found)
        alerts += told
    assert [(a.status, a.reason, a.rule) for a in alerts] == [
        ("firing", "opened", "accuracy"),
        ("resolved", "retracted", "accuracy"),
    ]
    assert incidents.active() == {}


def test_a_violation_that_is_over_does_not_open_again_when_labels_revise_its_window():
    windows = [*hours(0.7, 0.9), window(0, accuracy=0.71), window(2 * HOUR, accuracy=0.7)]
    assert states(windows, metric="accuracy", below=0.75) == [
        *("changed", "recovered"),
        "",
        "changed",
    ]


def test_revised_labels_may_open_late():
    windows = [*hours(0.9, 0.7), window(0, accuracy=0.7)]
    assert states(windows, metric="accuracy", below=0.75, for_windows=2) == ["", "", "changed"]


# -- relative to the reference ---------------------------------------------------------------------


def pinned(rows: list[Row], spec: MonitorSpec) -> ReferenceProfile:
    return build(SUBJECT, frames(rows), spec)


@pytest.mark.parametrize("stream", [classifier, regression])
def test_a_reference_over_outcomes_holds_every_metric_of_its_task(stream):
    rows = stream(4, 600)
    spec = MonitorSpec(
        model="m",
        warmup=100,
        horizon_ms=10**9,
        metrics=(MetricSpec(name="f_beta", params={"beta": 2.0}),),
    )
    profile = pinned(rows, spec)
    run = Run(spec, profile).step(rows, rows[-1].arrival + 10**9)
    task = run.state.task
    assert profile.metrics == pytest.approx(run.state.every_metric(run.state.total), rel=1e-12)
    defined = {m.name for m in METRICS.values() if task in m.tasks}
    assert profile.metrics.keys() >= defined - {"mape"}
    assert ("f2" in profile.metrics) is (task == "binary")
    assert from_json(profile.to_json()).metrics == profile.metrics


def test_any_metric_may_be_relative_to_the_reference():
    rows = classifier(4, 3_000, hostile=False)  # worse from row 900 to 1,500
    held = Threshold(metric="false_negative_rate", above=0.5, relative="reference")
    spec = MonitorSpec(
        model="m",
        window_ms=300_000,
        thresholds=(held, Threshold(metric="specificity", below=0.3, relative="reference")),
    )
    profile = pinned(rows[:1_500], spec)
    run = Run(spec, profile).step(rows, rows[-1].arrival + 10**7)
    opened = [a for a in run.alerts if a.rule == "false_negative_rate"]
    assert [a.reason for a in opened] == ["opened", "recovered"]
    assert opened[0].statistic.baseline == profile.metrics["false_negative_rate"]
    assert not any("threshold:" in reason for w in run.windows for reason in w.reasons)


def test_without_a_reference_the_first_labels_are_it():
    rows = classifier(4, 3_000, hostile=False)
    held = Threshold(metric="recall", below=0.2, relative="reference")
    spec = MonitorSpec(
        model="m", warmup=500, window_ms=300_000, lateness_ms=60_000, thresholds=(held,)
    )
    run = Run(spec).step(rows, rows[-1].arrival + 10**7)
    labels = [row for row in rows if row.kind == "outcome"]
    first = [r for r in rows if r.kind == "prediction"] + labels[:500]
    assert run.state.baseline.metrics == pinned(first, spec).metrics
    assert run.state.baseline.since == labels[499].arrival
    before = [w for w in run.windows if "threshold:recall" in w.reasons]
    assert {w.reasons["threshold:recall"] for w in before} == {
        "the reference is still being learned"
    }
    assert all((iso_ms(w.end) or 0) < labels[499].arrival for w in before)
    assert [a.reason for a in run.alerts if a.rule == "recall"] == ["opened", "recovered"]


def test_what_the_reference_cannot_tell_is_said_in_the_window():
    spec = MonitorSpec(
        model="m",
        window_ms=HOUR,
        thresholds=(
            Threshold(metric="cost", above=0.1, relative="reference"),
            Threshold(metric="missing_rate:y", above=0.1, relative="reference", name="holes"),
            Threshold(metric="accuracy", below=0.1, relative="last_week"),
            Threshold(metric="accuracy", below=0.5, name="fixed"),
        ),
    )
    held = Thresholds(spec)
    assert held.take(window(0, accuracy=0.6, cost=3.0), 1, KNOWN) == []
    said = held.unknown(window(0, accuracy=0.6, cost=3.0), KNOWN)
    assert said.keys() == {"threshold:cost", "threshold:holes", "threshold:accuracy"}
    assert "--config" in said["threshold:cost"]
    assert said["threshold:holes"] == "the reference has no such feature"
    assert said["threshold:accuracy"] == "no window a week before with 100 samples"
    learning = held.unknown(window(0), Known())
    assert learning["threshold:cost"] == learning["threshold:holes"]
    odd = MonitorSpec(
        model="m",
        window_ms=5 * HOUR,
        thresholds=(Threshold(metric="accuracy", below=0.1, relative="last_week"),),
    )
    assert "begin again" in Thresholds(odd).unknown(window(0), KNOWN)["threshold:accuracy"]


def test_last_week_counts_only_with_enough_samples_and_is_kept_as_long_as_labels_come():
    settings = {"metric": "accuracy", "below": 0.1, "relative": "last_week"}
    few = window(0, outcomes=99, accuracy=0.9)
    now = window(WEEK_MS, accuracy=0.5)
    assert states([few, now], **settings) == ["", ""]
    spec = MonitorSpec(model="m", horizon_ms=3 * WEEK_MS, thresholds=(Threshold(**settings),))
    held = Thresholds(spec)
    told = []
    weeks = [window(0, accuracy=0.9), now]
    weeks += [window(WEEK_MS * week, accuracy=0.5) for week in range(2, 5)]
    weeks.append(window(WEEK_MS, accuracy=0.51))  # revised three weeks later
    for at, each in enumerate(weeks):
        told += [f.state for f in held.take(each, at, KNOWN)]
    assert told == ["changed", "recovered"], "and not taken back: it was so"


def test_a_metric_that_a_threshold_is_about_is_computed_though_no_list_names_it():
    spec = MonitorSpec(model="m", metrics=(), thresholds=(Threshold(metric="recall", below=0.1),))
    assert [metric.name for metric in metrics_of(spec, "binary")] == ["recall"]
    assert metrics_of(spec, "regression") == []
