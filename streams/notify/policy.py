"""What is told to whom, and when: every decision of the notifier, without a clock or a network.

    alerts, commands ──► NotifyState ──► ledger records (decisions)
    time ──────────────►             ──► messages, one at a time for each destination
    outcomes of tries ─►

Each method that decides returns the records that say so, already applied; the caller writes them
to the ledger. `open` applies them again after a restart. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from driftline.alerts import Alert, Command
from driftline.errors import DeliveryError
from streams.notify.answers import Answers
from streams.notify.api import Message
from streams.notify.compose import composed, first_due, told_anyway
from streams.notify.lane import Lane, Line, Pending
from streams.notify.ledger import Notification, Result
from streams.notify.records import of_alert, of_pending
from streams.notify.rules import Destination
from streams.notify.schedule import plan, stormy
from streams.notify.waking import next_unmuted, remind, unmute


class NotifyState:
    """All destinations. Not shared between event loops."""

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self.lanes = {d.name: Lane(d) for d in destinations}
        self.answers = Answers()

    # -- partitions of the alerts topic ----------------------------------------------------------

    def open(self, partition: int, ledger: Iterable[Notification]) -> None:
        """Takes a partition over: what its ledger says replaces what was known of it."""
        self.close(partition)
        for record in ledger:
            if record.partition == partition and record.destination in self.lanes:
                self.lanes[record.destination].apply(record)

    def close(self, partition: int) -> None:
        """Forgets a partition: another worker has it."""
        for lane in self.lanes.values():
            lane.forget(partition)

    # -- what comes in ---------------------------------------------------------------------------

    def receive(self, alert: Alert, raw: bytes, partition: int, now: float) -> list[Notification]:
        """One alert event: a decision for each destination, none for what was decided before."""
        records: list[Notification] = []
        for lane in self.lanes.values():
            records += self._decide(lane, alert, raw, partition, now)
        return records

    def command(self, command: Command, at: float) -> None:
        """One operator's command, and when it was given. What follows is decided by `next`."""
        self.answers.take(command, at)

    def _decide(
        self, lane: Lane, alert: Alert, raw: bytes, partition: int, now: float
    ) -> list[Notification]:
        line = lane.lines.get(alert.fingerprint)
        if line is not None and alert.order <= line.decided:
            return []
        line = line or Line(partition)
        waiting = lane.queues.get(alert.fingerprint, [])
        gathering = [p for p in waiting if p.gathering]
        started = [p for p in waiting if not p.gathering]
        result = _withheld(lane.destination, line, alert, heard=bool(started))
        records = [
            of_pending(lane, p, "superseded", now, detail=f"by revision {alert.revision}")
            for p in gathering
        ]
        if result is None and self._silent(alert, now):
            result = "silenced"
        if result is None and len(lane.pendings) - len(gathering) >= lane.destination.limit:
            result = "overflow"
        if result is not None:
            carried = raw if result == "silenced" else b"null"
            records.append(of_alert(lane, alert, partition, result, now, raw=carried))
            return _applied(lane, records)
        relabelled = []
        if not stormy(lane, now) and stormy(lane, now, one_more=alert.status == "firing"):
            relabelled = self._gather_storm(lane, now, gathering)
        due, bundle = plan(lane, alert, line, gathering[0] if gathering else None, now)
        waits = of_alert(lane, alert, partition, "waiting", now, due=due, bundle=bundle, raw=raw)
        return _applied(lane, [*records, *relabelled, waits])

    def _gather_storm(self, lane: Lane, now: float, except_: list[Pending]) -> list[Notification]:
        """A storm begins: what waits in groups goes into its digest."""
        assert lane.destination.storm is not None
        due = lane.bundle_due.get("storm", now + lane.destination.storm.within_s)
        return [
            of_pending(lane, p, "waiting", now, due=due, bundle="storm")
            for p in lane.pendings.values()
            if p.gathering and str(p.bundle).startswith("group:") and p not in except_
        ]

    # -- what goes out ---------------------------------------------------------------------------

    def next(self, name: str, now: float) -> tuple[Message | None, list[Notification]]:
        """What a destination should be sent now, and the decisions made on the way.

        The records must be in the ledger before a message about several alerts is tried: they say
        what is in it, so that a repeat after a crash is the same message.
        """
        lane = self.lanes[name]
        if lane.breaker.open(now) or now < lane.free_at:
            return None, []
        records = unmute(lane, self.answers, now) + remind(lane, self.answers, now)
        while True:
            chosen = first_due(lane, now)
            if not chosen:
                return None, records
            kept = []
            for pending in chosen:
                drop = None if pending.message else self._dropped(lane, pending, now)
                if drop is None:
                    kept.append(pending)
                else:
                    carried = drop == "silenced"
                    record = of_pending(lane, pending, drop, now, carried=carried)
                    records += _applied(lane, [record])
            if kept:
                message = composed(lane, kept)
                for pending in kept:
                    if len(kept) > 1 and pending.message is None:
                        record = of_pending(
                            lane, pending, "sending", now, message=message.id, size=len(kept)
                        )
                        records += _applied(lane, [record])
                    lane.begun(pending, message.id)
                return message, records

    def next_due(self, name: str, now: float) -> float | None:
        """When `next` may have something to send; None: not before something comes in."""
        lane = self.lanes[name]
        dues = [p.due for p in lane.pendings.values() if not lane.blocked(p)]
        dues += [lane.reminders[0][0]] if lane.reminders else []
        unmuted = next_unmuted(lane, self.answers, now)
        dues += [] if unmuted is None else [unmuted]
        if not dues:
            return None
        return max(min(dues), lane.breaker.open_until, lane.free_at, now)

    def settled(
        self,
        name: str,
        message: Message,
        error: DeliveryError | None,
        now: float,
        *,
        reference: str | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> list[Notification]:
        """What came of a try. Every member of a message that is dead has a record of its own."""
        lane = self.lanes[name]
        lane.free_at = now + lane.destination.pace_s
        members = lane.members(message.id)
        if not members and message.id in lane.pendings:
            members = [lane.pendings[message.id]]  # its partition was opened anew meanwhile
            lane.begun(members[0], message.id)
        if error is None:
            lane.breaker.worked()
            if not members:
                return told_anyway(lane, message, now, reference)
            told = partial(
                of_pending,
                lane,
                result="delivered",
                now=now,
                attempt=members[0].attempts + 1,
                size=len(message.parts),
                reference=reference,
                answered=True,
            )
            return _applied(lane, [told(p) for p in members])
        if error.retriable:
            lane.breaker.failed(now, error.retry_after_s)
        else:
            lane.breaker.worked()
        if not members:
            return []
        wait_s = _wait_s(lane, members[0], error, now, jitter)
        result: Result = "retried" if wait_s is not None else _death(error)
        end = partial(
            of_pending,
            lane,
            result=result,
            now=now,
            attempt=members[0].attempts + 1,
            size=len(members),
            due=None if wait_s is None else now + wait_s,
            detail=str(error)[:300],
            answered=True,
        )
        records = [end(p) for p in (members[:1] if result == "retried" else members)]
        return _applied(lane, records)

    def firing(self, name: str) -> list[Alert]:
        """What a destination was told of and believes to fire."""
        lines = self.lanes[name].lines.values()
        return [t.alert for line in lines if (t := line.firing) is not None and t.alert]

    def _dropped(self, lane: Lane, pending: Pending, now: float) -> Result | None:
        """Whether what waited so long need not be told any more."""
        fingerprint = pending.alert.fingerprint
        line = lane.lines[fingerprint]
        told = line.firing
        if pending.alert.status == "resolved":
            if told is None:
                return "never_told"
            others = lane.digests.get(told.key, set()) - {fingerprint}
            return "covered" if others else None
        waited = pending.cause == "repeat" or str(pending.bundle).startswith("after:")
        if waited and self.answers.acknowledged(fingerprint, line.ended, now):
            return "acknowledged"
        return "silenced" if self._silent(pending.alert, now) else None

    def _silent(self, alert: Alert, now: float) -> bool:
        return alert.status == "firing" and self.answers.silent_until(alert, now) is not None


def _withheld(destination: Destination, line: Line, alert: Alert, *, heard: bool) -> Result | None:
    """Why a destination is not told; None: it is. `heard`: it may be hearing of it right now."""
    told = line.firing is not None
    if alert.status == "resolved":
        if not told and not heard:
            return "never_told" if destination.wants(alert) else "unmatched"
        return None if destination.resolved else "unwanted"
    if alert.suppressed_by is not None:
        return "suppressed"
    if not told and not destination.wants(alert):
        return "unmatched"
    return None


def _applied(lane: Lane, records: list[Notification]) -> list[Notification]:
    for record in records:
        lane.apply(record)
    return records


def _wait_s(
    lane: Lane, pending: Pending, error: DeliveryError, now: float, jitter: Callable[[], float]
) -> float | None:
    """Seconds to the next try; None: there is none."""
    retry, failures = lane.destination.retry, pending.attempts + 1
    if not error.retriable or failures >= retry.attempts:
        return None
    wait_s = max(jitter() * retry.bound_s(failures), error.retry_after_s or 0.0)
    begins = max(now + wait_s, lane.breaker.open_until)
    deadline = (pending.first_try or now) + retry.give_up_s
    return None if begins > deadline else wait_s


def _death(error: DeliveryError) -> Result:
    return "exhausted" if error.retriable else "refused"
