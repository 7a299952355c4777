"""Alerts, windows and commands: limits, identity, finite numbers."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest

from driftline import alerts
from driftline.alerts import (
    Alert,
    Cause,
    Contributor,
    Counterpart,
    DetectorRef,
    Evidence,
    Histogram,
    Statistic,
    WindowSummary,
)
from driftline.errors import ContractError
from driftline.rules import Reason, rfc3339

START = 1_793_500_000_000


def alert(**fields: Any) -> Alert:
    whole: dict[str, Any] = {
        "id": alerts.alert_id("f" * 32, START, 1),
        "fingerprint": "f" * 32,
        "revision": 1,
        "status": "firing",
        "reason": "opened",
        "severity": "warning",
        "kind": "concept_drift",
        "model": "fraud",
        "version": "1",
        "signal": "error",
        "rule": "drift",
        "detector": DetectorRef("adwin"),
        "statistic": Statistic("mean error"),
        "started_at": rfc3339(START),
        "detected_at": rfc3339(START + 5),
        "summary": "error rose",
    }
    return Alert(**(whole | fields))


def test_an_alert_is_always_the_full_state():
    fields = set(json.loads(alerts.encode(alert())))
    assert fields == set(Alert.__struct_fields__)
    assert fields >= {"segment", "ended_at", "group", "suppressed_by", "causes", "links"}


def test_an_alert_reads_back():
    event = alert(segment={"region": "eu"}, causes=[Cause("c", "text", 0.5)])
    assert alerts.decode_alert(alerts.encode(event)) == event


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_numbers_are_finite_or_absent(bad):
    event = alert(
        statistic=Statistic("s", bad, bad, bad, bad, 3, (0.0, bad)),
        detector=DetectorRef("d", {"delta": bad, "n": 5}),
        causes=[Cause("c", "t", bad)],
        counterparts=[Counterpart("2", bad, "worse")],
        evidence=Evidence(
            histogram=Histogram([bad, 0.0], [1.0], [1.0]),
            contributors=[Contributor("a", bad, "up"), Contributor("b", 0.5, "up")],
        ),
    )
    written = json.loads(alerts.encode(event), parse_constant=pytest.fail)
    assert written["statistic"] == {"name": "s", "sample_size": 3}
    assert written["detector"] == {"name": "d", "params": {"n": 5}}
    assert written["causes"] == [{"code": "c", "text": "t"}]
    assert written["counterparts"] == [{"version": "2", "verdict": "worse"}]
    assert written["evidence"]["histogram"] is None
    assert [c["feature"] for c in written["evidence"]["contributors"]] == ["b"]


def test_finite_numbers_stay():
    statistic = Statistic("s", 0.0, 1.0, -1.0, 0.5, 0, (0.0, 1.0))
    histogram = Histogram([0.0, 1.0], [1.0], [0.5])
    event = alert(statistic=statistic, evidence=Evidence(histogram=histogram))
    assert event.statistic == statistic
    assert event.evidence.histogram == histogram
    assert json.loads(alerts.encode(event))["statistic"]["interval"] == [0.0, 1.0]


def test_summary_and_evidence_keep_their_limits():
    event = alert(summary="x" * 201, evidence=Evidence([str(i) for i in range(11)]))
    assert len(event.summary) == 200
    assert event.summary.endswith("…")
    assert event.evidence.prediction_ids == [str(i) for i in range(10)]
    assert alert(summary="x" * 200).summary == "x" * 200


def test_the_greatest_start_then_revision_is_the_truth():
    later, revised = alert(started_at=rfc3339(START + 1)), alert(revision=2)
    assert max([revised, later, alert()], key=lambda a: a.order) is later
    assert max([alert(), revised], key=lambda a: a.order) is revised


def test_a_fingerprint_is_of_identity_alone():
    same = alerts.fingerprint("m", "1", "drift", "error", {"a": "1", "b": "2"})
    assert same == alerts.fingerprint("m", "1", "drift", "error", {"b": "2", "a": "1"})
    assert len(same) == 32
    others = {
        alerts.fingerprint("n", "1", "drift", "error"),
        alerts.fingerprint("m", "2", "drift", "error"),
        alerts.fingerprint("m", "1", "fnr", "error"),
        alerts.fingerprint("m", "1", "drift", "feature:a"),
        alerts.fingerprint("m", "1", "drift", "error"),
        same,
    }
    assert len(others) == 6
    assert alerts.fingerprint("m", "1", "d", "e", {}) == alerts.fingerprint("m", "1", "d", "e")


def test_an_alert_id_depends_on_incident_start_and_revision():
    ids = {
        alerts.alert_id("f", START, 1),
        alerts.alert_id("f", START, 2),
        alerts.alert_id("f", START + 1, 1),
        alerts.alert_id("g", START, 1),
    }
    assert len(ids) == 4
    assert alerts.alert_id("f", START, 1) in ids


def test_a_window_has_its_key_and_only_finite_metrics():
    window = WindowSummary(
        model="m",
        version="1",
        start=rfc3339(START),
        end=rfc3339(START + 60_000),
        size_ms=60_000,
        revision=1,
        metrics={"accuracy": 0.5, "auc": nan},
        signals={"error": {"mean": inf, "n": 3}},
    )
    assert window.key == "m@1|1793500000000|60000"
    assert window.metrics == {"accuracy": 0.5}
    assert window.signals == {"error": {"n": 3}}
    assert alerts.decode_window(alerts.encode(window)) == window


@pytest.mark.parametrize("read", [alerts.decode_alert, alerts.decode_window, alerts.decode_command])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b'{"id":"\xff","model":"\xff"}', Reason.NOT_UTF8),
        (b'{"x":' + b"[" * 100_000, Reason.TOO_DEEP),
    ],
)
def test_broken_bytes_are_contract_errors(read, value, reason):
    with pytest.raises(ContractError) as caught:
        read(value)
    assert caught.value.reason == reason


def test_a_wrong_value_is_named():
    with pytest.raises(ContractError, match="revision") as caught:
        alerts.decode_alert(alerts.encode(alert()).replace(b'"revision":1', b'"revision":"1"'))
    assert caught.value.reason == Reason.WRONG_TYPE
    with pytest.raises(ContractError, match="command") as caught:
        alerts.decode_command(b'{"id":"1","command":"reboot","who":"a","when":"b"}')
    assert caught.value.reason == Reason.BAD_COMMAND


def test_fields_of_a_newer_writer_are_ignored():
    newer = alerts.encode(alert())[:-1] + b',"mood":"grim"}'
    assert alerts.decode_alert(newer) == alert()
