"""The changes topic: what join's checkpoints put on their disks, so that any disk can be had again.

One record holds some puts of one checkpoint; records are read in order, each put replaces what its
id had in that slice, so reading on from any earlier state gives the later one. A record says who
wrote it: a worker that lost its partition unawares may go on writing between the records of the
next, and a manifest counts only the *runs* of its own history.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import cramjam
import msgspec
import numpy as np
from aiokafka import TopicPartition

from streams.session import Outbox
from streams.state.log_reader import consumer, records_from
from streams.state.manifest import Run
from streams.state.rocks_pending import Changes

log = logging.getLogger(__name__)

VERSION = 1
RECORD_BYTES = 2 << 20
_ID_BYTES = 16


class _Puts(msgspec.Struct, array_like=True, frozen=True):
    """Puts into one slice: ids and values end to end, the values' sizes as little-endian u32.

    `values` is an LZ4 block with its size in front: neighbours have much in common.
    """

    number: int
    ids: bytes
    sizes: bytes
    values: bytes


class _Record(msgspec.Struct, array_like=True, frozen=True):
    v: int
    writer: bytes
    sequence: int
    """Of the records of this writer; one that does not grow is a producer's repeat."""
    puts: list[_Puts]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


@dataclass(slots=True)
class Writer:
    """One session's hand in the changes topic, and the history that it goes on with."""

    runs: list[Run] = field(default_factory=list)
    token: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    sequence: int = 0

    @property
    def end(self) -> int:
        """Offset behind the last record of the history."""
        return self.runs[-1].end if self.runs else 0

    def trim(self, since: int | None) -> None:
        """Forgets the runs that lie before offset `since`, but for the last."""
        kept = [run for run in self.runs[:-1] if since is not None and run.end > since]
        self.runs = [*kept, *self.runs[-1:]]

    def wrote(self, first: int, last: int) -> None:
        """The session's records from offset `first` to `last` were acknowledged."""
        if self.runs and self.runs[-1].writer == self.token:
            self.runs[-1] = Run(self.token, self.runs[-1].start, last + 1)
        else:
            self.runs.append(Run(self.token, first, last + 1))


class ChangeLog:
    """Writes and reads the changes topic."""

    def __init__(self, outbox: Outbox, bootstrap: Sequence[str], topic: str) -> None:
        self._outbox = outbox
        self._bootstrap = list(bootstrap)
        self._topic = topic

    async def append(self, partition: int, writer: Writer, changes: Changes) -> None:
        """Writes one checkpoint's changes and awaits them. Raises what the producer raises."""
        waits = []
        for puts in _cut(changes):
            writer.sequence += 1
            value = _encode(_Record(VERSION, writer.token, writer.sequence, puts))
            waits.append(await self._outbox.send(self._topic, partition, value, None, ()))
        offsets = [sent.offset for sent in await asyncio.gather(*waits)]
        if offsets:
            writer.wrote(min(offsets), max(offsets))

    async def read(
        self, partition: int, runs: Sequence[Run], since: int
    ) -> AsyncIterator[tuple[bytes, int, Changes]]:
        """(writer, offset behind it, the puts) of each record of a history, from `since` on."""
        tp = TopicPartition(self._topic, partition)
        async with consumer(self._bootstrap) as reader:
            first = (await reader.beginning_offsets([tp]))[tp]
            if runs and first > max(since, runs[0].start):
                log.warning(
                    "%s/%d begins at %d, but what is pending began at %d: what lay in between is "
                    "lost. Is its retention shorter than 1.25 horizons, or was a worker away that "
                    "long?",
                    *(self._topic, partition, first, max(since, runs[0].start)),
                )
            for run in runs:
                sequence = 0
                start = max(run.start, since)
                if start >= run.end:
                    continue
                async for batch in records_from(reader, tp, start, run.end):
                    for record in batch:
                        found = _decode(record.value or b"")
                        if found.writer == run.writer and found.sequence > sequence:
                            sequence = found.sequence
                            yield run.writer, record.offset + 1, _changes(found.puts)


def _cut(changes: Changes) -> Iterator[list[_Puts]]:
    """The changes as records of about `RECORD_BYTES`."""
    for number, values in changes.items():
        part: list[tuple[bytes, bytes]] = []
        size = 0
        for put in values:
            part.append(put)
            size += _ID_BYTES + len(put[1])
            if size >= RECORD_BYTES:
                yield [_puts(number, part)]
                part, size = [], 0
        if part:
            yield [_puts(number, part)]


def _puts(number: int, values: Sequence[tuple[bytes, bytes]]) -> _Puts:
    sizes = np.array([len(value) for _, value in values], "<u4").tobytes()
    ids, held = zip(*values, strict=True)
    return _Puts(number, b"".join(ids), sizes, bytes(cramjam.lz4.compress_block(b"".join(held))))


def _changes(puts: Sequence[_Puts]) -> Changes:
    changes: Changes = {}
    for part in puts:
        ends = np.cumsum(np.frombuffer(part.sizes, "<u4").astype(np.int64)).tolist()
        starts = [0, *ends[:-1]]
        ids = [part.ids[i : i + _ID_BYTES] for i in range(0, len(part.ids), _ID_BYTES)]
        held = bytes(cramjam.lz4.decompress_block(part.values)) if ends[-1] else b""
        values = [held[a:b] for a, b in zip(starts, ends, strict=True)]
        changes.setdefault(part.number, []).extend(zip(ids, values, strict=True))
    return changes
