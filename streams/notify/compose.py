"""Messages out of what waits at a destination. Pure."""

from __future__ import annotations

import uuid
from typing import cast

from streams.notify.api import Cause, Message, Part
from streams.notify.lane import Lane, Pending
from streams.notify.ledger import Notification
from streams.notify.records import of_alert


def first_due(lane: Lane, now: float) -> list[Pending]:
    """What goes out next: one alert, all of a bundle, or a message that is tried again."""
    for pending in lane.pendings.values():
        if pending.due > now or lane.blocked(pending):
            continue
        if pending.message is not None:
            return lane.members(pending.message)
        if pending.bundle is not None:
            return [p for p in lane.gathered(pending.bundle) if not lane.blocked(p)]
        return [pending]
    return []


def composed(lane: Lane, pendings: list[Pending]) -> Message:
    """The message about these alerts; its id depends on nothing but them and the destination."""
    first = pendings[0]
    parts = tuple(_part(lane, pending) for pending in pendings)
    if len(pendings) == 1:
        cause = "repeat" if first.cause == "repeat" else "alert"
        return Message(first.message or first.own, parts, cast("Cause", cause))
    names = ",".join(sorted(p.own for p in pendings))
    digest = f"driftline:{lane.destination.name}:{names}"
    own = first.message or str(uuid.uuid5(uuid.NAMESPACE_URL, digest))
    return Message(own, parts, "digest")


def _part(lane: Lane, pending: Pending) -> Part:
    alert = pending.alert
    told = lane.lines[alert.fingerprint].told
    if told is None or (told.status != "firing" and told.started_at != alert.started_at):
        return Part(alert, pending.raw, pending.partition, key=alert.fingerprint)
    severity = told.severity if told.status == "firing" else None
    return Part(
        alert, pending.raw, pending.partition, told.root, told.reference, severity, told.key
    )


def told_anyway(
    lane: Lane, message: Message, now: float, reference: str | None
) -> list[Notification]:
    """Records of a message that was taken after its partition had gone: who has it may see them."""
    return [
        of_alert(
            lane,
            part.alert,
            part.partition,
            "delivered",
            now,
            reminder=message.id if message.cause == "repeat" else None,
            message=message.id,
            size=len(message.parts),
            reference=reference,
        )
        for part in message.parts
    ]
