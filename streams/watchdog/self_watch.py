"""The worker watches itself: looks at its partitions once a second, publishes `pipeline` alerts.

    sessions, tally ──► Vitals ──► Examiner ──► PipelineAlerts ──► driftline.alerts ──► notify

The alerts topic itself is the memory: after a start and after each rebalance the worker reads what
is new there, and goes on with the incidents of the partitions it now has. Best effort, and outside
every promise of equality: an alert that could not be sent is tried again until the process ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from detectors.flow.clock import ArrivalClock
from driftline.alerts import PIPELINE_MODEL, Alert, decode_alert, encode
from driftline.errors import ContractError
from streams.config import WorkerSettings
from streams.session import Outbox, Session, Stage, log_name
from streams.state.log_reader import consumer, records_from
from streams.telemetry.telemetry import Telemetry
from streams.telemetry.vitals import PartitionVitals, Vitals
from streams.watchdog.alerts import PipelineAlerts, key_of
from streams.watchdog.rules import Examiner, Key, rules

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 30.0
_MARK = f'"{PIPELINE_MODEL}"'.encode()


class OpenSessions(Protocol):
    """Who knows the open sessions, with the end of each log as Fetch last gave it."""

    def open_sessions(self) -> list[tuple[Stage, Session, int | None]]:
        """Those of this moment."""


class SelfWatch:
    """One worker's watch over itself.

    Args:
        sessions: who knows the open sessions.
        telemetry: whose tally is looked at, and which shows what fires.
        outbox: where alerts go.
        bootstrap: the broker, to read the alerts topic back.
        topic: the alerts topic.
        timing: the worker's settings.
        monotonic: seconds that never go back.
        wall_ms: the arrival that a record would have now.
    """

    def __init__(
        self,
        sessions: OpenSessions,
        telemetry: Telemetry,
        outbox: Outbox,
        *,
        bootstrap: Sequence[str],
        topic: str,
        timing: WorkerSettings,
        monotonic: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._sessions = sessions
        self._telemetry = telemetry
        self._outbox = outbox
        self._bootstrap = list(bootstrap)
        self._topic = topic
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        interval_s = timing.checkpoint_interval_s
        self._examiner = Examiner(interval_s, wall_clock=timing.clock == "broker")
        self._alerts = PipelineAlerts(
            rules(timing.session_timeout_s, timing.rebalance_timeout_s, interval_s)
        )
        self._mine: frozenset[str] = frozenset()
        self._known: dict[str, Alert] = {}
        self._read_to: dict[int, int] = {}
        self._unsent: list[Alert] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def tick(self) -> None:
        """One look. Never raises and never waits: what takes time goes on in tasks of its own."""
        try:
            self._look()
        except Exception:  # whatever is wrong with the watch, the work must go on
            log.exception("the worker could not look at itself")

    def _look(self) -> None:
        now = self._monotonic()
        sessions = self._sessions.open_sessions()
        mine = frozenset(log_name(session.tp) for _, session, _ in sessions)
        self._assigned(mine)
        seen = tuple(_vitals(*each, now) for each in sessions)
        for partition in seen:
            if partition.clock is not None:
                self._telemetry.clock(partition.stage, partition.log, partition.clock)
        vitals = Vitals(seen, self._telemetry.tally.counts.copy(), self._wall_ms())
        bad = self._examiner.examine(vitals, now)
        for alert in self._alerts.step(bad, now, vitals.wall_ms):
            say = log.warning if alert.status == "firing" else log.info
            say("pipeline %s: %s", alert.signal, alert.summary)
            self._unsent.append(alert)
        self._telemetry.troubles((key.stage, key.signal) for key in self._alerts.firing)
        if self._unsent:
            self._begin("send", self._send)

    async def stop(self) -> None:
        """Ends what is under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _assigned(self, mine: frozenset[str]) -> None:
        if mine == self._mine:
            return
        for gone in self._mine - mine:
            self._alerts.drop(gone)
            self._examiner.drop(gone)
        self._mine = mine
        self._begin("recall", self._recall)

    def _begin(self, name: str, act: Callable[[], Any]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.create_task(act())

    # -- what was said before ------------------------------------------------------------------

    async def _recall(self) -> None:
        """Reads what is new on the alerts topic, and takes on the incidents of our partitions."""
        mine: frozenset[str] | None = None
        while mine != self._mine:
            mine = self._mine
            try:
                async with consumer(self._bootstrap) as reader:
                    await self._read(reader)
            except (KafkaError, OSError, TimeoutError) as away:
                log.warning("cannot read back pipeline alerts yet: %s", away)
                await asyncio.sleep(5.0)
                mine = None
                continue
            for alert in self._known.values():
                if alert.status == "firing" and self._is_ours(key_of(alert)):
                    self._alerts.adopt(alert)

    async def _read(self, reader: AIOKafkaConsumer) -> None:
        there = await reader._client.fetch_all_metadata()  # noqa: SLF001  no public way
        for partition in sorted(there.partitions_for_topic(self._topic) or ()):
            tp, start = TopicPartition(self._topic, partition), self._read_to.get(partition, 0)
            async for batch in records_from(reader, tp, start):
                for record in batch:
                    self._note(record.value)
                    self._read_to[partition] = record.offset + 1

    def _note(self, value: bytes | None) -> None:
        if value is None or _MARK not in value:
            return
        try:
            alert = decode_alert(value)
        except ContractError:
            return  # the notifier dead-letters it
        known = self._known.get(alert.fingerprint)
        if alert.model == PIPELINE_MODEL and (known is None or alert.order > known.order):
            self._known[alert.fingerprint] = alert

    def _is_ours(self, key: Key) -> bool:
        """Whether we have the log it is about; what is about none goes with detect's first."""
        if key.where in self._mine:
            return True
        if "/" in key.where:
            return False
        return any(
            stage.name == "detect" and session.tp.partition == 0
            for stage, session, _ in self._sessions.open_sessions()
        )

    # -- what is said --------------------------------------------------------------------------

    async def _send(self) -> None:
        """Sends what is unsent in order; what fails is tried again at the next look."""
        while self._unsent:
            alert = self._unsent[0]
            headers = [
                ("content-type", b"application/json"),
                ("driftline_status", alert.status.encode()),
                ("driftline_severity", alert.severity.encode()),
            ]
            key = alert.fingerprint.encode()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await (await self._outbox.send(self._topic, None, encode(alert), key, headers))
            except Exception as error:  # the producer raises library errors of several trees here
                log.warning("a pipeline alert could not be sent yet: %r", error)
                return
            self._unsent.pop(0)
            self._known[alert.fingerprint] = alert
            self._telemetry.alert(alert)


def _vitals(stage: Stage, session: Session, end: int | None, now: float) -> PartitionVitals:
    clock = stage.clock(session)
    slowest, behind_ms = "", None
    if clock is not None:
        slowest, behind_ms = _laggard(clock)
    due = session.position > session.saved and session.saved_at > 0
    return PartitionVitals(
        stage=stage.name,
        log=log_name(session.tp),
        lag=None if end is None else max(0, end - session.position),
        in_gap=len(session.receiver.missing),
        overdue_s=max(0.0, now - session.saved_at) if due and clock is not None else 0.0,
        clock=None if clock is None else clock.now,
        slowest=slowest,
        behind_ms=behind_ms,
    )


def _laggard(clock: ArrivalClock) -> tuple[str, int | None]:
    """The log that holds a clock, and by how much; empty: it waits for none."""
    if clock.waiting:
        return clock.waiting[0], None
    reached = clock.reached
    if not reached:
        return "", None
    slowest = min(reached, key=lambda log: (reached[log], log))
    return slowest, max(reached.values()) - reached[slowest]
