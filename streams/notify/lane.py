"""What one destination has been told, and what waits for it: the state behind the policy.

Only `Lane.apply` changes it, by ledger records, so that a restart which reads the ledger back ends
in the same state. Pure: no clock, no input or output.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from driftline.alerts import Alert
from streams.notify.ledger import Notification, seconds
from streams.notify.rules import Breaker, Destination

REMEMBERED = 100_000
"""Incidents remembered per destination; the longest untouched that are over go first."""

NOTHING = (-1, -1)
"""Below the order of every alert."""


@dataclass(slots=True, eq=False)
class Pending:
    """One alert that waits for its turn, or is being tried, at one destination."""

    alert: Alert
    raw: bytes
    partition: int
    cause: str
    own: str
    """Id of the message that tells it alone."""
    since: float
    due: float
    bundle: str | None = None
    message: str | None = None
    """Id of the message that is about to tell it; None: not tried yet."""
    attempts: int = 0
    first_try: float = 0.0

    @property
    def key(self) -> str:
        """Its place among what waits."""
        return self.own

    @property
    def gathering(self) -> bool:
        """Whether it waits for company or for its time, and nobody can have heard of it."""
        return self.message is None and self.bundle is not None


@dataclass(slots=True)
class Told:
    """The last that a destination heard of an incident."""

    status: str
    severity: str
    at: float
    root: str
    """Id of the first message about it."""
    key: str
    """What a pager keeps it under."""
    started_at: str = ""
    reference: str | None = None
    alert: Alert | None = None
    raw: bytes = b""


@dataclass(slots=True)
class Line:
    """One incident's fingerprint at one destination."""

    partition: int
    decided: tuple[int, int] = NOTHING
    """Order of the newest alert that was decided about."""
    told: Told | None = None
    ended: float = 0.0
    """When an end of the incident was last decided about; answers from before are not about this
    one."""
    passed_on: str = ""
    """Id of the acknowledgement that a pager knows of."""

    @property
    def firing(self) -> Told | None:
        """What was told, if the destination still believes that it fires."""
        return self.told if self.told is not None and self.told.status == "firing" else None


@dataclass(slots=True)
class Lane:
    """One destination."""

    destination: Destination
    lines: OrderedDict[str, Line] = field(default_factory=OrderedDict)
    pendings: OrderedDict[str, Pending] = field(default_factory=OrderedDict)
    queues: dict[str, list[Pending]] = field(default_factory=dict)
    """Fingerprint -> what waits of it, in order: nothing overtakes within one incident."""
    bundle_due: dict[str, float] = field(default_factory=dict)
    group_sent: dict[str, float] = field(default_factory=dict)
    arrivals: deque[float] = field(default_factory=deque)
    """When the latest firing alerts were taken in: what tells a storm."""
    reminders: list[tuple[float, str]] = field(default_factory=list)
    digests: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """At a pager: digest -> incidents told by it that still fire."""
    muted: dict[str, tuple[Alert, bytes]] = field(default_factory=dict)
    """Fingerprint -> the alert that was withheld because it is silenced, and its bytes."""
    breaker: Breaker = field(default_factory=Breaker)
    free_at: float = 0.0

    def line(self, fingerprint: str, partition: int) -> Line:
        """The incident's line, now the most recently touched."""
        line = self.lines.get(fingerprint)
        if line is None:
            line = self.lines[fingerprint] = Line(partition)
            self._forget_one()
        self.lines.move_to_end(fingerprint)
        line.partition = partition
        return line

    def _forget_one(self) -> None:
        if len(self.lines) <= REMEMBERED:
            return
        for fingerprint, line in self.lines.items():
            busy = fingerprint in self.queues or fingerprint in self.muted
            if line.firing is None and not busy:
                del self.lines[fingerprint]
                return

    def blocked(self, pending: Pending) -> bool:
        """Whether something of the same incident must go out before."""
        first = self.queues[pending.alert.fingerprint][0]
        return first is not pending and (first.message is None or first.message != pending.message)

    def members(self, message: str) -> list[Pending]:
        """What a message that is being tried tells."""
        return [p for p in self.pendings.values() if p.message == message]

    def forget(self, partition: int) -> None:
        """Drops what came from a partition of the alerts topic."""
        for pending in [p for p in self.pendings.values() if p.partition == partition]:
            self._remove(pending.key)
        for fingerprint in [f for f, line in self.lines.items() if line.partition == partition]:
            del self.lines[fingerprint]
            self.muted.pop(fingerprint, None)
            for open_ in self.digests.values():
                open_.discard(fingerprint)

    # -- the ledger ------------------------------------------------------------------------------

    def apply(self, record: Notification) -> None:
        """Takes in what a record says."""
        line = self.line(record.fingerprint, record.partition)
        if record.status == "resolved" and record.order > line.decided:
            line.ended = seconds(record.at)
        if record.revision:  # one of an alert
            line.decided = max(line.decided, record.order)
        self._mute(record)
        if record.result == "passed_on":
            line.passed_on = record.reminder or ""
        elif record.result == "waiting":
            self._wait(record)
        elif record.result == "sending":
            self._sending(record)
        elif record.result == "retried":
            self._retried(record)
        elif record.result == "delivered":
            self._delivered(line, record)
        else:
            self._remove(_key(record))
            if record.result == "covered" and line.told is not None:
                self._over(line.told, record.fingerprint)

    def _mute(self, record: Notification) -> None:
        """Keeps what is withheld by a silence, until something newer is decided about it."""
        known = self.muted.get(record.fingerprint)
        if record.result == "silenced":
            alert = record.carried()
            if alert is not None:
                self.muted[record.fingerprint] = alert, record.raw
        elif known is not None and record.order >= known[0].order:
            del self.muted[record.fingerprint]

    def _wait(self, record: Notification) -> None:
        due, known = seconds(record.due), self.pendings.get(_key(record))
        if known is not None:  # another time, or other company
            former, known.due, known.bundle = known.bundle, due, record.bundle
            if former is not None and not any(self.gathered(former)):
                self.bundle_due.pop(former, None)
        elif (alert := record.carried()) is not None:
            at = seconds(record.at)
            pending = Pending(
                alert,
                record.raw,
                record.partition,
                record.cause,
                _key(record),
                at,
                due,
                record.bundle,
            )
            self.pendings[pending.key] = pending
            self.queues.setdefault(record.fingerprint, []).append(pending)
            if record.cause == "alert" and record.status == "firing":
                self.arrivals.append(at)
        if record.bundle is not None:
            self.bundle_due.setdefault(record.bundle, due)

    def _sending(self, record: Notification) -> None:
        pending = self.pendings.get(_key(record))
        if pending is not None:
            self.begun(pending, record.message)

    def begun(self, pending: Pending, message: str | None) -> None:
        """It is part of a message now; what comes to its bundle later is for the next one."""
        pending.message = message
        if pending.bundle is not None:
            self.bundle_due.pop(pending.bundle, None)

    def _retried(self, record: Notification) -> None:
        at = seconds(record.at)
        mine = self.pendings.get(_key(record))
        tried = self.members(record.message or "")
        if mine is not None and mine not in tried:
            tried.append(mine)
        for pending in tried:
            self.begun(pending, record.message)
            pending.attempts = record.attempt
            pending.first_try = pending.first_try or at
            pending.due = seconds(record.due)

    def _delivered(self, line: Line, record: Notification) -> None:
        pending = self._remove(_key(record))
        at, before = seconds(record.at), line.told
        message = record.message or record.alert_id
        if record.bundle is not None:
            self.bundle_due.pop(record.bundle, None)
            self.group_sent[record.bundle] = at
        told = Told(
            record.status,
            record.severity,
            at,
            message,
            record.fingerprint,
            record.started_at,
            record.reference,
        )
        if before is not None and (
            before.status == "firing" or before.started_at == record.started_at
        ):  # one thread, one key, per incident
            told.root, told.key = before.root, before.key
            told.reference = before.reference or record.reference
        elif record.size > 1 and self.destination.traits.pager:
            told.key = message
        if pending is not None and told.status == "firing":
            told.alert, told.raw = pending.alert, pending.raw
        line.told = told
        if told.status != "firing":
            self._over(told, record.fingerprint)
            return
        if told.key != record.fingerprint:
            self.digests[told.key].add(record.fingerprint)
        if self.destination.repeat_s is not None:
            heapq.heappush(self.reminders, (at + self.destination.repeat_s, record.fingerprint))

    def _over(self, told: Told, fingerprint: str) -> None:
        told.status = "resolved"
        if told.key in self.digests:
            self.digests[told.key].discard(fingerprint)
            if not self.digests[told.key]:
                del self.digests[told.key]

    def _remove(self, key: str) -> Pending | None:
        pending = self.pendings.pop(key, None)
        if pending is None:
            return None
        queue = self.queues[pending.alert.fingerprint]
        queue.remove(pending)
        if not queue:
            del self.queues[pending.alert.fingerprint]
        bundle = pending.bundle
        if bundle is not None and pending.message is None and not any(self.gathered(bundle)):
            self.bundle_due.pop(bundle, None)
        return pending

    def gathered(self, bundle: str) -> Iterator[Pending]:
        """What waits together and was not tried yet."""
        return (p for p in self.pendings.values() if p.bundle == bundle and p.message is None)


def _key(record: Notification) -> str:
    """A reminder is known by its own id, an alert by the alert's."""
    return record.reminder or record.alert_id
