"""Delivery: one task per destination takes what the policy says is due, and tries to tell it.

A destination that hangs delays nobody else: it has a task, and what waits for it, of its own. What
was decided and tried goes to the ledger; the next send waits until the ledger has the last one, so
a kill -9 leaves at most one message per destination of which nobody knows whether it arrived. That
one is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from driftline.alerts import Alert, Command
from driftline.errors import DeliveryError
from streams.notify.api import Clock, Drawer, Message, picture_of
from streams.notify.ledger import DEAD, WITHHELD, Ledger, Notification
from streams.notify.passing import Passing
from streams.notify.policy import NotifyState
from streams.notify.rules import Destination
from streams.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

GaveUp = Callable[[Notification, bytes], Awaitable[None]]
"""(record of the end, the alert's bytes) -> returns when the alert is safe elsewhere."""

STOP_WAIT_S = 4.0
"""How long a clean stop waits for tries that are under way."""
LEDGER_WAITS_S = (0.5, 30.0)
"""First and longest wait before the ledger is tried again: without it nothing more is sent."""


class Engine:
    """All destinations. Lives in one event loop.

    Args:
        destinations: whom to tell, and by which rules.
        telemetry: counts decisions, tries, results and durations by destination.
        ledger: keeps every record.
        gave_up: takes what a destination would not.
        pictures: draws for those destinations that can show it; None: no pictures.
        clock: wall, monotonic and sleep.
        jitter: uniform random numbers in [0, 1).
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        telemetry: Telemetry,
        ledger: Ledger,
        gave_up: GaveUp,
        *,
        pictures: Drawer | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.state = NotifyState(destinations)
        self._clock = clock or Clock()
        self._pictures = pictures
        self._telemetry = telemetry
        self._lanes = [
            _Lane(d, self.state, telemetry, ledger, gave_up, self._clock, jitter, pictures)
            for d in destinations
        ]

    def open(self, partition: int, ledger: Iterable[Notification]) -> None:
        """Goes on with a partition of the alerts topic where its ledger ends."""
        self.state.open(partition, ledger)
        self.wake()

    def close(self, partition: int) -> None:
        """Leaves a partition to another worker. A try under way ends, and is recorded."""
        self.state.close(partition)

    def receive(self, alert: Alert, raw: bytes, partition: int) -> list[Notification]:
        """Decides about one alert at every destination, at once; sending goes on by itself.

        Returns: the decisions, none for what was decided before. The caller brings them to the
        ledger before it moves its offset on, and buries those that are `overflow`.
        """
        if self._pictures is not None:
            self._pictures.note(alert)
        records = self.state.receive(alert, raw, partition, self._clock.wall())
        for record in records:
            if record.result in WITHHELD:
                self._telemetry.withheld(record.destination, record.result)
        if records:
            self.wake()
        return records

    def command(self, command: Command, at: float) -> None:
        """Takes an operator's command in, given at `at` (seconds since the epoch)."""
        self.state.command(command, at)
        self.wake()

    def wake(self) -> None:
        """Lets every destination look whether something is due."""
        for lane in self._lanes:
            lane.begin()
            lane.wake.set()

    async def stop(self) -> None:
        """Begins no try any more, lets those under way end, and lets go of connections."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes))


class _Lane:
    """One destination's task."""

    def __init__(  # noqa: PLR0917  made in one place
        self,
        destination: Destination,
        state: NotifyState,
        telemetry: Telemetry,
        ledger: Ledger,
        gave_up: GaveUp,
        clock: Clock,
        jitter: Callable[[], float],
        pictures: Drawer | None,
    ) -> None:
        self.destination = destination
        self.name = destination.name
        self.wake = asyncio.Event()
        self._state = state
        self._telemetry = telemetry
        self._ledger = ledger
        self._gave_up = gave_up
        self._clock = clock
        self._jitter = jitter
        draws = pictures is not None and destination.picture and destination.traits.attaches
        self._pictures = pictures if draws else None
        self._passing = Passing(destination, state)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._resting = False
        self._refresh_at = 0.0

    def begin(self) -> None:
        """Starts the task, once, inside the loop that will run it."""
        if self._task is None and not self._stopping:
            self._task = asyncio.create_task(self._run(), name=f"notify {self.name}")

    async def stop(self) -> None:
        self._stopping = True
        if self._task is not None:
            if self._resting:
                self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_WAIT_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.destination.notifier.close()

    async def _run(self) -> None:
        while not self._stopping:
            self.wake.clear()
            now = self._clock.wall()
            message, records = self._state.next(self.name, now)
            for record in records:
                if record.result in WITHHELD:
                    self._telemetry.withheld(self.name, record.result)
            records += await self._passing.tell(now, self._try)
            await self._surely(partial(self._ledger.write, records)) if records else None
            if message is None:
                await self._refresh(now)
                await self._rest()
            else:
                await self._send(message)
            self._measure()

    def _measure(self) -> None:
        lane = self._state.lanes[self.name]
        open_ = lane.breaker.open(self._clock.wall())
        self._telemetry.waiting(self.name, len(lane.pendings), breaker_open=open_)

    async def _rest(self) -> None:
        """Until something may be due, or something came in."""
        now = self._clock.wall()
        self._measure()
        due = self._passing.sooner(self._state.next_due(self.name, now))
        if self._refresh_at > now and self._state.firing(self.name):
            due = self._refresh_at if due is None else min(due, self._refresh_at)
        self._resting = True
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self.wake.wait())]
        if due is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(max(0.0, due - now))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._resting = False
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _refresh(self, now: float) -> None:
        """Tells a receiver that forgets of everything that fires, again."""
        notifier: Any = self.destination.notifier  # only some refresh
        every_s = getattr(notifier, "refresh_s", None)
        if every_s is None or now < self._refresh_at:
            return
        self._refresh_at = now + every_s
        alerts = self._state.firing(self.name)
        if alerts:
            error, _ = await self._try(notifier.refresh(alerts))
            if error is not None:
                logger.warning("destination %s was not refreshed: %s", self.name, error)

    async def _send(self, message: Message) -> None:
        """One try, and what follows from it."""
        if self._pictures is not None:
            message = replace(message, picture=picture_of(self._pictures, message))
        error, reference = await self._try(self.destination.notifier.send(message))
        records = self._state.settled(
            self.name,
            message,
            error,
            self._clock.wall(),
            reference=reference,
            jitter=self._jitter,
        )
        raws = {part.alert.id: part.raw for part in message.parts}
        for record in records:
            if record.result in DEAD:
                await self._surely(partial(self._gave_up, record, raws[record.alert_id]))
        await self._surely(partial(self._ledger.write, records))
        self._note(message, records, error)

    async def _try(self, sending: Awaitable[str | None]) -> tuple[DeliveryError | None, str | None]:
        """One try: the error, or the destination's own name of the message."""
        timeout_s = self.destination.timeout_s
        task = asyncio.ensure_future(sending)
        try:
            await asyncio.wait({task}, timeout=timeout_s)
            if not task.done():  # some libraries lose a cancellation: the lane goes on without it
                task.cancel()
                task.add_done_callback(_heard)
                return DeliveryError(f"no answer within {timeout_s:g} s", retriable=True), None
            if task.cancelled():
                return DeliveryError("it broke off", retriable=True), None
            return None, task.result()
        except DeliveryError as error:
            return error, None
        except asyncio.CancelledError:
            task.cancel()
            raise
        except Exception as error:  # a notifier is foreign code; its text may hold a secret
            return DeliveryError(f"{type(error).__name__} in the notifier", retriable=False), None

    async def _surely(self, act: Callable[[], Awaitable[None]]) -> None:
        """Repeats until it works: what happened must be known before anything else is sent."""
        wait_s = LEDGER_WAITS_S[0]
        while True:
            try:
                await act()
            except Exception as error:  # the producer raises library errors of several trees here
                logger.warning("destination %s waits for the ledger: %r", self.name, error)
                await self._clock.sleep(wait_s)
                wait_s = min(2 * wait_s, LEDGER_WAITS_S[1])
            else:
                return

    def _note(
        self, message: Message, records: Sequence[Notification], error: DeliveryError | None
    ) -> None:
        first = records[0] if records else None
        if error is None:
            self._telemetry.delivered(self.name, (first.latency_ms or 0) / 1000 if first else 0.0)
            return
        result = first.result if first else "retried"
        self._telemetry.notified(self.name, result)
        after = {
            "retried": "will try again",
            "refused": "refused for good, dead-lettered",
            "exhausted": "out of tries, dead-lettered",
        }[result]
        logger.log(
            logging.INFO if result == "retried" else logging.ERROR,
            "destination %s did not take an alert: %s; %s",
            self.name,
            error,
            after,
            extra={
                "destination": self.name,
                "alert_id": message.alert.id,
                "attempt": first.attempt if first else 1,
            },
        )


def _heard(task: asyncio.Future[str | None]) -> None:
    """Takes note of how a try ended that nobody waits for."""
    if not task.cancelled():
        task.exception()
