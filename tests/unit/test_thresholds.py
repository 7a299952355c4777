"""Thresholds on windows: for how long, back to where, relative to what, and taken back."""

from __future__ import annotations

from collections.abc import Sequence

from detectors import policy
from detectors.policy import PolicyState
from detectors.reference import ErrorReference, NumericProfile, ReferenceProfile
from detectors.spec import MonitorSpec, Threshold
from detectors.thresholds import WEEK_MS, Thresholds
from driftline.alerts import WindowSummary
from driftline.rules import rfc3339
from driftline.subject import Subject

HOUR = 3_600_000
PROFILE = ReferenceProfile(
    model="m", version="1", origin="build", n=1_000, task="binary",
    error=ErrorReference(n=1_000, mean=0.2, sd=0.4),
    features={
        "x": NumericProfile(n=9, missing=1, low=0, edges=(1,), counts=(9,), mean=0, sd=1)
    },
)  # fmt: skip


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
        found = held.take(each, 10 * WEEK_MS + at, PROFILE)
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
    (finding,) = Thresholds(spec).take(window(0, missing=0.4), 1, PROFILE)
    assert (finding.kind, finding.rule, finding.statistic.value) == ("data_quality", "holes", 0.4)


def test_revised_labels_retract_what_was_not_so():
    spec = MonitorSpec(model="m", thresholds=(Threshold(metric="accuracy", below=0.75),))
    held, incidents, alerts = Thresholds(spec), PolicyState(Subject("m", "1"), "h"), []
    for at, value in enumerate([0.7, 0.74, 0.76]):
        found = held.take(window(0, accuracy=value), at, PROFILE)
        incidents, told = policy.step(incidents, found)
        alerts += told
    assert [(a.status, a.reason, a.rule) for a in alerts] == [
        ("firing", "opened", "accuracy"),
        ("resolved", "retracted", "accuracy"),
    ]
    assert incidents.active() == {}


def test_revised_labels_may_open_late():
    windows = [*hours(0.9, 0.7), window(0, accuracy=0.7)]
    assert states(windows, metric="accuracy", below=0.75, for_windows=2) == ["", "", "changed"]
