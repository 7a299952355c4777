"""Checkpoints: a partition's state in chunks, and the manifest that makes them count.

A manifest is one record in a compacted topic with as many partitions as the stage's input: key =
partition (`streams.state.manifest`). It is awaited last, so a manifest that can be read has all its
chunks behind it. Chunks go to a compacted topic of their own. Their key is the hash of their bytes:
one that a later generation still needs is not written again, and one that two generations in a row
did without gets a tombstone.

A manifest whose chunks are gone (it was written by a worker that had slept for hours, and what it
relies on was cleaned up meanwhile) is passed over for the one before: an older checkpoint costs
reading again, not data.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors.flow.saved_blocks import Block
from driftline.errors import CheckpointError
from streams.session import Outbox
from streams.state import manifest as form
from streams.state.log_reader import consumer, last_records, records_from
from streams.state.manifest import CONFIG, STATE, Chunk, Draft, Drafted, Manifest, Piece

log = logging.getLogger(__name__)

CHUNK_BYTES = 512 * 1024
REFRESH_GENERATIONS = 700
"""A chunk is written again after so many (6 h at 30 s): so long must no zombie sleep."""

VISIBLE_S = 5.0
"""How long a leader that just began may take to show what it has: its high watermark lags."""

Pieces = dict[str, bytes]


class CheckpointStore:
    """Reads and writes the checkpoints of one stage."""

    def __init__(
        self, outbox: Outbox, bootstrap: Sequence[str], manifests: str, chunks: str
    ) -> None:
        self._outbox = outbox
        self._bootstrap = list(bootstrap)
        self._manifests = manifests
        self._chunks = chunks

    async def write(self, partition: int, former: Manifest | None, draft: Draft) -> Manifest:
        """Writes what is new of a state, then the manifest, each awaited.

        Args:
            partition: of the stage's input.
            former: the manifest that this one follows; None: it is the first.
            draft: what to write.

        Raises what the producer raises.
        """
        generation = 1 if former is None else former.generation + 1
        known = {} if former is None else {c.digest: c for c in former.all_chunks()}
        chunks = await self._write_chunks(partition, draft.pieces, known, generation)
        needed = {chunk.digest for piece in chunks for chunk in piece.chunks}
        manifest = Manifest(
            position=draft.position,
            generation=generation,
            pieces=chunks,
            stale=sorted(known.keys() - needed),
            changes=draft.changes,
            input=draft.input,
            partitions=draft.partitions,
            config_hash=_hash(chunks, CONFIG),
            facts=draft.facts,
        )
        value = form.encode(manifest)
        await (
            await self._outbox.send(self._manifests, partition, value, str(partition).encode(), ())
        )
        if former is not None:
            await self._bury(partition, set(former.stale) - needed - known.keys())
        return manifest

    async def _write_chunks(
        self,
        partition: int,
        pieces: Drafted,
        known: dict[bytes, Chunk],
        generation: int,
    ) -> list[Piece]:
        """Sends the chunks that are not there yet, or will have to be written again soon."""
        there = {k for k, c in known.items() if c.generation > generation - REFRESH_GENERATIONS}
        new: dict[bytes, bytes] = {}
        named = {name: _keys(data, there, new) for name, data in pieces.items()}
        sent = [await self._outbox.send(self._chunks, partition, p, k, ()) for k, p in new.items()]
        written = zip(new.items(), await asyncio.gather(*sent), strict=True)
        found = known | {k: Chunk(m.offset, k, len(p), generation) for (k, p), m in written}
        return [Piece(name, [found[key] for key in keys]) for name, keys in named.items()]

    async def _bury(self, partition: int, digests: Iterable[bytes]) -> None:
        """Tombstones; one that is lost costs some disk, so nothing depends on them."""
        sent = [
            await self._outbox.send(self._chunks, partition, None, key, ())
            for key in sorted(digests)
        ]
        await asyncio.gather(*sent, return_exceptions=True)

    async def read(self, partitions: Iterable[int]) -> dict[int, tuple[Manifest, Pieces]]:
        """The newest checkpoint of each partition that has one that can be read.

        Raises:
            CheckpointError: a partition has manifests, but of none all chunks are there; or the
                newest is of a version that this program does not know.
        """
        states = {}
        async with consumer(self._bootstrap, 2 * CHUNK_BYTES) as reader:
            for partition, manifest in (await self._newest(reader, partitions)).items():
                try:
                    states[partition] = (manifest, await self._pieces(reader, partition, manifest))
                except CheckpointError as broken:
                    states[partition] = await self._older(reader, partition, broken)
        return states

    async def manifests(self, partitions: Iterable[int]) -> dict[int, Manifest]:
        """The newest manifest of each partition that has one."""
        async with consumer(self._bootstrap, 2 * CHUNK_BYTES) as reader:
            return await self._newest(reader, partitions)

    async def _newest(
        self, reader: AIOKafkaConsumer, partitions: Iterable[int]
    ) -> dict[int, Manifest]:
        wanted = [TopicPartition(self._manifests, p) for p in sorted(partitions)]
        last = await last_records(reader, wanted)
        return {tp.partition: _manifest(tp, record.value) for tp, record in last.items()}

    async def _older(
        self, reader: AIOKafkaConsumer, partition: int, broken: CheckpointError
    ) -> tuple[Manifest, Pieces]:
        """The newest checkpoint before this one whose chunks are all there."""
        tp = TopicPartition(self._manifests, partition)
        found = [r.value async for batch in records_from(reader, tp, 0) for r in batch]
        for value in reversed(found[:-1]):
            manifest = _manifest(tp, value)
            try:
                pieces = await self._pieces(reader, partition, manifest)
            except CheckpointError:
                continue
            log.warning("%s; going back to generation %d", broken, manifest.generation)
            return manifest, pieces
        raise broken

    async def _pieces(self, reader: AIOKafkaConsumer, partition: int, manifest: Manifest) -> Pieces:
        tp = TopicPartition(self._chunks, partition)
        reader.assign([tp])
        chunks = sorted(manifest.all_chunks(), key=lambda chunk: chunk.offset)
        wanted = {chunk.digest for chunk in chunks}
        data: dict[bytes, bytes] = {}
        for chunk in chunks:
            if chunk.digest not in data:
                await self._read_chunk(reader, tp, chunk, wanted, data)
        if manifest.v == 1:
            state = b"".join([data[chunk.digest] for chunk in manifest.chunks])
            return {STATE: state, CONFIG: manifest.config}
        return {
            piece.name: b"".join([data[chunk.digest] for chunk in piece.chunks])
            for piece in manifest.pieces
        }

    async def _read_chunk(
        self,
        reader: AIOKafkaConsumer,
        tp: TopicPartition,
        chunk: Chunk,
        wanted: set[bytes],
        data: dict[bytes, bytes],
    ) -> None:
        """Reads a chunk into `data`, and of what comes with it whatever is wanted, too."""
        if await reader.position(tp) != chunk.offset:
            reader.seek(tp, chunk.offset)
        give_up = time.monotonic() + VISIBLE_S
        while True:  # compaction keeps the last of equal records: it may lie further on
            found = await reader.getmany(tp, timeout_ms=200)
            read = {form.digest(r.value or b""): r.value or b"" for r in found.get(tp, [])}
            data |= {key: read[key] for key in wanted & read.keys()}
            if chunk.digest in data:
                return
            mark = reader.highwater(tp)
            shown = mark is not None and (mark > chunk.offset or time.monotonic() >= give_up)
            if shown and await reader.position(tp) >= mark:
                break
        raise CheckpointError(
            f"{self._chunks}/{tp.partition}: the chunk at offset {chunk.offset} of the newest "
            "manifest is gone or differs. Was the topic re-created, or its cleanup.policy changed "
            "from compact? Delete that partition's manifest by re-creating the driftline- topics "
            "(the state is then built anew)."
        )


def _keys(data: bytes | Sequence[Block], there: set[bytes], new: dict[bytes, bytes]) -> list[bytes]:
    """The digests of a piece's chunks; those that are not there go into `new`."""
    if isinstance(data, bytes):
        return _cut(data, there, new)
    for block in data:
        if not block.keys or not there.issuperset(block.keys):
            encoded = block.encode()
            block.size, block.keys = len(encoded), tuple(_cut(encoded, there, new))
    return [key for block in data for key in block.keys]


def _cut(data: bytes, there: set[bytes], new: dict[bytes, bytes]) -> list[bytes]:
    parts = [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]
    keys = [form.digest(part) for part in parts]
    new.update({key: part for key, part in zip(keys, parts, strict=True) if key not in there})
    return keys


def _hash(pieces: Sequence[Piece], name: str) -> str:
    """The first letters of the digest of a piece."""
    chunks = next((piece.chunks for piece in pieces if piece.name == name), [])
    return b"".join([chunk.digest for chunk in chunks]).hex()[:12]


def _manifest(tp: TopicPartition, value: bytes | None) -> Manifest:
    return form.decode(value or b"", f"{tp.topic}/{tp.partition}")
