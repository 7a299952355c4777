"""Which sessions outlive a rebalance, and how long a batch may wait to grow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.kafka.batches import Batch
from streams.session import Session
from streams.stages import GROW_S, Stages
from streams.telemetry.telemetry import Telemetry

OURS = TP("rows", 2)


class Opened:
    """A stage that opens sessions anew, and would keep every other."""

    name = "join"
    topics = ("rows",)

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        return {tp: Session(tp, 0) for tp in tps}

    async def current(self, sessions: Mapping[TP, Session], _tps: Any) -> set[TP]:
        return set(sessions)

    def closed(self, _session: Session) -> None:
        pass


async def reopened(*, fails: bool) -> int:
    """The position of a session after a rebalance that came while its step was under way."""
    stages: Any = Stages(Telemetry(), lambda: 0.0)
    stage: Any = Opened()
    stages.add(stage)
    session = Session(OURS, 7)
    stages._sessions[OURS] = session
    stages.close([OURS])
    began = asyncio.Event()

    async def last_step() -> None:
        async with session.lock:
            began.set()
            await asyncio.sleep(0.05)
            session.failures += fails

    step = asyncio.create_task(last_step())
    await began.wait()
    positions = await stages.open({OURS: (0, "")})
    await step
    assert stages.reader(OURS).closed is False
    found: int = positions[OURS]
    return found


def test_a_session_goes_on_after_a_rebalance_that_waited_for_its_last_step():
    assert asyncio.run(reopened(fails=False)) == 7


def test_a_session_whose_last_step_failed_meanwhile_starts_again_from_its_checkpoint():
    assert asyncio.run(reopened(fails=True)) == 0


class Stepped(Opened):
    """A stage that counts the records of each step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    async def step(self, session: Session, batch: Batch) -> None:
        self.steps.append(len(batch.records))
        session.position = batch.next_offset

    async def tell(self, _session: Session) -> None:
        pass


class Handling:
    """A batch of one record, cut at time 0 and being handled while source records wait, or not."""

    def __init__(self, *, busy: bool) -> None:
        self.now = 0.0
        stages: Any = Stages(Telemetry(), lambda: self.now)
        self.stage: Any = Stepped()
        stages.add(self.stage)
        stages.consumer = SimpleNamespace(busy=busy)
        self.session = stages._sessions[OURS] = Session(OURS, 0)
        self.batch = Batch(OURS, [record(0)], 0, 1, self.session.epoch, cut_at=0.0)
        self.session.queued = self.batch
        self._handle = stages.handle

    async def until_stepped(self) -> list[int]:
        """The numbers of records that were stepped."""
        await asyncio.wait_for(self._handle(self.batch), timeout=30)
        steps: list[int] = self.stage.steps
        return steps


def record(offset: int) -> Any:
    return SimpleNamespace(offset=offset, value=b"")


def test_a_batch_waits_to_grow_while_source_records_wait():
    async def scenario() -> list[int]:
        handling = Handling(busy=True)
        stepped = asyncio.create_task(handling.until_stepped())
        await asyncio.sleep(3 * GROW_S)  # on the clock that counts, none of it has passed
        assert not stepped.done()
        assert handling.batch.grow([record(1)], 2, handling.session.epoch)
        handling.now = GROW_S
        return await stepped

    assert asyncio.run(scenario()) == [2]


def test_a_batch_waits_for_nothing_where_nothing_waits_at_the_source():
    async def scenario() -> list[int]:
        return await Handling(busy=False).until_stepped()

    assert asyncio.run(scenario()) == [1]


def test_a_batch_that_another_follows_cannot_grow_and_does_not_wait():
    async def scenario() -> list[int]:
        handling = Handling(busy=True)
        handling.session.queued = Batch(OURS, [record(1)], 1, 2, handling.session.epoch)
        return await handling.until_stepped()

    assert asyncio.run(scenario()) == [1]
