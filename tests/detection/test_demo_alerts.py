"""The demo's traffic, replayed without Kafka, raises exactly the alerts that the demo expects."""

from __future__ import annotations

import pytest

from streams.demo import lines, traffic
from streams.demo.data import DAY_MS, ms
from streams.demo.expected import differences
from streams.demo.run import write
from streams.demo.worker import MONITORS
from streams.monitors.load import inspect, load
from streams.offline.files import EventFile
from streams.offline.replay import Replay

pytestmark = pytest.mark.slow


class Taken:
    def __init__(self):
        self.alerts = []
        self.windows = []

    def alert(self, alert):
        self.alerts.append(alert)

    def window(self, window):
        self.windows.append(window)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    predictions, labels = write(tmp_path_factory.mktemp("demo"))
    sink = Taken()
    run = Replay([EventFile(predictions)], [EventFile(labels, role="labels")], load(MONITORS), sink)
    run.run()
    assert not run.counts.rejected
    return sink


def test_exactly_the_expected_alerts_come(taken):
    assert differences(taken.alerts) == []


def opened(taken, subject, kind, signal=None):
    (alert,) = [
        a
        for a in taken.alerts
        if lines.subject(a) == subject
        and a.kind == kind
        and a.signal == (signal or a.signal)
        and a.reason == "opened"
    ]
    return alert


@pytest.mark.parametrize("kind", ["feature_drift", "concept_drift"])
def test_the_incident_is_known_within_two_days_and_dated_to_its_day(taken, kind):
    alert = opened(taken, "income@1994.1", kind)
    broken = traffic.BROKEN[0]
    assert broken < lines.at(alert.detected_at) < broken + 2 * DAY_MS
    assert abs(lines.at(alert.started_at) - broken) < DAY_MS


def test_the_stale_model_is_dated_to_the_spring_of_2012_within_a_month(taken):
    alert = opened(taken, "bike-demand@2011-04", "performance", "error")
    started = lines.at(alert.started_at)
    assert ms("2012-03-01") <= started < ms("2012-04-01")
    assert lines.at(alert.detected_at) - started < 31 * DAY_MS


def test_that_the_stale_model_says_too_little_is_known_sooner_and_is_the_same_incident(taken):
    error, residual = (
        opened(taken, "bike-demand@2011-04", "performance", signal)
        for signal in ("error", "residual")
    )
    assert ms("2012-01-01") <= lines.at(residual.detected_at) < lines.at(error.detected_at)
    assert residual.severity == "info"
    assert error.group == residual.group == residual.fingerprint


def test_every_day_of_every_subject_has_a_window(taken):
    days = {(f"{w.model}@{w.version}", lines.at(w.start)) for w in taken.windows}
    for subject, start in traffic.SUBJECTS.items():
        assert {(subject, day) for day in range(start, traffic.END, DAY_MS)} <= days


def test_the_monitor_files_are_valid_and_all_of_them_is_in_force():
    report = inspect([MONITORS])
    assert not report.problems
    assert not report.notes
    assert {monitor.model for monitor in report.files} == {traffic.BIKES, traffic.INCOME}
