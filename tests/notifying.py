"""What tests of the notifier share: alerts, scripted destinations, a clock, and a whole engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from driftline.alerts import Alert, DetectorRef, Statistic, alert_id, encode
from streams.notify.api import Clock, Message, Notifier, Part
from streams.notify.delivery import Engine
from streams.notify.ledger import Notification, decode
from streams.notify.ledger import encode as encode_record
from streams.notify.rules import Destination, Retry
from streams.telemetry.telemetry import Telemetry

NOW = 1_793_500_000.0
QUICK = Retry(attempts=3, give_up_s=60.0, first_s=0.5, most_s=4.0)


class FakeClock:
    """Time that passes only in `sleep`, which notes how long it was asked for."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds
        await asyncio.sleep(0)


def make_alert(n: int = 1, *, revision: int = 1, severity: str = "warning", **more: Any) -> Alert:
    fingerprint = f"{n:032x}"
    return Alert(
        **{
            "id": alert_id(fingerprint, 1_793_500_000_000, revision),
            "fingerprint": fingerprint,
            "revision": revision,
            "status": "firing",
            "reason": "opened" if revision == 1 else "escalated",
            "severity": severity,
            "kind": "concept_drift",
            "model": "fraud",
            "version": "v1",
            "signal": "error",
            "rule": "drift",
            "detector": DetectorRef("adwin"),
            "statistic": Statistic("error", 0.3),
            "started_at": "2026-11-01T06:26:40.000Z",
            "detected_at": "2026-11-01T07:00:00.000Z",
            "summary": "error rose from 0.1 to 0.3",
            **more,
        }
    )


def resolved(n: int = 1, *, revision: int = 2, reason: str = "recovered", **more: Any) -> Alert:
    more |= {"status": "resolved", "reason": reason, "ended_at": "2026-11-01T08:00:00.000Z"}
    return make_alert(n, revision=revision, **more)


def message(alert: Alert, **more: Any) -> Message:
    """A message about one alert of which nothing was told before."""
    part = Part(alert, encode(alert), key=alert.fingerprint)
    return replace(Message(alert.id, (part,)), **more)


class Scripted:
    """A notifier that follows a script: None accepts, an error is raised, a float waits."""

    def __init__(self, name: str, script: Sequence[object] = (None,)) -> None:
        self.name = name
        self.script = list(script)
        self.messages: list[Message] = []
        self.closed = False

    @property
    def sent(self) -> list[Alert]:
        return [part.alert for message in self.messages for part in message.parts]

    async def send(self, message: Message) -> str | None:
        self.messages.append(message)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
        return f"ref-{len(self.messages)}"

    async def close(self) -> None:
        self.closed = True


class MemoryLedger:
    """Keeps records as bytes, as the broker would."""

    def __init__(self) -> None:
        self.bytes: list[bytes] = []
        self.failures = 0

    async def write(self, records: Sequence[Notification]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no broker")
        self.bytes += [encode_record(r) for r in records]

    @property
    def records(self) -> list[Notification]:
        return [decode(value) for value in self.bytes]

    def results(self, destination: str) -> list[str]:
        return [r.result for r in self.records if r.destination == destination]


class Bench:
    """An engine with a clock of its own and a list of what was given up."""

    def __init__(
        self,
        *destinations: Notifier | Destination,
        retry: Retry = QUICK,
        timeout_s: float = 5.0,
        clock: FakeClock | None = None,
        real: bool = False,
        ledger: MemoryLedger | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.time = clock or FakeClock()
        self.lost: list[tuple[str, str, str]] = []
        self.ledger = ledger or MemoryLedger()
        rules = [
            d if isinstance(d, Destination) else Destination(d, retry=retry, timeout_s=timeout_s)
            for d in destinations
        ]
        self.telemetry = Telemetry(destinations=[d.name for d in rules])
        self.engine = Engine(
            rules,
            self.telemetry,
            self.ledger,
            self.gave_up,
            clock=Clock() if real else self.time.clock(),
            jitter=jitter,
        )
        self.engine.open(0, self.ledger.records)

    async def gave_up(self, record: Notification, raw: bytes) -> None:
        assert record.alert_id.encode() in raw
        self.lost.append((record.destination, record.alert_id, record.detail))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop()

    async def receive(self, *alerts: Alert) -> None:
        for alert in alerts:
            await self.ledger.write(self.engine.receive(alert, encode(alert), 0))

    async def deliver(self, *alerts: Alert) -> None:
        """Takes the alerts in and waits until nothing waits any more."""
        await self.receive(*alerts)
        await self.until(lambda: not any(lane.pendings for lane in self.lanes))

    @property
    def lanes(self) -> list[Any]:
        return list(self.engine.state.lanes.values())

    async def until(self, done: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Waits in real time; the records of what was done are in the ledger then."""
        began = time.monotonic()
        spins = 0
        while not done():
            spins += 1
            await asyncio.sleep(0 if spins < 500 else 0.001)  # a server's thread must have its turn
            assert time.monotonic() - began < within_s, self.ledger.records[-3:]
        for _ in range(5):
            await asyncio.sleep(0)

    def count(self, destination: str, result: str) -> float | None:
        labels = {"destination": destination, "result": result}
        return self.telemetry.registry.get_sample_value("driftline_notifications_total", labels)
