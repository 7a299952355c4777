"""Alerts and windows as the demo's worker would publish them."""

from __future__ import annotations

from driftline.alerts import Alert, DetectorRef, Statistic, WindowSummary, alert_id, fingerprint
from driftline.rules import rfc3339
from streams.demo.data import DAY_MS
from streams.demo.expected import EXPECTED


def make_alert(started, known, incident=EXPECTED[0], *, revision=1, resolved=False, reason=None):
    model, _, version = incident.subject.partition("@")
    name = fingerprint(model, version, "drift", incident.signal)
    return Alert(
        id=alert_id(name, started, revision),
        fingerprint=name,
        revision=revision,
        status="resolved" if resolved else "firing",
        reason=reason or ("recovered" if resolved else "opened"),
        severity="warning",
        kind=incident.kind,
        model=model,
        version=version,
        signal=incident.signal,
        rule="drift",
        detector=DetectorRef("adwin", {"delta": 0.002}),
        statistic=Statistic("mean_rank", value=0.93, baseline=0.5, threshold=0.05, sample_size=640),
        started_at=rfc3339(started),
        ended_at=rfc3339(known) if resolved else None,
        detected_at=rfc3339(known),
        summary=f"something moved on {incident.signal}",
    )


def make_window(subject, start, *, outcomes=24, revision=1, **metrics):
    model, _, version = subject.partition("@")
    return WindowSummary(
        model=model,
        version=version,
        start=rfc3339(start),
        end=rfc3339(start + DAY_MS),
        size_ms=DAY_MS,
        revision=revision,
        counts={"predictions": 24, "outcomes": outcomes},
        metrics=metrics,
    )
