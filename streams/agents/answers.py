"""Every operator command to the notifier of every worker, from the beginning of the topic.

One topic has one reader in the group, and that is ingest; the notifier needs all commands in every
worker, because alerts of one subject lie in all partitions. So it has a consumer of its own,
without a group: commands are few, and the same ones in any order lead to the same answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from driftline.alerts import Command, decode_command
from driftline.errors import ContractError
from streams.state import log_reader

log = logging.getLogger(__name__)

POLL_MS = 500
REFRESH_S = 60.0
"""How often it looks whether the topic has got more partitions."""
RETRY_S = 2.0


class CommandFeed:
    """Reads the commands for as long as the worker runs.

    Args:
        bootstrap: host:port of each server.
        topic: of the commands.
        take: given each command and when it was said, in seconds since the epoch.
    """

    def __init__(
        self, bootstrap: Sequence[str], topic: str, take: Callable[[Command, float], None]
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._take = take
        self._task: asyncio.Task[None] | None = None
        self._caught_up = asyncio.Event()

    async def caught_up(self) -> None:
        """Returns once all commands there are were taken. Begins to read when first called."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="commands for the notifier")
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Ends the reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                async with log_reader.consumer(self._bootstrap, wait_ms=POLL_MS) as reader:
                    await self._read(reader)
            except (KafkaError, OSError) as error:
                log.warning("commands cannot be read (%s); trying again", error)
            await asyncio.sleep(RETRY_S)

    async def _read(self, reader: AIOKafkaConsumer) -> None:
        """From the beginning on, until the topic has more partitions than there were."""
        unread = await self._partitions(reader)
        if not unread:
            return
        count = len(unread)
        reader.assign(list(unread))
        await reader.seek_to_beginning(*unread)
        look = time.monotonic() + REFRESH_S
        while True:
            for records in (await reader.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    self._one(record)
            for tp in list(unread):
                end = reader.highwater(tp)
                if end is not None and (end == 0 or await reader.position(tp) >= end):
                    unread.discard(tp)
            if not unread:
                self._caught_up.set()
            if time.monotonic() > look:
                look = time.monotonic() + REFRESH_S
                if len(await self._partitions(reader)) > count:
                    return

    async def _partitions(self, reader: AIOKafkaConsumer) -> set[TopicPartition]:
        there = await reader._client.fetch_all_metadata()  # noqa: SLF001  no public way
        known = there.partitions_for_topic(self._topic) or ()
        return {TopicPartition(self._topic, p) for p in known}

    def _one(self, record: Any) -> None:
        if record.value is None:
            return
        try:
            command = decode_command(record.value)
        except ContractError:
            return  # ingest makes it a dead letter
        at = record.timestamp / 1000 if record.timestamp >= 0 else time.time()
        self._take(command, min(at, time.time()))
