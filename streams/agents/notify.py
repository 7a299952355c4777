"""notify: each alert to every destination that wants it; what nobody took is dead-lettered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from driftline.alerts import Alert, decode_alert
from driftline.errors import ContractError, DeliveryError
from streams.dead_letters import dead_letter_headers
from streams.notify.delivery import Fanout
from streams.session import Outbox, Session, Stage
from streams.telemetry import Telemetry
from streams.topics import Topics
from streams.transport import Batch


class GivenUp:
    """Dead-letters an alert that a destination would not take."""

    def __init__(self, outbox: Outbox, topics: Topics) -> None:
        self._outbox = outbox
        self._topics = topics

    async def __call__(
        self, destination: str, alert: Alert, raw: bytes, error: DeliveryError
    ) -> None:
        """Returns when the dead letter is on the broker."""
        headers = [
            ("reason", b"undelivered"),
            ("detail", str(error)[:300].encode("utf-8", "replace")),
            ("topic", self._topics.alerts.encode()),
            ("destination", destination.encode()),
        ]
        key = alert.fingerprint.encode()
        await (await self._outbox.send(self._topics.deadletters, None, raw, key, headers))


class Notify(Stage):
    """Stateless: the group's offset is the checkpoint, so an alert is sent at least once."""

    name = "notify"

    def __init__(
        self, outbox: Outbox, telemetry: Telemetry, topics: Topics, fanout: Fanout
    ) -> None:
        super().__init__(outbox, telemetry)
        self.topics = (topics.alerts,)
        self._fanout = fanout
        self._dead_letters = topics.deadletters

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """Reads on at the group's offset."""
        return {tp: Session(tp, offset, saved=offset) for tp, (offset, _) in tps.items()}

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """The group's offsets."""
        return {tp: offset for tp, (offset, _) in tps.items()}

    def arrival(self, _session: Session) -> int | None:
        """Notify sends no frames."""
        return None

    def sources(self) -> Mapping[str, int]:
        """Notify sends no frames."""
        return {}

    async def step(self, session: Session, batch: Batch) -> None:
        """Hands the alerts over; the offset moves when all destinations took them or gave up."""
        deliveries = []
        for record in batch.records:
            if record.value is None:
                continue
            try:
                alert = decode_alert(record.value)
            except ContractError as error:
                await self._dead_letter(session, record, error)
                continue
            deliveries.append(self._fanout.deliver(alert, record.value))
        await asyncio.gather(*deliveries)
        session.position = batch.next_offset

    async def _dead_letter(self, session: Session, record: Any, error: ContractError) -> None:
        headers = dead_letter_headers(session.tp, record.offset, error.reason, error.detail)
        await self.send(session, self._dead_letters, record.value, key=record.key, headers=headers)

    def due(self, session: Session, _now: float) -> bool:
        """Every tick."""
        return session.position > session.saved

    async def checkpoint(self, session: Session) -> None:
        """Settles, then names the offset."""
        position = session.position
        await self.settle(session)
        session.saved = position
        self.commit(session.tp, position, "delivered")
