"""Opening sessions at the start and after a rebalance, while the broker may be away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from driftline.errors import DriftlineError

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 20.0
"""How long one try to open the sessions may take."""

OPEN_GIVE_UP_S = 50.0
"""No further try after this long: Faust takes a seek longer than its request timeout (90 s) for a
stop, and never reads again. The worker begins anew before that, and waits for the broker."""

T = TypeVar("T")


class SessionsNotOpenedError(DriftlineError):
    """The broker was away for too long while partitions were assigned; a new process can wait."""

    exit_code = 4

    def __init__(self) -> None:
        super().__init__("the sessions could not be opened in time")


async def until_open(attempt: Callable[[], Awaitable[T]]) -> T:
    """What the first attempt that comes through gives; tries again while the broker is away.

    Raises:
        SessionsNotOpenedError: it was away for too long.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + OPEN_GIVE_UP_S
    while True:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await attempt()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A library's stray one: Faust would take it for a stop, and never read again.
            error: Exception = RuntimeError("a library cancelled its own task")
        except (KafkaError, TimeoutError) as away:
            error = away
        if loop.time() > give_up:
            raise SessionsNotOpenedError from error
        log.warning("cannot open the sessions yet (%s); trying on", error)
        await asyncio.sleep(1.0)
