"""Which sessions outlive a rebalance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from streams.session import Session
from streams.stages import Stages
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
