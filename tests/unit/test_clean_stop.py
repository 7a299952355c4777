"""A clean stop: all that was stepped is in a checkpoint, and a step that hangs has an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from faust.types import TP

from streams import stages
from streams.kafka.batches import Batch
from streams.session import Session, Stage
from streams.stages import Stages
from streams.telemetry.telemetry import Telemetry

ONE, TWO = TP("rows", 0), TP("rows", 1)


class Counting(Stage):
    """A stage whose checkpoint is a position, as that of ingest is."""

    name = "join"
    topics = ("rows",)
    hangs: asyncio.Event | None = None

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        if self.hangs is not None:
            await self.hangs.wait()
        return {tp: Session(tp, at, saved=at) for tp, (at, _) in tps.items()}

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        return {tp: at for tp, (at, _) in tps.items()}

    async def step(self, session: Session, batch: Batch) -> None:
        session.position = batch.next_offset
        if self.hangs is not None:
            await self.hangs.wait()

    def arrival(self, session: Session) -> int | None:
        return None

    def sources(self) -> Mapping[str, int]:
        return {}

    async def checkpoint(self, session: Session) -> None:
        await self.settle(session)
        session.saved = session.position


async def begun() -> tuple[Stages, Counting]:
    telemetry = Telemetry()
    running, stage = Stages(telemetry, time.monotonic), Counting(Outbox(), telemetry)
    running.add(stage)
    await running.open({ONE: (5, ""), TWO: (0, "")})
    return running, stage


class Outbox:
    async def send(self, *_: Any) -> Any:
        raise AssertionError("this stage sends nothing")


def batch(running: Stages, tp: TP, start: int, end: int) -> Batch:
    session = running.reader(tp)
    assert session is not None
    return Batch(tp, [None] * (end - start), start, end, session.epoch)


def saved(running: Stages) -> dict[TP, int]:
    return {session.tp: session.saved for _, session, _ in running.open_sessions()}


def test_a_clean_stop_writes_a_checkpoint_of_all_that_was_stepped():
    async def stop() -> None:
        running, _ = await begun()
        await running.handle(batch(running, ONE, 5, 9))
        assert saved(running) == {ONE: 5, TWO: 0}
        await running.checkpoint_all()
        assert saved(running) == {ONE: 9, TWO: 0}

    asyncio.run(stop())


def test_a_step_that_hangs_delays_a_clean_stop_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stages, "STOP_WAIT_S", 0.1)

    async def stop() -> None:
        running, stage = await begun()
        await running.handle(batch(running, TWO, 0, 3))
        stage.hangs = asyncio.Event()
        hung = asyncio.create_task(running.handle(batch(running, ONE, 5, 9)))
        await asyncio.sleep(0.02)
        await asyncio.wait_for(running.checkpoint_all(), 2)
        assert saved(running) == {ONE: 5, TWO: 3}  # the hung one is read again, the other is kept
        stage.hangs.set()
        await hung

    asyncio.run(stop())


def test_a_partition_that_leaves_while_sessions_are_opened_is_not_opened():
    async def rebalanced_twice() -> None:
        telemetry = Telemetry()
        running, stage = Stages(telemetry, time.monotonic), Counting(Outbox(), telemetry)
        running.add(stage)
        stage.hangs = asyncio.Event()
        opening = asyncio.create_task(running.open({ONE: (5, ""), TWO: (0, "")}))
        await asyncio.sleep(0)
        running.close([ONE])
        stage.hangs.set()
        assert await opening == {TWO: 0}
        assert saved(running) == {TWO: 0}
        assert await running.open({ONE: (6, ""), TWO: (0, "")}) == {ONE: 6, TWO: 0}

    asyncio.run(rebalanced_twice())
