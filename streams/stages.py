"""The worker's stages and open sessions: who reads which partition, from where, and restarts.

Implements what `streams.kafka.transport` asks for, and runs the one-second timer. Pure of any
knowledge of what a stage does with its batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from driftline.errors import CheckpointError
from streams.kafka.batches import Batch
from streams.session import RestartNeededError, Session, Stage, log_name
from streams.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

MAX_BACKOFF_S = 30.0
STOP_WAIT_S = 5.0
"""How long a clean stop waits for a step that is under way, and for the checkpoint after it."""
TELL_APART_S = 0.2
"""How seldom a session that steps says how far it is to those it has no rows for: each time costs a
message for each of them."""
GROW_S = 0.25
"""How long after it was cut a batch of an internal topic waits to grow while source records wait,
too: a step over little costs almost what one over much does."""
KEEP_WAIT_S = 5.0
"""How long a rebalance waits for the last step of a session that it might keep."""


class Stages:
    """Sessions by partition. `consumer` is set by the worker once Faust has made it."""

    def __init__(self, telemetry: Telemetry, monotonic: Callable[[], float]) -> None:
        self.telemetry = telemetry
        self.monotonic = monotonic
        self.consumer: Any = None
        self.fatal: Callable[[Exception], None] = _raise
        """Called with an error that no retry can mend; the worker ends itself with it."""
        self._stages: dict[str, Stage] = {}
        self._sessions: dict[TP, Session] = {}
        self._parked: dict[TP, Session] = {}
        self._left: set[TP] = set()
        """Partitions taken away since the last sessions began to be opened."""
        self._ticking: dict[TP, asyncio.Task[None]] = {}
        self._epoch = 0
        self.stopping = False

    def add(self, stage: Stage) -> None:
        """Makes a stage the reader of its topics."""
        self._stages.update(dict.fromkeys(stage.topics, stage))

    # -- for the transport -------------------------------------------------------------------------

    def covers(self, topic: str) -> bool:
        """Whether one of our stages reads this topic."""
        return topic in self._stages

    def paced(self, topic: str) -> bool:
        """Whether partitions of this topic are read in order of arrival."""
        stage = self._stages.get(topic)
        return stage is not None and stage.paced

    def reader(self, tp: TP) -> Session | None:
        """The open session of a partition."""
        return self._sessions.get(tp)

    async def open(self, committed: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """A session per partition; those that stayed with this worker are kept if they can be."""
        fresh = dict(committed)
        self._left.clear()
        for stage in set(self._stages.values()):
            mine = {tp: at for tp, at in committed.items() if tp.topic in stage.topics}
            if not mine:
                continue
            kept = await self._keep(stage, mine)
            self._sessions.update(kept)
            missing = {tp: at for tp, at in mine.items() if tp not in kept}
            if missing:
                self._sessions.update(await stage.open(missing))
        for tp in self._left.intersection(fresh):  # by a rebalance that came meanwhile
            gone = self._sessions.pop(tp, None)
            if gone is not None:
                gone.closed = True
                self._stages[tp.topic].closed(gone)
        opened = {tp: self._sessions[tp] for tp in fresh if tp not in self._left}
        for session in opened.values():
            self._begin(session)
        self._parked.clear()
        return {tp: session.position for tp, session in opened.items()}

    async def _keep(self, stage: Stage, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """Parked sessions that nobody has gone on without: their state is still the log's."""
        parked = {tp: s for tp in tps if (s := self._parked.get(tp) or self._sessions.get(tp))}
        if not parked:
            return {}
        free = {tp: s for tp, s in parked.items() if await _free(s) and not s.failures}
        kept = {tp: free[tp] for tp in await stage.current(free, tps)} if free else {}
        for session in kept.values():
            session.closed = False
        return kept

    def _begin(self, session: Session) -> None:
        self._epoch += 1
        session.epoch = self._epoch
        session.next_fetch = session.position
        session.seeking = False
        session.saved_at = max(session.saved_at, self.monotonic())

    def close(self, tps: Iterable[TP]) -> None:
        """Closes sessions whose partition is leaving; they are parked in case it comes back."""
        for tp in tps:
            self._left.add(tp)
            session = self._sessions.pop(tp, None)
            if session is not None:
                session.closed = True
                self._parked[tp] = session
                stage = self._stages[tp.topic]
                stage.closed(session)
                self.telemetry.forget_partition(stage.name, tp.topic, tp.partition)
        self.telemetry.rebalanced()

    def hole(self, tp: TP, start: int, end: int) -> None:
        """Offsets that the log does not have (retention, or markers of a transaction)."""
        log.warning(
            "%s has no records from offset %d to %d; going on behind them",
            log_name(tp),
            start,
            end - 1,
        )
        self.telemetry.hole(self._stages[tp.topic].name, end - start, log_name(tp))
        session = self._sessions.get(tp)
        if session is not None:
            session.receiver.heal()

    def open_sessions(self) -> list[tuple[Stage, Session, int | None]]:
        """What is open now, with the end of its log as Fetch last gave it (None: not yet)."""
        return [
            (self._stages[tp.topic], session, self._end_of(tp))
            for tp, session in self._sessions.items()
            if not session.closed
        ]

    def _end_of(self, tp: TP) -> int | None:
        end: int | None = None if self.consumer is None else self.consumer.highwater(tp)
        return end

    # -- for the agents ----------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        """Steps a batch in its session, or drops it where it is stale."""
        session = self._sessions.get(batch.tp)
        if session is None:
            return
        stage = self._stages[batch.tp.topic]
        await self._let_grow(session, batch)
        async with session.lock:
            batch.begun = True
            if session.queued is batch:
                session.queued = None
            if session.closed or batch.epoch != session.epoch:
                return
            try:
                _must_start_at(session.position, batch)
                with self.telemetry.stage(stage.name, len(batch.records)):
                    await stage.step(session, batch)
                    await self._tell(stage, session)
                session.failures = 0
            except RestartNeededError as error:
                await self._restart(session, error.reason, error)
            except Exception as error:  # an unforeseen one must not ack data away
                log.exception("%s: step failed", log_name(batch.tp))
                await self._restart(session, "error", error)

    async def _let_grow(self, session: Session, batch: Batch) -> None:
        """Waits while a batch may still grow and ingest has more to do than it can.

        Rows of it would wait at a later stage otherwise, and a step costs by the frame.
        """
        until = batch.cut_at + GROW_S
        while (  # noqa: ASYNC110  none of the three tells when it ends
            session.queued is batch and self.consumer.busy and self.monotonic() < until
        ):
            await asyncio.sleep(GROW_S / 25)

    async def _tell(self, stage: Stage, session: Session) -> None:
        """Receivers that a step had no rows for hear of the arrival, too: they wait for it."""
        now = self.monotonic()
        if now >= session.told_at + TELL_APART_S:
            session.told_at = now
            await stage.tell(session)

    async def tick(self) -> None:
        """Once a second: clocks forward, checkpoints where due. A busy session delays no other."""
        for tp, session in list(self._sessions.items()):
            if tp not in self._ticking:
                self._ticking[tp] = asyncio.create_task(self._tick(session))

    async def _tick(self, session: Session) -> None:
        tp = session.tp
        stage = self._stages[tp.topic]
        try:
            end = self.consumer.highwater(tp)  # of the last Fetch: right on every broker
            if end is not None:
                self.telemetry.lag(tp.topic, tp.partition, max(0, end - session.position))
            async with session.lock:
                if session.closed or self._sessions.get(tp) is not session:
                    return
                try:
                    await stage.idle(session)
                    if stage.due(session, self.monotonic()):
                        await stage.checkpoint(session)
                except RestartNeededError as error:
                    await self._restart(session, error.reason, error)
        except Exception as error:  # nobody awaits this task, so it must speak for itself
            log.exception("%s: the idle timer failed", log_name(tp))
            self.fatal(error)
        finally:
            del self._ticking[tp]

    async def checkpoint_all(self) -> None:
        """Writes a checkpoint of everything stepped, so that a clean stop re-reads nothing."""
        self.stopping = True
        await asyncio.gather(*map(self._last_checkpoint, list(self._sessions.values())))

    async def _last_checkpoint(self, session: Session) -> None:
        try:
            async with asyncio.timeout(STOP_WAIT_S), session.lock:
                if not session.closed and session.position > session.saved:
                    await self._stages[session.tp.topic].checkpoint(session)
        except (RestartNeededError, TimeoutError) as error:
            name = log_name(session.tp)
            log.warning("%s: no checkpoint at stop (%s); it will be read again", name, error)

    async def _restart(self, session: Session, reason: str, error: Exception) -> None:
        """Throws the state away and starts again from the checkpoint. The caller holds the lock."""
        tp = session.tp
        stage = self._stages[tp.topic]
        session.closed = True
        session.failures += 1
        self.telemetry.restarted(stage.name, reason, log_name(tp))
        log.warning("%s: starting again from its checkpoint (%s)", log_name(tp), error)
        attempt = session.failures
        while (
            self._sessions.get(tp) is session and not self.stopping
        ):  # revoked meanwhile: who has it now opens it
            await asyncio.sleep(min(MAX_BACKOFF_S, 0.1 * 2 ** min(attempt, 9)))
            attempt += 1
            try:
                committed = await self.consumer.committed_or_earliest({tp})
                replacement = (await stage.open(committed))[tp]
                if self._sessions.get(tp) is not session:
                    return
                replacement.failures = session.failures
                self._begin(replacement)
                await self.consumer.rewind(tp, replacement.position)
                if self._sessions.get(tp) is session:
                    self._sessions[tp] = replacement
            except CheckpointError as broken:
                self.fatal(broken)
                return
            except (KafkaError, TimeoutError) as away:
                log.warning("%s: cannot start again yet (%s); trying on", log_name(tp), away)


def _must_start_at(position: int, batch: Batch) -> None:
    if batch.start != position:
        detail = f"a batch starts at {batch.start}, the position is {position}"
        raise RestartNeededError("misplaced", detail)


async def _free(session: Session) -> bool:
    """Whether the session's last step ended in time."""
    try:
        async with asyncio.timeout(KEEP_WAIT_S), session.lock:
            return True
    except TimeoutError:
        return False


def _raise(error: Exception) -> None:
    raise error
