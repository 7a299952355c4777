"""What the demo must say, no more and no less; `driftline demo --exit` fails otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from driftline.alerts import Alert
from streams.demo.traffic import BIKES, BIKES_FIRST, BIKES_SECOND, INCOME, INCOME_VERSION


@dataclass(frozen=True, slots=True, order=True)
class Incident:
    """One alert from opening to end, as the demo judges it: what, where, and whether it ended."""

    subject: str
    kind: str
    signal: str
    resolved: bool

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """The incident as this state of it stands."""
        resolved = alert.status == "resolved"
        return cls(f"{alert.model}@{alert.version}", alert.kind, alert.signal, resolved)

    def __str__(self) -> str:
        ending = "resolved" if self.resolved else "still firing"
        return f"{self.subject}: {self.kind} on {self.signal}, {ending}"


_STALE = f"{BIKES}@{BIKES_FIRST}"
_INCIDENT = f"{INCOME}@{INCOME_VERSION}"

EXPECTED = (
    # One incident, told twice: errors are larger, and the model says too little.
    Incident(_STALE, "performance", "error", resolved=False),
    Incident(_STALE, "performance", "residual", resolved=False),
    # In winter both versions predict fewer rentals than in the months that are their reference,
    # and at Christmas there are fewer, too.
    Incident(_STALE, "prediction_drift", "prediction", resolved=False),
    Incident(_STALE, "label_drift", "label", resolved=False),
    Incident(f"{BIKES}@{BIKES_SECOND}", "prediction_drift", "prediction", resolved=False),
    Incident(_INCIDENT, "concept_drift", "error", resolved=True),
    Incident(_INCIDENT, "feature_drift", "feature:hours_per_week", resolved=True),
    Incident(_INCIDENT, "prediction_drift", "prediction", resolved=True),
    Incident(_INCIDENT, "prediction_drift", "score", resolved=True),
)


def latest(alerts: Iterable[Alert]) -> list[Alert]:
    """The last state of each incident, in the order in which they became known.

    An incident is a fingerprint and a start; repeats (delivery is at least once) change nothing.
    """
    states: dict[tuple[str, str], Alert] = {}
    for alert in alerts:
        key = (alert.fingerprint, alert.started_at)
        if key not in states or alert.revision > states[key].revision:
            states[key] = alert
    return sorted(states.values(), key=lambda alert: (alert.started_at, alert.signal))


def incidents(alerts: Iterable[Alert]) -> list[Incident]:
    """Each incident's last state, reduced to what is judged; sorted."""
    return sorted(Incident.of(alert) for alert in latest(alerts))


def differences(alerts: Iterable[Alert]) -> list[str]:
    """What is missing and what should not be there, one line each; empty if all is as expected."""
    came = incidents(alerts)
    missing, unexpected = list(EXPECTED), []
    for incident in came:
        if incident in missing:
            missing.remove(incident)
        else:
            unexpected.append(incident)
    return [f"missing: {incident}" for incident in sorted(missing)] + [
        f"unexpected: {incident}" for incident in unexpected
    ]
