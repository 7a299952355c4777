"""Delivery: each alert to every destination that wants it, each destination by itself.

A destination has a queue and a task of its own (a *lane*), so one that hangs delays nobody else.
In a lane alerts go out in order, one at a time; a failed one is tried again with full jitter until
it is accepted, refused for good, or out of tries or time. Then `gave_up` takes it: it dead-letters.

The promise is at least once: whoever calls `deliver` moves its offset only when it returns, so
after a crash some alerts go out again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from driftline.alerts import Alert
from driftline.errors import DeliveryError, DriftlineError
from streams.notify.api import Clock, Destination
from streams.telemetry import Telemetry

logger = logging.getLogger(__name__)

GaveUp = Callable[[str, Alert, bytes, DeliveryError], Awaitable[None]]
"""(destination, alert, its bytes, last error) -> returns when the alert is safe elsewhere."""

REMEMBERED = 100_000
"""Incidents whose newest event is remembered, to pass over older ones and repeats."""


class FanoutClosedError(DriftlineError):
    """The fan-out was closed before every destination had accepted the alert or given up."""

    retriable = True


@dataclass(slots=True)
class _Job:
    alert: Alert
    raw: bytes
    done: asyncio.Future[None]
    since: float


class Fanout:
    """All destinations. Lives in one event loop.

    Args:
        destinations: whom to tell.
        telemetry: counts tries, results and durations by destination.
        gave_up: takes what a destination would not; if it fails, so does `deliver`.
        clock: wall, monotonic and sleep.
        jitter: uniform random numbers in [0, 1).
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        telemetry: Telemetry,
        gave_up: GaveUp,
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        clock = clock or Clock()
        self._lanes = [_Lane(d, telemetry, gave_up, clock, jitter) for d in destinations]
        self._newest: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    async def deliver(self, alert: Alert, raw: bytes) -> None:
        """Returns when every destination that wants the alert has accepted it or given up.

        An alert that is not newer than one of the same fingerprint before it is passed over, as
        every consumer of the alerts topic does (contract.md, section 4); a repeat of one that is
        under way waits for that one. Calls started in order are delivered in order; how many may
        be under way, and so how much memory they take, is the caller's to bound.

        Raises:
            FanoutClosedError: `close` came first; deliver it again after the restart.
            Exception: what `gave_up` raised.
        """
        if self._closed:
            raise FanoutClosedError("the notifier is shutting down")
        task = self._under_way.get(alert.id)
        if task is None:
            if not self._is_news(alert):
                return
            waits = [lane.put(alert, raw) for lane in self._lanes if lane.destination.wants(alert)]
            task = asyncio.create_task(self._all_of(alert, waits))
            self._under_way[alert.id] = task
        await asyncio.shield(task)  # if this caller is cancelled, another may still wait for it

    async def close(self) -> None:
        """Stops all lanes at once and lets go of connections; unfinished deliveries raise."""
        self._closed = True
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _all_of(self, alert: Alert, waits: Sequence[asyncio.Future[None]]) -> None:
        try:
            results = await asyncio.gather(*waits, return_exceptions=True)
        finally:
            del self._under_way[alert.id]
        for result in results:
            if isinstance(result, BaseException):
                self._newest.pop(alert.fingerprint, None)  # it will be delivered again
                raise result

    def _is_news(self, alert: Alert) -> bool:
        known = self._newest.pop(alert.fingerprint, None)
        news = known is None or alert.order > known
        self._newest[alert.fingerprint] = alert.order if known is None else max(known, alert.order)
        if len(self._newest) > REMEMBERED:
            self._newest.popitem(last=False)
        return news


class _Lane:
    """One destination's queue, and the task that empties it."""

    def __init__(
        self,
        destination: Destination,
        telemetry: Telemetry,
        gave_up: GaveUp,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.destination = destination
        self._telemetry = telemetry
        self._gave_up = gave_up
        self._clock = clock
        self._jitter = jitter
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()
        self._pending: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def put(self, alert: Alert, raw: bytes) -> asyncio.Future[None]:
        """Queues an alert; the future is done when it was accepted or safely given up."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"notify {self.destination.name}")
        done = asyncio.get_running_loop().create_future()
        self._pending.add(done)
        done.add_done_callback(self._settled)
        self._queue.put_nowait(_Job(alert, raw, done, self._clock.monotonic()))
        self._telemetry.waiting(self.destination.name, len(self._pending))
        return done

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for done in list(self._pending):
            done.set_exception(FanoutClosedError("the notifier is shutting down"))
        await self.destination.notifier.close()

    def _settled(self, done: asyncio.Future[None]) -> None:
        self._pending.discard(done)
        self._telemetry.waiting(self.destination.name, len(self._pending))

    async def _run(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._deliver(job)
            except Exception as error:  # the dead letter failed: whoever waits must hear of it
                job.done.set_exception(error)
            else:
                job.done.set_result(None)

    async def _deliver(self, job: _Job) -> None:
        """Tries until the destination accepts the alert, or hands it to `gave_up`."""
        retry = self.destination.retry
        deadline = self._clock.monotonic() + retry.give_up_s
        failures = 0
        while True:
            error = await self._try(job)
            if error is None:
                self._telemetry.delivered(
                    self.destination.name, self._clock.monotonic() - job.since
                )
                return
            failures += 1
            wait_s = max(self._jitter() * retry.bound_s(failures), error.retry_after_s or 0.0)
            late = self._clock.monotonic() + wait_s > deadline  # never sooner than it asked
            if not error.retriable or failures >= retry.attempts or late:
                await self._give_up(job, error, failures)
                return
            self._note("retried", job, error, failures)
            await self._clock.sleep(wait_s)

    async def _try(self, job: _Job) -> DeliveryError | None:
        """One try: None if the alert was accepted, otherwise why not."""
        timeout_s = self.destination.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self.destination.notifier.send(job.alert, job.raw)
        except DeliveryError as error:
            return error
        except TimeoutError:
            return DeliveryError(f"no answer within {timeout_s:g} s", retriable=True)
        except Exception as error:  # a notifier is foreign code; its text may hold a secret
            return DeliveryError(f"{type(error).__name__} in the notifier", retriable=False)
        return None

    async def _give_up(self, job: _Job, error: DeliveryError, failures: int) -> None:
        self._note("exhausted" if error.retriable else "refused", job, error, failures)
        await self._gave_up(self.destination.name, job.alert, job.raw, error)

    def _note(self, result: str, job: _Job, error: DeliveryError, failures: int) -> None:
        self._telemetry.notified(self.destination.name, result)
        after = {
            "retried": "will try again",
            "refused": "refused for good, dead-lettered",
            "exhausted": "out of tries, dead-lettered",
        }[result]
        logger.log(
            logging.INFO if result == "retried" else logging.ERROR,
            "destination %s did not take an alert: %s; %s",
            self.destination.name,
            error,
            after,
            extra={
                "destination": self.destination.name,
                "alert_id": job.alert.id,
                "attempt": failures,
            },
        )
