"""Reading our own internal topics from given offsets, apart from Faust and its group.

No end offset is taken from ListOffsets: the high watermark in a Fetch answer is right on every
broker, ListOffsets' is not (ADR-0016).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

FETCH_BYTES = 4 << 20


@asynccontextmanager
async def consumer(
    bootstrap: Sequence[str], fetch_bytes: int = FETCH_BYTES, *, wait_ms: int = 50
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, which reads what it is told to, about so much at once.

    `wait_ms`: how long the broker may wait for more before it answers.
    """
    reader = AIOKafkaConsumer(
        bootstrap_servers=list(bootstrap),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_wait_ms=wait_ms,
    )
    try:
        await reader.start()  # where that fails, its connections are ours to close, too
        await asyncio.sleep(0)  # a task that stop() cancels before it began would cancel us
        yield reader
    finally:
        await _stop(reader)


async def _stop(reader: AIOKafkaConsumer) -> None:
    """Stops a consumer. Its own tasks' cancellation, which may reach us, is not ours."""
    try:
        await reader.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise


async def last_records(
    reader: AIOKafkaConsumer, wanted: Sequence[TopicPartition]
) -> dict[TopicPartition, ConsumerRecord[bytes, bytes]]:
    """The last record of each partition that is not empty; two passes over all of them."""
    reader.assign(list(wanted))
    await reader.seek_to_beginning(*wanted)
    ends: dict[TopicPartition, int] = {}
    last: dict[TopicPartition, Any] = {}
    todo = set(wanted)
    while todo:
        batches = await reader.getmany(timeout_ms=200)
        for tp, records in batches.items():
            last[tp] = records[-1]
        for tp in list(todo):
            end = reader.highwater(tp)
            if end is None:
                continue  # no Fetch answer yet
            if end == 0 or (tp in last and last[tp].offset >= end - 1):
                todo.discard(tp)
            elif ends.get(tp) != end:
                ends[tp] = end
                reader.seek(tp, end - 1)
    return last


async def records_from(
    reader: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int | None = None
) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """The records of one partition from `start` to before `end` (None: its end now), in batches.

    What the log does not have any more is passed over.
    """
    reader.assign([tp])
    first = (await reader.beginning_offsets([tp]))[tp]
    position = max(start, first)
    reader.seek(tp, position)
    while end is None or position < end:
        batch = (await reader.getmany(tp, timeout_ms=200)).get(tp, [])
        if batch:
            position = batch[-1].offset + 1
            yield batch if end is None else [r for r in batch if r.offset < end]
        mark = reader.highwater(tp)
        if mark is not None and position >= mark:
            return
