"""Findings to alerts: one incident per fingerprint, said once, and once when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec

from detectors.findings import Finding
from driftline.alerts import (
    MAX_SUMMARY_CHARS,
    Alert,
    AlertReason,
    Evidence,
    Severity,
    Span,
    Status,
    alert_id,
    fingerprint,
)
from driftline.rules import iso_ms, rfc3339
from driftline.subject import Subject

_RANK: Final = {"info": 0, "warning": 1, "critical": 2}


@dataclass(slots=True)
class PolicyState:
    """Incidents of one subject.

    Attributes:
        incidents: fingerprint -> the last alert of its open incident.
        ended: fingerprint -> end of its last incident, ms; the next one starts later.
        holders: fingerprint -> detectors that see the change; it ends when none does.
        transitions: (kind, severity, status) -> alerts since the subject began.
    """

    subject: Subject
    config_hash: str
    incidents: dict[str, Alert] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    transitions: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def active(self) -> dict[str, int]:
        """Severity -> incidents that are open."""
        counts: dict[str, int] = {}
        for alert in self.incidents.values():
            counts[alert.severity] = counts.get(alert.severity, 0) + 1
        return counts

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "incidents": [msgspec.to_builtins(alert) for alert in self.incidents.values()],
            "ended": self.ended,
            "holders": self.holders,
            "transitions": [[*key, n] for key, n in self.transitions.items()],
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], subject: Subject, config_hash: str) -> Self:
        """Goes on from `dump`."""
        alerts = [msgspec.convert(alert, Alert) for alert in dumped["incidents"]]
        incidents = {alert.fingerprint: alert for alert in alerts}
        transitions = {(k, severity, s): n for k, severity, s, n in dumped["transitions"]}
        holders = {mark: list(names) for mark, names in dumped["holders"].items()}
        ended = dict(dumped["ended"])
        return cls(subject, config_hash, incidents, ended, holders, transitions)


def step(state: PolicyState, findings: Sequence[Finding]) -> tuple[PolicyState, list[Alert]]:
    """Takes findings in order and returns the state with the alerts to publish.

    A change opens an incident; while it is open, another change speaks up only where it is more
    severe, or moved on from where the first had led; a recovery resolves it. Each alert is the
    full state of its incident.
    """
    alerts = []
    for finding in findings:
        alert = _alert(state, finding)
        if alert is not None:
            alerts.append(alert)
            key = (alert.kind, alert.severity, alert.status)
            state.transitions[key] = state.transitions.get(key, 0) + 1
    return state, alerts


def _alert(state: PolicyState, finding: Finding) -> Alert | None:
    subject = state.subject
    mark = fingerprint(subject.model, subject.version, finding.rule, finding.signal)
    last = state.incidents.get(mark)
    if finding.state == "moved":
        return None if last is None else _moved(state, last, finding)
    if finding.state != "changed":
        return None if last is None else _ended(state, last, finding)
    _hold(state, mark, finding.detector.name)
    if last is None:
        started = max(finding.change_point, state.ended.get(mark, finding.change_point - 1) + 1)
        alert = _told(
            state,
            mark,
            finding,
            started=started,
            revision=1,
            severity=finding.severity,
            reason="opened",
        )
    elif _RANK[finding.severity] > _RANK[last.severity]:
        alert = _told(
            state,
            mark,
            finding,
            started=last.order[0],
            revision=last.revision + 1,
            severity=finding.severity,
            reason="escalated",
        )
    else:
        return None
    state.incidents[mark] = alert
    return alert


def _moved(state: PolicyState, last: Alert, finding: Finding) -> Alert:
    """The incident goes on elsewhere: said again, and as severe as it ever was."""
    started, revision = last.order
    worse = _RANK[finding.severity] > _RANK[last.severity]
    alert = _told(
        state,
        last.fingerprint,
        finding,
        started=started,
        revision=revision + 1,
        severity=finding.severity if worse else last.severity,
        reason="escalated" if worse else "updated",
    )
    state.incidents[last.fingerprint] = alert
    return alert


def _hold(state: PolicyState, mark: str, detector: str) -> None:
    """Takes note that a detector sees the change."""
    holders = state.holders.setdefault(mark, [])
    if detector not in holders:
        holders.append(detector)


def _ended(state: PolicyState, last: Alert, finding: Finding) -> Alert | None:
    """The resolved alert, None while another detector still sees the change."""
    started, revision = last.order
    mark = last.fingerprint
    holders = [name for name in state.holders.pop(mark, []) if name != finding.detector.name]
    if holders:
        state.holders[mark] = holders
        return None
    alert = _told(
        state,
        mark,
        finding,
        started=started,
        revision=revision + 1,
        severity=last.severity,
        reason="retracted" if finding.state == "retracted" else "recovered",
    )
    ended = max(finding.ts, started)
    del state.incidents[mark]
    state.ended[mark] = ended
    return msgspec.structs.replace(
        alert, status="resolved", ended_at=rfc3339(ended), change_point=last.change_point
    )


def _told(
    state: PolicyState,
    mark: str,
    finding: Finding,
    *,
    started: int,
    revision: int,
    severity: Severity,
    reason: AlertReason,
) -> Alert:
    status: Status = "firing"
    begin, end = sorted((finding.change_point, finding.ts))
    return Alert(
        id=alert_id(mark, started, revision),
        fingerprint=mark,
        revision=revision,
        status=status,
        reason=reason,
        severity=severity,
        kind=finding.kind,
        model=state.subject.model,
        version=state.subject.version,
        signal=finding.signal,
        rule=finding.rule,
        detector=finding.detector,
        statistic=finding.statistic,
        window=Span(rfc3339(begin), rfc3339(end + 1)),
        change_point=rfc3339(finding.change_point),
        started_at=rfc3339(started),
        detected_at=rfc3339(finding.arrival),
        evidence=Evidence(histogram=finding.histogram, contributors=list(finding.contributors)),
        summary=finding.summary,
        config_hash=state.config_hash,
    )


def end_by_hand(state: PolicyState, marks: Sequence[str], at: int, said: str) -> list[Alert]:
    """The resolved alerts of these open incidents, which somebody ended; `at`: arrival, ms.

    Detectors are not touched: one that goes on seeing the change opens no incident until it has
    seen a recovery, or something worse.
    """
    alerts = []
    for mark in marks:
        last = state.incidents.pop(mark, None)
        if last is None:
            continue
        state.holders.pop(mark, None)
        started, revision = last.order
        ended = max(started, min(at, iso_ms(last.window.end) or at) if last.window else at)
        state.ended[mark] = ended
        alert = msgspec.structs.replace(
            last,
            id=alert_id(mark, started, revision + 1),
            revision=revision + 1,
            status="resolved",
            reason="expired",
            ended_at=rfc3339(ended),
            detected_at=rfc3339(at),
            summary=said[:MAX_SUMMARY_CHARS],
        )
        alerts.append(alert)
        key = (alert.kind, alert.severity, alert.status)
        state.transitions[key] = state.transitions.get(key, 0) + 1
    return alerts
