"""Batches, which an agent is given one by one, and what the transport asks of their sessions.

Faust's event of a stage's topic is one `Batch`: consecutive records of one partition, up to a
bound. How a log is cut into batches never shows in results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import faust
from faust.types import TP

MAX_BATCH_RECORDS = 8_000
"""Records of one batch: some 30 ms of decoding, so the event loop keeps its pulse. Many, because
what follows costs by the frame: each batch becomes one for every shard and subject in it. Only a
backlog makes so many."""

MAX_BATCH_BYTES = 5 << 20
"""Bytes of one batch, by weight: what ingest makes of it must fit one internal message (16 MiB)."""

HEAVY_BYTES = 4 << 10
HEAVIER = 2.5
"""A source record from so many bytes on weighs more: it holds columns, and a digit there becomes a
number of eight bytes. So a batch of them is 2 MiB."""

MAX_POLL_RECORDS = 2 * MAX_BATCH_RECORDS
"""What is taken of one partition at a time, before another one has its turn."""


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition that tile [start, next_offset) of its log, in offset order.

    It grows until somebody begins with it: what came meanwhile costs less in one step.
    """

    tp: TP
    records: list[Any]
    """Each with `streams.kafka.raw_fetch.FIELDS`."""
    start: int
    next_offset: int
    epoch: int
    """The session's epoch when the batch was cut; a batch of another epoch is stale."""
    cut_at: float = 0.0
    """When it was cut; monotonic, in s."""
    begun: bool = False

    def grow(self, records: list[Any], end: int, epoch: int) -> bool:
        """Takes the records that follow; False: they have to be a batch of their own."""
        if self.begun or epoch != self.epoch or records[0].offset != self.next_offset:
            return False
        together = self.records + records
        if len(together) > MAX_BATCH_RECORDS or sum(map(_size, together)) > MAX_BATCH_BYTES:
            return False
        self.records, self.next_offset = together, end
        return True


def _size(record: Any) -> int:
    return len(record.value or b"")


class Reader(Protocol):
    """What the transport needs of a session: where its reading stands."""

    epoch: int
    next_fetch: int
    seeking: bool
    queued: Batch | None
    """The last batch of an internal topic; it may not have begun."""


class Sessions(Protocol):
    """What the transport needs of the worker: sessions by partition, opened and closed."""

    def covers(self, topic: str) -> bool:
        """Whether a stage reads this topic."""

    def paced(self, topic: str) -> bool:
        """Whether partitions of this topic are read in order of arrival."""

    def reader(self, tp: TP) -> Reader | None:
        """The open session of a partition."""

    async def open(self, committed: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """Opens a session per partition; returns the offset to read each from."""

    def close(self, tps: set[TP]) -> None:
        """Told that these partitions are being taken away."""

    def hole(self, tp: TP, start: int, end: int) -> None:
        """Told that the log has no records in [start, end), although they were asked for twice."""


class BatchSchema(faust.Schema):
    """Marks a topic as batched: the value of an event is the `Batch` itself."""

    def compile(self, app: Any, **_: Any) -> Any:
        """A decode function that passes the batch through."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return app.create_event(None, message.value, None, message)

        return decode


def cut(records: list[Any], heavier: float = 1.0) -> Iterator[list[Any]]:
    """The records in order, in parts that are batches; large ones weigh `heavier` times as much."""
    begin, weight = 0, 0.0
    for end, record in enumerate(records):
        size = float(_size(record))
        if size >= HEAVY_BYTES:
            size *= heavier
        weight += size
        if end > begin and (weight > MAX_BATCH_BYTES or end - begin >= MAX_BATCH_RECORDS):
            yield records[begin:end]
            begin, weight = end, size
    if begin < len(records):
        yield records[begin:]
