"""Findings to alerts: one incident per fingerprint, said once, and once when it is over.

    finding:  changed -> opened | escalated      moved -> updated | escalated | deescalated
              recovered -> recovered             retracted -> retracted      silence -> expired

What is told again within the cool-down of its end goes on as the same incident. Incidents that may
have begun together share a `group`; one that another explains is `suppressed_by` it, and says so
when that changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec
from msgspec.structs import replace

from detectors.causes import cause_of, together
from detectors.findings import Finding
from detectors.spec import HOUR_MS, MonitorSpec, config_hash
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
        last: fingerprint -> (start, revision) of its last incident that is over.
        told: fingerprint -> event time, ms, of the row that opened its open incident.
        near_ms: how far apart what began together may seem to have begun; a window.
        cool_down_ms: after the end of an incident, in which it is the same one that goes on.
        transitions: (kind, severity, status) -> alerts since the subject began.
    """

    subject: Subject
    config_hash: str
    incidents: dict[str, Alert] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    transitions: dict[tuple[str, str, str], int] = field(default_factory=dict)
    last: dict[str, tuple[int, int]] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    near_ms: int = HOUR_MS
    cool_down_ms: int = HOUR_MS

    @classmethod
    def new(cls, subject: Subject, spec: MonitorSpec) -> Self:
        """No incidents yet."""
        state = cls(subject, config_hash(spec), near_ms=spec.window_ms)
        state.cool_down_ms = spec.window_ms if spec.cool_down_ms is None else spec.cool_down_ms
        return state

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
            "last": {mark: list(order) for mark, order in self.last.items()},
            "told": self.told,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], subject: Subject, spec: MonitorSpec) -> Self:
        """Goes on from `dump`."""
        state = cls.new(subject, spec)
        alerts = [msgspec.convert(alert, Alert) for alert in dumped["incidents"]]
        state.incidents = {alert.fingerprint: alert for alert in alerts}
        state.transitions = {(k, severity, s): n for k, severity, s, n in dumped["transitions"]}
        state.holders = {mark: list(names) for mark, names in dumped["holders"].items()}
        state.ended, state.told = dict(dumped["ended"]), dict(dumped.get("told", {}))
        state.last = {
            mark: (began, revision) for mark, (began, revision) in dumped.get("last", {}).items()
        }
        return state


def step(state: PolicyState, findings: Sequence[Finding]) -> tuple[PolicyState, list[Alert]]:
    """Takes findings in order and returns the state with the alerts to publish.

    A change opens an incident; while it is open, another change speaks up only where it is more
    severe, or moved on from where the first had led; a recovery resolves it. Each alert is the
    full state of its incident.
    """
    alerts: list[Alert] = []
    for finding in findings:
        alert = _alert(state, finding)
        if alert is not None:
            alerts += [alert, *_explained(state, finding.arrival, alert.fingerprint)]
    _count(state, alerts)
    return state, alerts


def _count(state: PolicyState, alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        key = (alert.kind, alert.severity, alert.status)
        state.transitions[key] = state.transitions.get(key, 0) + 1


def _alert(state: PolicyState, finding: Finding) -> Alert | None:
    subject = state.subject
    mark = fingerprint(subject.model, subject.version, finding.rule, finding.signal)
    last = state.incidents.get(mark)
    if finding.state == "moved":
        return None if last is None else _moved(state, last, finding)
    if finding.state != "changed":
        return None if last is None else _ended(state, last, finding)
    _hold(state, mark, finding)
    if last is None:
        return _opened(state, mark, finding)
    if _RANK[finding.severity] <= _RANK[last.severity]:
        return None
    alert = _told(
        state,
        mark,
        finding,
        started=last.order[0],
        revision=last.revision + 1,
        severity=finding.severity,
        reason="escalated",
    )
    return _keep(state, alert, last)


def _opened(state: PolicyState, mark: str, finding: Finding) -> Alert:
    """A new incident, or one that goes on because it had hardly ended."""
    ended = state.ended.get(mark)
    started, revision = finding.change_point, 1
    if ended is not None:
        started = max(started, ended + 1)
        if mark in state.last and finding.ts - ended <= state.cool_down_ms:
            started, before = state.last[mark]
            revision = before + 1
    alert = _told(
        state,
        mark,
        finding,
        started=started,
        revision=revision,
        severity=finding.severity,
        reason="opened",
    )
    state.told[mark] = finding.ts
    groups = (
        other.group or other.fingerprint
        for other in state.incidents.values()
        if together(alert, other, state.told, state.near_ms)
    )
    cause = cause_of(alert, state.incidents.values(), state.told, state.near_ms)
    alert = replace(alert, group=next(groups, mark), suppressed_by=cause)
    state.incidents[mark] = alert
    return alert


def _keep(state: PolicyState, alert: Alert, last: Alert) -> Alert:
    """The alert as the newest of its incident, in the group it is in."""
    alert = replace(alert, group=last.group, suppressed_by=last.suppressed_by)
    state.incidents[alert.fingerprint] = alert
    return alert


def _moved(state: PolicyState, last: Alert, finding: Finding) -> Alert:
    """The incident goes on elsewhere: said again, as severe as it is there."""
    started, revision = last.order
    change = _RANK[finding.severity] - _RANK[last.severity]
    reason: AlertReason = "escalated" if change > 0 else "deescalated" if change < 0 else "updated"
    alert = _told(
        state,
        last.fingerprint,
        finding,
        started=started,
        revision=revision + 1,
        severity=finding.severity,
        reason=reason,
    )
    return _keep(state, alert, last)


def _explained(state: PolicyState, at: int, mark: str) -> list[Alert]:
    """Open incidents that the one that opened or ended explains, or explains no longer."""
    alerts = []
    for other in list(state.incidents.values()):
        cause = cause_of(other, state.incidents.values(), state.told, state.near_ms)
        if other.fingerprint == mark or cause == other.suppressed_by:
            continue
        alert = _again(other, at, reason="updated", suppressed_by=cause)
        state.incidents[other.fingerprint] = alert
        alerts.append(alert)
    return alerts


def _again(last: Alert, at: int, **changed: Any) -> Alert:
    """The next revision of an incident; `at`: arrival, ms."""
    started, revision = last.order
    return replace(
        last,
        id=alert_id(last.fingerprint, started, revision + 1),
        revision=revision + 1,
        detected_at=rfc3339(at),
        **changed,
    )


def _hold(state: PolicyState, mark: str, finding: Finding) -> None:
    """Takes note that a detector sees the change."""
    holders = state.holders.setdefault(mark, [])
    if finding.holder not in holders:
        holders.append(finding.holder)


def _ended(state: PolicyState, last: Alert, finding: Finding) -> Alert | None:
    """The resolved alert, None while another detector still sees the change."""
    started, revision = last.order
    mark = last.fingerprint
    holders = [name for name in state.holders.pop(mark, []) if name != finding.holder]
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
    alert = replace(_keep(state, alert, last), status="resolved", ended_at=rfc3339(ended))
    _forget(state, mark, ended, alert)
    return replace(alert, change_point=last.change_point)


def _forget(state: PolicyState, mark: str, ended: int, alert: Alert) -> None:
    """The incident is over."""
    state.incidents.pop(mark, None)
    state.told.pop(mark, None)
    state.ended[mark], state.last[mark] = ended, alert.order


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
        last = state.incidents.get(mark)
        if last is None:
            continue
        state.holders.pop(mark, None)
        started = last.order[0]
        ended = max(started, min(at, iso_ms(last.window.end) or at) if last.window else at)
        alert = _again(
            last,
            at,
            status="resolved",
            reason="expired",
            ended_at=rfc3339(ended),
            summary=said[:MAX_SUMMARY_CHARS],
        )
        _forget(state, mark, ended, alert)
        alerts += [alert, *_explained(state, at, mark)]
    _count(state, alerts)
    return alerts
