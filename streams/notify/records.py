"""Ledger records of decisions and tries, made from an alert or from what waits."""

from __future__ import annotations

import msgspec

from driftline.alerts import Alert
from streams.notify.lane import Lane, Pending
from streams.notify.ledger import Notification, Result, stamp


def of_alert(
    lane: Lane,
    alert: Alert,
    partition: int,
    result: Result,
    now: float,
    *,
    due: float | None = None,
    bundle: str | None = None,
    raw: bytes = b"null",
    reminder: str | None = None,
    message: str | None = None,
    size: int = 1,
    reference: str | None = None,
) -> Notification:
    """A decision about an alert that came in; it carries the alert if it is to be sent."""
    return Notification(
        destination=lane.destination.name,
        fingerprint=alert.fingerprint,
        alert_id=alert.id,
        started_at=alert.started_at,
        revision=alert.revision,
        status=alert.status,
        severity=alert.severity,
        result=result,
        at=stamp(now),
        partition=partition,
        cause="repeat" if reminder else "alert",
        reminder=reminder,
        due=None if due is None else stamp(due),
        bundle=bundle,
        message=message,
        size=size,
        reference=reference,
        detail=alert.suppressed_by or "" if result == "suppressed" else "",
        alert=msgspec.Raw(raw),
    )


def of_pending(
    lane: Lane,
    pending: Pending,
    result: Result,
    now: float,
    *,
    due: float | None = None,
    bundle: str | None = None,
    message: str | None = None,
    size: int = 1,
    attempt: int = 0,
    reference: str | None = None,
    detail: str = "",
    answered: bool = False,
    carried: bool = False,
) -> Notification:
    """A decision about, or a try of, an alert that waits.

    `answered`: the try has ended now. `carried`: the record has the alert with it.
    """
    alert = pending.alert
    return Notification(
        destination=lane.destination.name,
        fingerprint=alert.fingerprint,
        alert_id=alert.id,
        started_at=alert.started_at,
        revision=alert.revision,
        status=alert.status,
        severity=alert.severity,
        result=result,
        at=stamp(now),
        partition=pending.partition,
        cause=pending.cause,
        reminder=pending.own if pending.cause == "repeat" else None,
        due=None if due is None else stamp(due),
        bundle=bundle or pending.bundle,
        message=message or pending.message,
        size=size,
        attempt=attempt,
        latency_ms=max(0, round((now - pending.since) * 1000)) if answered else None,
        reference=reference,
        detail=detail,
        alert=msgspec.Raw(pending.raw if carried else b"null"),
    )
