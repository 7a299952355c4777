r"""Remediation: alerts to actions, behind guards, and whether they helped. A pure function.

Everything is decided at an arrival time that rows carry: when an alert was detected, when a
person's decision arrived, when a deadline passed. So a replay decides the same, and an action has
the same id in every run; whoever carries it out does so once per id.

    alert opens --> guards --> would_run            (dry-run)
                          \-> refused               (rate, cool-down, blast radius, no target)
                          \-> waiting -> due        (approved)  | rejected | expired
                          \-> due -> helped | did_not_help
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from detectors.operators.traffic import HOUR_MS, Traffic
from detectors.remedy_spec import PREVIOUS, Remedy
from driftline.actions import Action, ActionStatus, action_id
from driftline.alerts import Alert, alert_id
from driftline.rules import iso_ms, rfc3339

ASKING = ("opened", "escalated")
"""Reasons of alerts that may ask for an action: news for the worse."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person approved or rejected an action; `at`: arrival of the command, ms."""

    at: int
    action: str
    approved: bool
    who: str
    why: str = ""


@dataclass(slots=True)
class Open:
    """An action that is not over: it waits for a person, or for its verification."""

    action: Action
    until: int


@dataclass(slots=True)
class RemedyState:
    """Remediation of one model.

    Attributes:
        open: action id -> actions that are not over.
        acted: policy -> (arrival, version) of its actions within the longest of its guards.
        asked: incident ids that a policy has answered, newest last, by policy.
        critical: version -> fingerprints of its open critical incidents.
    """

    model: str
    traffic: Traffic = field(default_factory=Traffic)
    open: dict[str, Open] = field(default_factory=dict)
    acted: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    critical: dict[str, list[str]] = field(default_factory=dict)

    @property
    def next_due(self) -> int | None:
        """Arrival, ms, at which a deadline passes; None: nothing is open."""
        return min((held.until for held in self.open.values()), default=None)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "traffic": self.traffic.dump(),
            "open": [[msgspec.to_builtins(held.action), held.until] for held in self.open.values()],
            "acted": {name: [list(one) for one in acts] for name, acts in self.acted.items()},
            "asked": self.asked,
            "critical": self.critical,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], model: str) -> Self:
        """Goes on from `dump`."""
        state = cls(model, Traffic.load(dumped["traffic"]))
        for content, until in dumped["open"]:
            action = msgspec.convert(content, Action)
            state.open[action.id] = Open(action, until)
        for name, acts in dumped["acted"].items():
            state.acted[name] = [(at, version) for at, version in acts]
        state.asked = {name: list(ids) for name, ids in dumped["asked"].items()}
        state.critical = {version: list(marks) for version, marks in dumped["critical"].items()}
        return state


ASKED_KEPT = 1_000


def step(
    state: RemedyState,
    remedies: Sequence[Remedy],
    alerts: Sequence[Alert],
    decisions: Sequence[Decision],
    clock: int,
) -> list[Action]:
    """Takes what became known below `clock` and returns what is to be said on driftline.actions.

    Args:
        state: of the alerts' model, its `traffic` up to date; changed.
        remedies: the policies in force.
        alerts: of all versions of the model since the last step.
        decisions: of people since the last step.
        clock: arrival, ms, that no later alert or decision is below.
    """
    turn = _Turn(state, {remedy.name: remedy for remedy in remedies})
    events: list[tuple[tuple[int, int, str], Alert | Decision]] = []
    for alert in alerts:
        place = f"{alert.version}\0{alert.fingerprint}\0{alert.revision:09d}"
        events.append(((iso_ms(alert.detected_at) or 0, 0, place), alert))
    events += [((one.at, 1, one.action), one) for one in decisions]
    for (at, _, _), event in sorted(events, key=lambda item: item[0]):
        turn.deadlines(at)
        if isinstance(event, Alert):
            turn.alert(event, at)
        else:
            turn.decision(event)
    turn.deadlines(clock)
    state.traffic.forget(clock)
    return turn.said


class _Turn:
    """One step: what it says, in order."""

    def __init__(self, state: RemedyState, remedies: Mapping[str, Remedy]) -> None:
        self.state = state
        self.remedies = remedies
        self.said: list[Action] = []

    # -- what happens --------------------------------------------------------------------------

    def alert(self, alert: Alert, at: int) -> None:
        """An incident's news: it may end actions, and ask for new ones."""
        marks = self.state.critical.setdefault(alert.version, [])
        if alert.fingerprint in marks:
            marks.remove(alert.fingerprint)
        if alert.status == "resolved":
            self._resolved(alert, at)
            return
        if alert.severity == "critical":
            marks.append(alert.fingerprint)
        if alert.reason not in ASKING:
            return
        for remedy in self.remedies.values():
            if remedy.asks(alert):
                self._asked(remedy, alert, at)

    def decision(self, decision: Decision) -> None:
        """A person's word on an action that waits; on any other it changes nothing."""
        held = self.state.open.get(decision.action)
        if held is None or held.action.status != "waiting":
            return
        action = replace(held.action, who=decision.who)
        remedy = self.remedies.get(action.policy)
        told = f"by {decision.who}" + (f": {decision.why}" if decision.why else "")
        if not decision.approved:
            self._over(action, "rejected", f"rejected {told}", decision.at)
            return
        why = None if remedy is None else self._guard(remedy, action.version, decision.at)
        if remedy is None:
            self._over(action, "expired", "its policy is no longer configured", decision.at)
        elif why is not None:
            self._over(action, "refused", why, decision.at)
        else:
            self._due(remedy, action, f"approved {told}", decision.at)

    def deadlines(self, at: int) -> None:
        """What was to happen by this time."""
        while (due := self.state.next_due) is not None and due <= at:
            held = min(self.state.open.values(), key=lambda one: (one.until, one.action.id))
            action = held.action
            if action.status == "waiting":
                self._over(action, "expired", "nobody approved it in time", due)
            elif not self.state.traffic.rows(action.version, due, 1):
                self._over(action, "helped", "the version has no traffic any more", due)
            else:
                self._over(action, "did_not_help", "the alert that asked for it is open", due)

    # -- what follows ----------------------------------------------------------------------------

    def _resolved(self, alert: Alert, at: int) -> None:
        for held in [h for h in self.state.open.values() if _same(h.action, alert)]:
            if held.action.status == "waiting":
                self._over(held.action, "expired", f"the alert {alert.reason} by itself", at)
            else:
                self._over(held.action, "helped", f"the alert {alert.reason}", at)

    def _asked(self, remedy: Remedy, alert: Alert, at: int) -> None:
        incident = alert_id(alert.fingerprint, alert.order[0], 1)
        answered = self.state.asked.setdefault(remedy.name, [])
        if incident in answered:
            return
        answered.append(incident)
        del answered[:-ASKED_KEPT]
        action = Action(
            id=action_id(remedy.name, incident),
            revision=0,
            action=remedy.action,
            mode=remedy.mode,
            status="refused",
            why="",
            policy=remedy.name,
            model=self.state.model,
            version=alert.version,
            at=rfc3339(at),
            fingerprint=alert.fingerprint,
            alert_id=alert.id,
            params=remedy.params,
            config_hash=alert.config_hash,
        )
        why = self._guard(remedy, alert.version, at)
        if why is None and remedy.action == "rollback":
            target = self._target(remedy, alert.version, at)
            action = replace(action, to_version=target)
            why = None if target else "there is no version without a critical alert to go back to"
        if why is not None:
            self._say(action, "refused", why, at)
            return
        share = self.state.traffic.share(alert.version, at)
        if remedy.mode == "dry-run":
            self._count(remedy, alert.version, at)
            self._say(action, "would_run", f"dry-run, for: {alert.summary}", at)
        elif remedy.mode == "approve" or (share or 0.0) > remedy.max_traffic:
            asks = "" if remedy.mode == "approve" else f" ({share:.0%} of the model's traffic)"
            waiting = self._say(action, "waiting", f"needs approval{asks}: {alert.summary}", at)
            self.state.open[action.id] = Open(waiting, at + remedy.approve_within_ms)
        else:
            self._due(remedy, action, f"for: {alert.summary}", at)

    def _guard(self, remedy: Remedy, version: str, at: int) -> str | None:
        """Why the policy must not act on this version now; None: it may."""
        acted = self.state.acted.get(remedy.name, [])
        latest = [when for when, whom in acted if whom == version]
        if latest and at - latest[-1] < remedy.cool_down_ms:
            return f"cooling down until {rfc3339(latest[-1] + remedy.cool_down_ms)}"
        recent = sum(at - when < remedy.per_ms for when, _ in acted)
        if recent >= remedy.limit:
            return f"{recent} of at most {remedy.limit} in {remedy.per_ms / HOUR_MS:g} h done"
        touched = {
            held.action.version for held in self.state.open.values() if held.action.status == "due"
        }
        if len(touched | {version}) > remedy.most_versions:
            others = ", ".join(sorted(touched - {version}))
            return f"being acted upon already: {others} (at most {remedy.most_versions} at once)"
        return None

    def _target(self, remedy: Remedy, version: str, at: int) -> str | None:
        """The version to roll back to, if it has no open critical alert."""
        named = [] if remedy.to in (None, PREVIOUS) else [str(remedy.to)]
        candidates = named or self.state.traffic.before(version, at)
        healthy = [name for name in candidates if not self.state.critical.get(name)]
        return healthy[0] if healthy else None

    def _due(self, remedy: Remedy, action: Action, why: str, at: int) -> None:
        self._count(remedy, action.version, at)
        due = self._say(action, "due", why, at)
        self.state.open[action.id] = Open(due, at + remedy.verify_within_ms)

    def _count(self, remedy: Remedy, version: str, at: int) -> None:
        acted = self.state.acted.setdefault(remedy.name, [])
        acted.append((at, version))
        horizon = max(remedy.per_ms, remedy.cool_down_ms)
        self.state.acted[remedy.name] = [one for one in acted if at - one[0] < horizon]

    def _over(self, action: Action, status: ActionStatus, why: str, at: int) -> None:
        self.state.open.pop(action.id, None)
        self._say(action, status, why, at)

    def _say(self, action: Action, status: ActionStatus, why: str, at: int) -> Action:
        step = 2 if action.status == "due" else 1  # the one between is of who carries it out
        said = replace(
            action, status=status, why=why[:200], at=rfc3339(at), revision=action.revision + step
        )
        self.said.append(said)
        return said


def _same(action: Action, alert: Alert) -> bool:
    return (action.fingerprint, action.version) == (alert.fingerprint, alert.version)
