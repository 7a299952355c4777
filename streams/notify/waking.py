"""What comes by itself with time: reminders, ends of silences, acknowledgements for pagers. Pure.

As in `policy`, records that are returned are already applied.
"""

from __future__ import annotations

import heapq
import uuid

from streams.notify.answers import Answers, Said
from streams.notify.lane import Lane, Told
from streams.notify.ledger import Notification, stamp
from streams.notify.records import of_alert
from streams.notify.schedule import plan


def remind(lane: Lane, answers: Answers, now: float) -> list[Notification]:
    """Reminders that are due of what still fires, unless somebody took it or it is silent."""
    records = []
    repeat_s = lane.destination.repeat_s
    while repeat_s is not None and lane.reminders and lane.reminders[0][0] <= now:
        due, fingerprint = heapq.heappop(lane.reminders)
        line = lane.lines.get(fingerprint)
        told = line.firing if line is not None else None
        if line is None or told is None or told.at + repeat_s > due + 1e-3:
            continue
        if told.alert is None or fingerprint in lane.queues:
            continue
        if answers.acknowledged(fingerprint, line.ended, now):
            continue
        silent = answers.silent_until(told.alert, now)
        if silent is not None:
            heapq.heappush(lane.reminders, (silent, fingerprint))
            continue
        bundle = None
        if lane.destination.grouping is not None:
            bundle = lane.destination.grouping.key(told.alert)
        own = str(uuid.uuid5(uuid.NAMESPACE_URL, f"driftline:{told.alert.id}:{stamp(told.at)}"))
        record = of_alert(
            lane, told.alert, line.partition, "waiting", now,
            due=now, bundle=bundle, raw=told.raw, reminder=own,
        )  # fmt: skip
        lane.apply(record)
        records.append(record)
    return records


def unmute(lane: Lane, answers: Answers, now: float) -> list[Notification]:
    """What was withheld in a silence that is over, and fires on: it is told now."""
    records = []
    for fingerprint, (alert, raw) in list(lane.muted.items()):
        if answers.silent_until(alert, now) is not None:
            continue
        line = lane.line(fingerprint, lane.lines[fingerprint].partition)
        told = line.firing
        if told is not None and told.alert is not None and told.alert.id == alert.id:
            del lane.muted[fingerprint]  # known already: what was silent is its reminder
            heapq.heappush(lane.reminders, (now, fingerprint))
            continue
        due, bundle = plan(lane, alert, line, None, now)
        record = of_alert(
            lane, alert, line.partition, "waiting", now, due=due, bundle=bundle, raw=raw
        )
        lane.apply(record)
        records.append(record)
    return records


def next_unmuted(lane: Lane, answers: Answers, now: float) -> float | None:
    """When the first silence ends that withholds something here; None: there is none."""
    ends = (answers.silent_until(alert, now) or now for alert, _ in lane.muted.values())
    return min(ends, default=None)


def to_pass_on(lane: Lane, answers: Answers, now: float) -> tuple[str, Told, Said] | None:
    """(fingerprint, what the pager was told, who took it): an acknowledgement it was not told.

    A storm's page is about many incidents: who took one of them did not take the page.
    """
    for fingerprint in answers.taken:
        line = lane.lines.get(fingerprint)
        told = line.firing if line is not None else None
        if line is None or told is None or told.key != fingerprint or told.reference is None:
            continue
        said = answers.acknowledged(fingerprint, line.ended, now)
        if said is not None and line.passed_on != said.id:
            return fingerprint, told, said
    return None


def passed_on(
    lane: Lane, owed: tuple[str, Told, Said], now: float, *, problem: str = ""
) -> Notification:
    """The record that a pager knows, or will not be told, who took an incident."""
    fingerprint, told, said = owed
    record = Notification(
        destination=lane.destination.name,
        fingerprint=fingerprint,
        alert_id=told.root,
        started_at=told.started_at,
        revision=0,
        status="firing",
        severity=told.severity,
        result="passed_on",
        at=stamp(now),
        partition=lane.lines[fingerprint].partition,
        cause="acknowledge",
        reminder=said.id,
        message=told.reference,
        detail=problem or f"acknowledged by {said.who}"[:200],
    )
    lane.apply(record)
    return record
