"""execute: actions that are due -> carried out once per id, and what came of it on the same topic.

Its state is the topic itself: it is read from the beginning at every start, and nothing is carried
out before its end was reached, so that an id with a result is not carried out again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from faust.types import TP
from msgspec.structs import replace

from driftline.actions import Action, decode_action
from driftline.errors import ContractError
from driftline.rules import rfc3339
from streams.kafka.batches import Batch
from streams.operators.execution import Executor
from streams.session import Outbox, Session, Stage
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics

log = logging.getLogger(__name__)

STOP_WAIT_S = 2.0
WRITE_WAITS_S = (0.5, 30.0)
"""First and longest wait before a result is written again."""


@dataclass(slots=True)
class Known:
    """What a partition of the actions topic says so far."""

    revisions: dict[str, int] = field(default_factory=dict)
    todo: dict[str, Action] = field(default_factory=dict)

    def take(self, action: Action) -> None:
        """Takes one state of one action in; an older one changes nothing."""
        if action.revision <= self.revisions.get(action.id, 0):
            return
        self.revisions[action.id] = action.revision
        self.todo.pop(action.id, None)
        if Executor.concerns(action):
            self.todo[action.id] = action


class Execute(Stage):
    """Never commits: the next reader reads all of it again, ninety days of few records."""

    name = "execute"

    def __init__(
        self,
        outbox: Outbox,
        telemetry: Telemetry,
        topics: Topics,
        executor: Executor,
        *,
        end_of: Callable[[TP], int | None],
    ) -> None:
        super().__init__(outbox, telemetry)
        self.topics = (topics.actions,)
        self._executor = executor
        self._end_of = end_of
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """Each partition from its beginning."""
        return {tp: Session(tp, start, core=Known()) for tp, (start, _) in tps.items()}

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """What was read once holds."""
        return {tp: start for tp, (start, _) in tps.items()}

    def arrival(self, _session: Session) -> int | None:
        """Execute sends no frames."""
        return None

    def sources(self) -> Mapping[str, int]:
        """Execute sends no frames."""
        return {}

    async def step(self, session: Session, batch: Batch) -> None:
        """Learns what is due, and what is not any more."""
        for record in batch.records:
            try:
                session.core.take(decode_action(record.value or b""))
            except ContractError as error:
                log.warning("%s@%d is no action: %s", batch.tp.topic, record.offset, error)
        session.position = batch.next_offset
        self._begin(session)

    async def idle(self, session: Session) -> None:
        """Begins what is due, if the end of the partition is known by now."""
        self._begin(session)

    def due(self, _session: Session, _now: float) -> bool:
        """There is no checkpoint."""
        return False

    async def checkpoint(self, session: Session) -> None:
        """There is none."""
        session.saved = session.position

    def _begin(self, session: Session) -> None:
        end = self._end_of(session.tp)
        if end is None or session.position < end or self._stopping:
            return
        for action in session.core.todo.values():
            if action.id not in self._running:
                task = asyncio.create_task(self._run(session, action), name=f"action {action.id}")
                self._running[action.id] = task
                task.add_done_callback(lambda _, of=action.id: self._running.pop(of, None))  # type: ignore[misc]

    async def _run(self, session: Session, action: Action) -> None:
        known: Known = session.core

        def going() -> bool:
            return action.id in known.todo and not session.closed and not self._stopping

        if not going():
            return
        outcome = await self._executor.carry_out(action, going)
        if outcome is None:
            return  # left to who reads the partition now, or too late to matter
        status, why = outcome
        now_ms = int(self._executor.clock.wall() * 1000)
        result = replace(
            action, revision=action.revision + 1, status=status, why=why, at=rfc3339(now_ms)
        )
        known.take(result)
        log.info("action %s of %s: %s, %s", action.id, action.subject, status, why)
        await self._write(session.tp, result)
        self.telemetry.action(result)

    async def _write(self, tp: TP, result: Action) -> None:
        """Returns when the broker has the result: until then a restart would repeat the action."""
        wait_s, key = WRITE_WAITS_S[0], result.subject.encode()
        value = msgspec.json.encode(result)
        while True:
            try:
                await (await self.outbox.send(tp.topic, tp.partition, value, key, ()))
            except Exception as error:  # the producer raises library errors of several trees here
                log.warning("the result of action %s waits for the broker: %r", result.id, error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, WRITE_WAITS_S[1])
            else:
                return

    async def stop(self) -> None:
        """Begins nothing any more; what is under way may end, a wait for the next try may not."""
        self._stopping = True
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WAIT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
