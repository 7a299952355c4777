"""Checkpoints: a partition's state in chunks, and the manifest that makes them count.

A manifest is one record in a compacted topic with as many partitions as the stage's input: key =
partition, value = {position, generation, state size and hash, and where each chunk lies}. It is
awaited last, so a manifest that can be read has all its chunks behind it. Chunks go to a topic of
their own under alternating keys (`slot/parity`), so that compaction keeps the chunks of the last
two generations: those of the newest manifest are among them whatever a crash interrupted.

The reader takes no end offset from ListOffsets: the high watermark in a Fetch answer is right on
every broker (broker.md), so one fetch gives it and a second one the last record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from driftline.errors import CheckpointError
from streams.session import Outbox

CHUNK_BYTES = 512 * 1024
MANIFEST_VERSION = 1


class Chunk(msgspec.Struct, frozen=True):
    """Where one piece of a state lies in the chunk topic's partition, and the hash it must have."""

    offset: int
    digest: bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition starts again from."""

    v: int = MANIFEST_VERSION
    position: int
    """Offset of the next input record to step."""
    generation: int
    chunks: list[Chunk]
    config: bytes = b""
    """The monitor configuration in force, as `streams.monitors` encodes it."""


class CheckpointStore:
    """Reads and writes the checkpoints of one stage."""

    def __init__(
        self, outbox: Outbox, bootstrap: Sequence[str], manifests: str, chunks: str
    ) -> None:
        self._outbox = outbox
        self._bootstrap = list(bootstrap)
        self._manifests = manifests
        self._chunks = chunks

    async def write(
        self, partition: int, *, position: int, generation: int, state: bytes, config: bytes
    ) -> None:
        """Writes the state, then the manifest, each awaited. Raises what the producer raises."""
        pieces = [state[i : i + CHUNK_BYTES] for i in range(0, len(state), CHUNK_BYTES)] or [b""]
        waits = [
            await self._outbox.send(
                self._chunks, partition, piece, _chunk_key(slot, generation), ()
            )
            for slot, piece in enumerate(pieces)
        ]
        written = await asyncio.gather(*waits)
        manifest = Manifest(
            position=position,
            generation=generation,
            chunks=[Chunk(m.offset, _digest(p)) for m, p in zip(written, pieces, strict=True)],
            config=config,
        )
        value = msgspec.msgpack.encode(manifest)
        await (
            await self._outbox.send(self._manifests, partition, value, str(partition).encode(), ())
        )

    async def read(self, partitions: Iterable[int]) -> dict[int, tuple[Manifest, bytes]]:
        """The newest checkpoint of each partition that has one.

        Raises:
            CheckpointError: a manifest names a chunk that is gone or differs, or is of a version
                this program does not know.
        """
        states = {}
        async with self._consumer() as consumer:
            for partition, manifest in (await self._newest(consumer, partitions)).items():
                states[partition] = (manifest, await self._state(consumer, partition, manifest))
        return states

    async def manifests(self, partitions: Iterable[int]) -> dict[int, Manifest]:
        """The newest manifest of each partition that has one."""
        async with self._consumer() as consumer:
            return await self._newest(consumer, partitions)

    async def _newest(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[int]
    ) -> dict[int, Manifest]:
        wanted = [TopicPartition(self._manifests, p) for p in sorted(partitions)]
        consumer.assign(wanted)
        await consumer.seek_to_beginning(*wanted)
        last = await _last_records(consumer, wanted)
        return {tp.partition: _manifest(record) for tp, record in last.items()}

    async def _state(self, consumer: AIOKafkaConsumer, partition: int, manifest: Manifest) -> bytes:
        tp = TopicPartition(self._chunks, partition)
        consumer.assign([tp])
        pieces = []
        for chunk in manifest.chunks:
            consumer.seek(tp, chunk.offset)
            record = await consumer.getone(tp)
            if record.offset != chunk.offset or _digest(record.value or b"") != chunk.digest:
                raise CheckpointError(
                    f"{self._chunks}/{partition}: the chunk at offset {chunk.offset} of the newest "
                    "manifest is gone or differs. Was the topic re-created, or its "
                    "cleanup.policy changed from compact? Delete that partition's manifest by "
                    "re-creating the driftline- topics (the state is then built anew)."
                )
            pieces.append(record.value or b"")
        return b"".join(pieces)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2 * CHUNK_BYTES,
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        await asyncio.sleep(0)  # a task that stop() cancels before it began would cancel us
        try:
            yield consumer
        finally:
            await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stops a consumer. Its own tasks' cancellation, which may reach us, is not ours."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise


async def _last_records(
    consumer: AIOKafkaConsumer, wanted: list[TopicPartition]
) -> dict[TopicPartition, ConsumerRecord[bytes, bytes]]:
    """The last record of each partition that is not empty; two passes over all of them."""
    ends: dict[TopicPartition, int] = {}
    last: dict[TopicPartition, Any] = {}
    todo = set(wanted)
    while todo:
        batches = await consumer.getmany(timeout_ms=200)
        for tp, records in batches.items():
            last[tp] = records[-1]
        for tp in list(todo):
            end = consumer.highwater(tp)
            if end is None:
                continue  # no Fetch answer yet
            if end == 0 or (tp in last and last[tp].offset >= end - 1):
                todo.discard(tp)
            elif ends.get(tp) != end:
                ends[tp] = end
                consumer.seek(tp, end - 1)
    return last


def _manifest(record: ConsumerRecord[bytes, bytes]) -> Manifest:
    manifest = msgspec.msgpack.decode(record.value or b"", type=Manifest)
    if manifest.v != MANIFEST_VERSION:
        raise CheckpointError(
            f"{record.topic}/{record.partition}: checkpoint version {manifest.v}, this program "
            f"reads {MANIFEST_VERSION}. Run the Driftline version that wrote it, or a newer one."
        )
    return manifest


def _chunk_key(slot: int, generation: int) -> bytes:
    return f"{slot}/{generation % 2}".encode()


def _digest(piece: bytes) -> bytes:
    return hashlib.blake2b(piece, digest_size=16).digest()
