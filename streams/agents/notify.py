"""notify: a decision about each alert at every destination, in the ledger; sending goes by itself.

The offset moves on when the decisions are in the ledger, which also holds what waits: a
destination that hangs for hours delays neither the offset nor the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from driftline.alerts import Alert, decode_alert
from driftline.errors import ContractError
from streams.agents.answers import CommandFeed
from streams.agents.ledger import KafkaLedger
from streams.kafka.batches import Batch
from streams.notify.delivery import Engine
from streams.notify.ledger import Notification, encode
from streams.rows.dead_letters import dead_letter_headers
from streams.session import Headers, Outbox, Session, Stage
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics

NEVER_KEPT = 2**62
"""A saved position no session has reached: after a rebalance each is opened anew, from the ledger,
because `closed` made the engine forget what waits."""


@dataclass(slots=True)
class CatchUp:
    """A group that never read before is told of what fires, not of a month of history."""

    end: int
    """Where the alerts ended when the session was opened; 0: read on as usual."""
    newest: dict[str, tuple[Alert, bytes]] = field(default_factory=dict)

    def hold(self, offset: int, alert: Alert, raw: bytes) -> bool:
        """Keeps an alert of the past; False: it is none."""
        if offset >= self.end:
            return False
        known = self.newest.get(alert.fingerprint)
        if known is None or alert.order > known[0].order:
            self.newest[alert.fingerprint] = (alert, raw)
        return True

    def firing(self, position: int) -> list[tuple[Alert, bytes]]:
        """What fires, once `position` has reached the end of the past; then nothing any more."""
        if not self.end or position < self.end:
            return []
        self.end = 0
        newest, self.newest = self.newest, {}
        return [(alert, raw) for alert, raw in newest.values() if alert.status == "firing"]


class GivenUp:
    """Dead-letters an alert that a destination would not take."""

    def __init__(self, outbox: Outbox, topics: Topics) -> None:
        self._outbox = outbox
        self._topics = topics

    async def __call__(self, record: Notification, raw: bytes) -> None:
        """Returns when the dead letter is on the broker."""
        key, headers = record.fingerprint.encode(), undelivered(record, self._topics.alerts)
        await (await self._outbox.send(self._topics.deadletters, None, raw, key, headers))


def undelivered(record: Notification, alerts: str) -> Headers:
    """Headers of the dead letter of an alert that a destination did not get."""
    return [
        ("reason", b"undelivered"),
        ("detail", (record.detail or record.result).encode("utf-8", "replace")),
        ("topic", alerts.encode()),
        ("destination", record.destination.encode()),
    ]


class Notify(Stage):
    """Its state is the ledger; the group's offset says how far decisions have come."""

    name = "notify"

    def __init__(
        self,
        outbox: Outbox,
        telemetry: Telemetry,
        topics: Topics,
        engine: Engine,
        *,
        ledger: KafkaLedger,
        answers: CommandFeed,
    ) -> None:
        super().__init__(outbox, telemetry)
        self.topics = (topics.alerts,)
        self._names = topics
        self._engine = engine
        self._ledger = ledger
        self._answers = answers

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """Reads commands and the ledger back, and the alerts on at the group's offset."""
        await self._answers.caught_up()
        ledgers, ends = await self._ledger.read(tp.partition for tp in tps)
        sessions = {}
        for tp, (offset, metadata) in tps.items():
            self._engine.open(tp.partition, ledgers[tp.partition])
            past = CatchUp(0 if metadata else ends[tp.partition])
            sessions[tp] = Session(tp, offset, core=past, saved=offset)
        return sessions

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """Beyond every session: none is kept over a rebalance."""
        return dict.fromkeys(tps, NEVER_KEPT)

    def closed(self, session: Session) -> None:
        """The partition goes to another worker, with all that waits."""
        self._engine.close(session.tp.partition)

    def arrival(self, _session: Session) -> int | None:
        """Notify sends no frames."""
        return None

    def sources(self) -> Mapping[str, int]:
        """Notify sends no frames."""
        return {}

    async def step(self, session: Session, batch: Batch) -> None:
        """Decides about each alert; the decisions go to the ledger before the offset moves."""
        past: CatchUp = session.core
        for record in batch.records:
            if record.value is None:
                continue
            try:
                alert = decode_alert(record.value)
            except ContractError as error:
                await self._dead_letter(session, record, error)
                continue
            if not past.hold(record.offset, alert, record.value):
                for held, raw in past.firing(record.offset):
                    await self._receive(session, held, raw)
                await self._receive(session, alert, record.value)
        for held, raw in past.firing(batch.next_offset):
            await self._receive(session, held, raw)
        session.position = batch.next_offset

    async def _receive(self, session: Session, alert: Alert, raw: bytes) -> None:
        for record in self._engine.receive(alert, raw, session.tp.partition):
            if record.result == "overflow":
                headers = undelivered(record, self._names.alerts)
                dead, key = self._names.deadletters, record.fingerprint.encode()
                await self.send(session, dead, raw, key=key, headers=headers)
            await self.send(
                session,
                self._names.notifications,
                encode(record),
                partition=self._ledger.place(record),
                key=record.key,
            )

    async def _dead_letter(self, session: Session, record: Any, error: ContractError) -> None:
        headers = dead_letter_headers(session.tp, record.offset, error.reason, error.detail)
        dead = self._names.deadletters
        await self.send(session, dead, record.value, key=record.key, headers=headers)

    def due(self, session: Session, _now: float) -> bool:
        """Every tick, but not within the past that is read before anything is decided."""
        return session.position > session.saved and not session.core.end

    async def checkpoint(self, session: Session) -> None:
        """Settles, then names the offset; within the past nothing is decided yet."""
        if session.core.end:
            return
        position = session.position
        await self.settle(session)
        session.saved = position
        self.commit(session.tp, position, "decided")
