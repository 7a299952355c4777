"""ingest: source messages of any partition -> validated rows -> frames by hash(prediction id).

Stateless but for the arrival it has reached, which travels in the commit's metadata: the group's
offset *is* this stage's checkpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from faust.types import TP

from detectors.frame import Array
from driftline.codec import decode
from driftline.events import Decoded, Reject
from streams.kafka.batches import Batch
from streams.kafka.channel import Sender
from streams.rows.builder import RowBuilder
from streams.rows.dead_letters import dead_letter_headers
from streams.rows.parts import cuts, within
from streams.rows.singles import Records, Singles
from streams.session import Outbox, Session, Stage, log_name
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics

IDLE_CLOCK_BEHIND_MS = 2_000
"""How far the clock of a source partition that is read to its end stays behind ingest's own."""

CLOCK_HEADER = "driftline-clock"

STILL = -(1 << 62)
"""Timestamp of a record that moves no clock: a tombstone."""


@dataclass(slots=True)
class Arrival:
    """The arrival clock of one source partition. `records`: time moves with records only."""

    now_ms: Callable[[], int]
    records: bool
    reached: int | None = None

    def of(self, timestamps: Array) -> Array:
        """The arrivals of records with these timestamps (-1: none), never falling.

        `STILL` moves nothing; its arrival is the one reached before.
        """
        if not self.records:  # a clock in 2099 must not run ahead, nor a missing one stop the rest
            own = self.now_ms()
            capped = np.where(timestamps == -1, own, np.minimum(timestamps, own))
            timestamps = np.where(timestamps == STILL, STILL, capped)
        moving = timestamps != STILL
        moved = np.where(moving, np.maximum(timestamps, 0), STILL)
        if self.reached is not None and len(moved):
            moved[0] = max(int(moved[0]), self.reached)
        arrivals: Array = np.maximum.accumulate(moved)
        if len(arrivals) and arrivals[-1] != STILL:
            self.reached = int(arrivals[-1])
        return arrivals

    def idle(self) -> None:
        """The partition is read to its end: its clock goes on with ours."""
        if not self.records:
            own = self.now_ms() - IDLE_CLOCK_BEHIND_MS
            self.reached = max(own, self.reached if self.reached is not None else own)


class Ingest(Stage):
    """Decode, validate, dead-letter, shard."""

    name = "ingest"
    paced = True

    def __init__(
        self,
        outbox: Outbox,
        telemetry: Telemetry,
        topics: Topics,
        *,
        clock_from_records: bool,
        now_ms: Callable[[], int],
        end_of: Callable[[TP], int | None],
        partitions_of: Callable[[str], int],
    ) -> None:
        super().__init__(outbox, telemetry)
        self.topics = self.topics_of(topics)
        self._clocks = self.topics if clock_from_records else (*self.topics, topics.commands)
        self.destination_topic = topics.rows
        self.destinations = topics.partitions
        self._dead_letters = topics.deadletters
        self._clock_from_records = clock_from_records
        self._now_ms = now_ms
        self._end_of = end_of
        self._partitions_of = partitions_of
        self._singles = Singles()

    def topics_of(self, topics: Topics) -> tuple[str, ...]:
        """Those that this agent reads, in the order of their ranks."""
        return topics.predictions, topics.labels

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """Reads on at the group's offset; the arrival reached stands in its metadata."""
        sessions = {}
        for tp, (offset, metadata) in tps.items():
            start = offset if metadata else 0  # never committed: the channel begins at 0
            reached = int(metadata.removeprefix("arrival=") or -1) if metadata else -1
            core = Arrival(self._now_ms, self._clock_from_records, None if reached < 0 else reached)
            sender = Sender(log_name(tp), start, self.destinations, await self.id_of(tp.topic))
            sessions[tp] = Session(tp, offset, core=core, sender=sender, saved=offset)
        return sessions

    def arrival(self, session: Session) -> int | None:
        """The arrival reached in this source partition."""
        reached: int | None = session.core.reached
        return reached

    def sources(self) -> Mapping[str, int]:
        """Every partition of the public topics; of the commands only if brokers tell the time."""
        return {topic: self._partitions_of(topic) for topic in self._clocks}

    async def step(self, session: Session, batch: Batch) -> None:
        """Rows out, rejects to the dead letters."""
        arrival, records = session.core, batch.records
        before = arrival.reached
        timed = self._timed(arrival, batch, self.topics.index(batch.tp.topic))
        read = self._singles.read(timed)
        self.telemetry.singles(read.rows, batch.tp.topic)
        odd = [(at, self._decoded(batch.tp, records[at])) for at in read.odd]
        reached = arrival.reached
        for start, stop in cuts(read.frames, odd, timed.offsets):
            if stop == len(records):
                session.position, arrival.reached = batch.next_offset, reached
            else:  # later parts hold what arrived later, so nobody may be told of that yet
                session.position = int(timed.offsets[stop])
                arrival.reached = _reached(timed.arrivals[:stop], before)
            builder = RowBuilder(timed.rank, batch.tp.partition, self.destinations)
            here = [(at, decoded) for at, decoded in odd if start <= at < stop]
            dead = [
                (records[at], rejects)
                for at, decoded in here
                if (rejects := _add(builder, decoded, records[at], int(read.arrivals[at])))
            ]
            whole = stop - start == len(records)
            for frame in read.frames if whole else within(read.frames, timed.offsets[start:stop]):
                builder.add_frame(frame)
            await self._emit_part(session, builder, dead)

    async def _emit_part(
        self, session: Session, builder: RowBuilder, dead: list[tuple[Any, list[Reject]]]
    ) -> None:
        """Sends what offsets below the session's position have led to, since the last part."""
        tp, reached = session.tp, session.core.reached
        if reached is not None:
            self.telemetry.arrived(tp.topic, tp.partition, reached)
        for shard, frames in builder.frames().items():
            await self.emit(session, shard, frames)
        for record, rejects in dead:
            await self._dead_letter(session, record, rejects)

    def _timed(self, arrival: Arrival, batch: Batch, rank: int) -> Records:
        """The batch as columns, each record with its arrival."""
        records = batch.records
        values = [record.value for record in records]
        stamps = np.array([record.timestamp for record in records], np.int64)
        moves = stamps
        if not all(values):
            moves = stamps.copy()
            for at, value in enumerate(values):
                if value is None:
                    moves[at] = self._clock_or_tombstone(batch.tp, arrival, records[at])
        arrivals = arrival.of(moves)
        stamps = np.where(stamps < 0, arrivals, stamps)
        return Records(rank, batch.tp.partition, values, _offsets(records), arrivals, stamps)

    def _decoded(self, tp: TP, record: Any) -> Decoded:
        """What one record holds, counted; nothing if it has no value."""
        if record.value is None:
            return Decoded()
        decoded = decode(record.value)
        self.telemetry.decoded(tp.topic, decoded)
        return decoded

    def _clock_or_tombstone(self, tp: TP, arrival: Arrival, record: Any) -> int:
        """What a record without a value does to the clock: `STILL`, or the time to go to."""
        clock = dict(record.headers).get(CLOCK_HEADER)
        if clock is None or not arrival.records or not clock.isdigit():
            self.telemetry.tombstone(tp.topic)
            return STILL
        return int(clock)

    async def _dead_letter(self, session: Session, record: Any, rejects: list[Reject]) -> None:
        """The original bytes once per reason, with where they came from and which rows."""
        rows = defaultdict(list)
        for reject in rejects:
            rows[reject.reason].append(reject)
            self.telemetry.rejected(session.tp.topic, reject.reason)
        for reason, found in rows.items():
            indexes = [r.index for r in found if r.index is not None]
            headers = dead_letter_headers(
                session.tp, record.offset, reason, found[0].detail, indexes
            )
            await self.send(
                session, self._dead_letters, record.value, key=record.key, headers=headers
            )

    async def idle(self, session: Session) -> None:
        """At the end of the partition the clock goes on; receivers are told either way."""
        end = self._end_of(session.tp)
        if end is not None and session.position >= end:
            session.core.idle()
        await self.tell(session)

    def due(self, session: Session, _now: float) -> bool:
        """Every tick: the offset is the checkpoint."""
        return session.position > session.saved

    async def checkpoint(self, session: Session) -> None:
        """Settles, then names the offset with the arrival reached."""
        position, reached = session.position, session.core.reached
        await self.settle(session)
        session.saved = position
        self.commit(session.tp, position, f"arrival={-1 if reached is None else reached}")


def _add(builder: RowBuilder, decoded: Decoded, record: Any, arrival: int) -> list[Reject]:
    """One record's rows into the builder; returns what was wrong with it."""
    stamp = record.timestamp if record.timestamp >= 0 else None
    return decoded.rejects + builder.add(
        decoded, offset=record.offset, arrival=arrival, record_ts=stamp
    )


def _reached(arrivals: Array, before: int | None) -> int | None:
    """The arrival reached after these records."""
    last = int(arrivals[-1])
    return before if last == STILL else last


def _offsets(records: list[Any]) -> Array:
    """The offsets, which grow from record to record; few partitions have gaps."""
    if records and records[-1].offset - records[0].offset == len(records) - 1:
        return np.arange(records[0].offset, records[-1].offset + 1)
    return np.array([record.offset for record in records], np.int64)
