"""Incidents: opened, worse, better, elsewhere, over; together, and by whose fault."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import policy
from detectors.findings import Finding
from detectors.policy import PolicyState, end_by_hand
from detectors.spec import MonitorSpec
from driftline.alerts import Alert, DetectorRef, Statistic, alert_id
from driftline.subject import Subject

SUBJECT = Subject("m", "1")
SPEC = MonitorSpec(model="m", window_ms=3_600_000, cool_down_ms=7_200_000)
HOUR = 3_600_000
DAY = 24 * HOUR
KINDS = {
    "feature": "feature_drift",
    "attribution": "attribution_drift",
    "missing": "data_quality",
    "type_changed": "data_quality",
    "error": "concept_drift",
    "volume": "volume",
    "labels": "label_delay",
    "gap": "pipeline",
}


def finding(signal: str, state: str = "changed", at: int = DAY, **more) -> Finding:
    """Told at `at`, of a change half an hour before."""
    made = {
        "state": state, "kind": KINDS[signal.partition(":")[0]], "signal": signal, "key": (at,),
        "arrival": at + 5, "ts": at, "change_point": at - HOUR // 2, "severity": "warning",
        "detector": DetectorRef("srbins"), "statistic": Statistic("psi", 0.3), "summary": signal,
    }  # fmt: skip
    return Finding(**(made | more))


def told(*findings: Finding, restart: bool = True) -> tuple[PolicyState, list[Alert]]:
    state, alerts = PolicyState.new(SUBJECT, SPEC), []
    for each in findings:
        state, more = policy.step(state, [each])
        alerts += more
        if restart:
            content = msgspec.msgpack.encode(state.dump())
            state = PolicyState.load(msgspec.msgpack.decode(content), SUBJECT, SPEC)
    return state, alerts


def says(alerts: list[Alert]) -> list[tuple[str, str, int, str]]:
    return [(a.signal, a.reason, a.revision, a.severity) for a in alerts]


def test_an_incident_is_told_when_it_changes_and_only_then():
    x = "feature:x"
    state, alerts = told(
        finding(x),
        finding(x, at=DAY + 1),
        finding(x, at=DAY + 2, severity="critical"),
        finding(x, "moved", at=DAY + 3, severity="critical"),
        finding(x, "moved", at=DAY + 4, severity="info"),
        finding(x, "moved", at=DAY + 5, severity="warning"),
        finding(x, "recovered", at=DAY + 6),
    )
    assert says(alerts) == [
        (x, "opened", 1, "warning"),
        (x, "escalated", 2, "critical"),
        (x, "updated", 3, "critical"),
        (x, "deescalated", 4, "info"),
        (x, "escalated", 5, "warning"),
        (x, "recovered", 6, "warning"),
    ]
    assert [a.status for a in alerts] == ["firing"] * 5 + ["resolved"]
    assert len({(a.fingerprint, a.started_at, a.group) for a in alerts}) == 1
    assert len({a.id for a in alerts}) == 6
    assert all(a.id == alert_id(a.fingerprint, *a.order) for a in alerts)
    assert state.active() == {}
    assert sum(state.transitions.values()) == 6


def test_an_incident_ends_when_none_who_saw_it_sees_it_still():
    seen = finding("error")
    other = finding("error", at=DAY + 1, detector=DetectorRef("adwin"))
    added = finding("error", at=DAY + 2, detector=DetectorRef("adwin"), configured=True)
    ends = [
        finding("error", "recovered", DAY + 9, detector=e.detector, configured=e.configured)
        for e in (seen, other, added)
    ]
    state, alerts = told(seen, other, added, *ends[:2])
    assert [a.reason for a in alerts] == ["opened"]
    _, rest = policy.step(state, ends[2:])
    assert [a.reason for a in rest] == ["recovered"]


def test_what_comes_back_within_the_cool_down_is_the_same_incident():
    again = DAY + 2 * HOUR
    state, alerts = told(
        finding("error"), finding("error", "recovered", DAY + 1), finding("error", at=again)
    )
    assert says(alerts)[-1] == ("error", "opened", 3, "warning")
    assert alerts[2].order == (alerts[0].order[0], 3)
    assert alerts[2].id not in {a.id for a in alerts[:2]}
    later, more = policy.step(
        state,
        [finding("error", "recovered", again + 1), finding("error", at=again + 2 * HOUR + 2)],
    )
    assert more[-1].revision == 1
    assert more[-1].order > alerts[0].order
    assert later.active() == {"warning": 1}


def test_what_may_have_begun_together_is_one_group():
    _, alerts = told(
        finding("error"),
        finding("feature:x", at=DAY + HOUR),
        finding("feature:y", at=DAY + 9 * HOUR),
        finding("feature:y", "recovered", at=DAY + 10 * HOUR),
    )
    error, x, y, over = alerts
    assert error.group == x.group == error.fingerprint
    assert y.group == over.group == y.fingerprint


@pytest.mark.parametrize(
    ("cause", "effect", "explains"),
    [
        ("missing:x", "feature:x", True),
        ("type_changed:x", "attribution:x", True),
        ("missing:x", "feature:y", False),
        ("missing:x", "error", False),
        ("volume", "labels", True),
        ("volume", "error", False),
        ("gap", "error", True),
        ("gap", "missing:x", False),
    ],
)
@pytest.mark.parametrize("first", ["cause", "effect"])
def test_what_another_explains_is_muted_by_it_whichever_came_first(
    cause: str, effect: str, explains: bool, first: str
):
    pair = [finding(cause), finding(effect, at=DAY + 1)]
    state, alerts = told(*(pair if first == "cause" else [*reversed(pair)]))
    by_signal = {alert.signal: alert for alert in alerts}
    mark = by_signal[cause].fingerprint if explains else None
    assert by_signal[effect].suppressed_by == mark
    assert by_signal[cause].suppressed_by is None
    assert len(alerts) == (3 if explains and first == "effect" else 2)
    _, after = policy.step(state, [finding(cause, "recovered", at=DAY + 9)])
    assert [(a.signal, a.reason) for a in after] == [(cause, "recovered")] + (
        [(effect, "updated")] if explains else []
    )
    assert after[-1].suppressed_by is None


def test_a_cause_of_long_ago_explains_nothing():
    _, alerts = told(finding("missing:x"), finding("feature:x", at=9 * DAY))
    assert [a.suppressed_by for a in alerts] == [None, None]


def test_one_that_ends_by_hand_frees_what_it_muted():
    state, alerts = told(finding("missing:x"), finding("feature:x", at=DAY + 1))
    ended = end_by_hand(state, [alerts[0].fingerprint], DAY + 9, "closed")
    assert [(a.signal, a.reason, a.status) for a in ended] == [
        ("missing:x", "expired", "resolved"),
        ("feature:x", "updated", "firing"),
    ]
    assert ended[1].suppressed_by is None
    assert state.active() == {"warning": 1}


SIGNALS = st.sampled_from(["error", "feature:x", "missing:x", "type_changed:x", "volume", "labels"])
STATES = st.sampled_from(["changed", "changed", "moved", "recovered", "retracted"])
SEVERITIES = st.sampled_from(["info", "warning", "critical"])


@given(
    st.lists(st.tuples(SIGNALS, STATES, SEVERITIES, st.integers(0, 3 * HOUR)), max_size=40),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_whoever_keeps_the_greatest_knows_what_is_open(steps, size: int):
    at, findings = DAY, []
    for signal, kind, severity, after in steps:
        at += after
        findings.append(finding(signal, kind, at, severity=severity))
    state, alerts = told(*findings)
    at_once, others = PolicyState.new(SUBJECT, SPEC), []
    for begin in range(0, len(findings), size):
        at_once, more = policy.step(at_once, findings[begin : begin + size])
        others += more
    assert (others, at_once.dump()) == (alerts, state.dump())
    assert len({a.id for a in alerts}) == len(alerts)
    newest: dict[str, Alert] = {}
    for alert in alerts:
        before = newest.get(alert.fingerprint)
        assert before is None or alert.order > before.order
        newest[alert.fingerprint] = alert
    firing = {mark: alert for mark, alert in newest.items() if alert.status == "firing"}
    assert firing == state.incidents
    for alert in firing.values():
        assert alert.suppressed_by is None or alert.suppressed_by in firing
