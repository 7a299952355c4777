"""The batch channel: Faust's consumer as the stages need it; what it reaches for is pinned.

Faust hands an agent one event per Kafka message, which costs about 90 us each. Here one event is
a `Batch` of one partition. Faust still owns the group, the assignment, flow control and the order
of a shutdown; this module changes four things:

1. `_drain_messages` cuts what was fetched into batches and tags each with its session's epoch;
2. `seek_to_committed` opens a session for every stage partition and starts reading at the position
   *it* names (inside its checkpoint), not at the group's offset (architecture: rule 4, restart);
3. commits name the session's position, never anything derived from acks; they are for lag tools,
   and for ingest they are the checkpoint;
4. a revoked partition closes its session before Faust hears of it.

Source: faust-streaming 0.15.3 (`transport/consumer.py`, `transport/drivers/aiokafka.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from aiokafka.errors import IllegalStateError
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.kafka import requests
from streams.kafka.batches import HEAVIER, Batch, Sessions, cut
from streams.kafka.connections import on_each
from streams.kafka.consumer_thread import ConsumerThread
from streams.kafka.opening import until_open
from streams.kafka.pacing import Pacing

PACED_AT_ONCE = 8
"""Batches of source partitions that go on before internal topics are looked at again."""

ALIAS = "driftline"


class Consumer(driver.Consumer):
    """Delivers stage topics as batches, from the positions their sessions name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.commit_positions: dict[TP, int] = {}
        self.commit_metadata: dict[TP, str] = {}
        self._pacing = Pacing()
        self._dropped: set[TP] = set()
        super().__init__(*args, **kwargs)
        self.stages: Sessions = self.app.stages
        self.raw: bool = self.app.raw_records
        """Whether records come as they were parsed, see `streams.kafka.raw_fetch`."""
        self.direct: bool = self.app.direct
        """Whether responses are received where they stay, see `streams.kafka.responses`."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- where reading starts --------------------------------------------------------------

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Opens the sessions and seeks to their positions; tries again while the broker is away."""
        positions: Mapping[TP, int] = await until_open(self._open_sessions)
        return positions

    async def _open_sessions(self) -> Mapping[TP, int]:
        committed = dict(await super().seek_to_committed())
        tps = {tp for tp in self.assignment() if self.stages.covers(tp.topic)}
        if not tps:
            return committed
        positions = await self.stages.open(await self.committed_or_earliest(tps))
        await self._thread.seek_wait(positions)
        return {**committed, **positions}

    async def committed_or_earliest(self, tps: set[TP]) -> dict[TP, tuple[int, str]]:
        """The group's (offset, metadata) per partition; never committed: (start of the log, "")."""
        named = await self._thread.committed_with_metadata(tps)
        new = tps - named.keys()
        earliest = await self.earliest_offsets(*new) if new else {}
        return {tp: named.get(tp) or (earliest.get(tp, 0), "") for tp in tps}

    def partition_count(self, topic: str) -> int:
        """Partitions of a topic as the cluster's metadata says, right in every member of a group.

        Faust's own `topic_partitions` knows them in the group's leader only.

        Raises:
            LookupError: no metadata yet; a guess would let the clock run ahead of a partition.
        """
        cluster = self._thread._ensure_consumer()._client.cluster  # noqa: SLF001
        partitions = cluster.partitions_for_topic(topic)
        if not partitions:
            raise LookupError(f"no metadata of topic {topic} yet")
        return len(partitions)

    async def rewind(self, tp: TP, position: int) -> None:
        """Starts reading this partition again at a position."""
        self._pacing.drop(tp)
        await self._thread.seek_wait({tp: position})

    # -- cutting batches ---------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        wait_s = 1.0
        try:
            while not (self.should_stop or fetcher.should_stop):
                records, active = await self._wait_next_records(wait_s)
                await self.sleep(0)
                # Fetched while the flow was stopped: dropped. Seeking here, as Faust does, would
                # open sessions twice.
                if not self.flow_active:
                    self._dropped |= {TP(tp.topic, tp.partition) for tp in records or {}}
                    self._pacing.clear()
                    wait_s = 1.0
                else:
                    wait_s = await self._deliver(await self._undropped(records or {}), active)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def _undropped(self, records: Mapping[TP, list[Any]]) -> Mapping[TP, list[Any]]:
        """Reads again from where the sessions are whatever was dropped while the flow was stopped.

        The seek that ends a rebalance may have come before the Fetch whose records were dropped;
        without more traffic on that partition nothing else would make them come again.
        """
        if not self._dropped:
            return records
        dropped, self._dropped = self._dropped, set()
        for tp in dropped:
            reader = self.stages.reader(tp)
            if reader is not None:
                with suppress(IllegalStateError):  # it leaves just now
                    await self.rewind(tp, reader.next_fetch)
        return {tp: r for tp, r in records.items() if TP(tp.topic, tp.partition) not in dropped}

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109  Faust's
    ) -> Any:
        """From partitions of which nothing waits; from all, if of all of them something does.

        Not in `_get_active_partitions`: Faust pauses and resumes partitions in the very set which
        that returns.
        """
        wanted = active_partitions
        if wanted is not None:
            wanted = wanted.difference(self._pacing.held) or wanted
        return await super()._getmany(wanted, timeout)

    async def _deliver(self, records: Mapping[TP, list[Any]], active: set[TP] | None) -> float:
        """Slices of source partitions in order of arrival, of the others in turn.

        Returns how long the next fetch may wait for records, in seconds.
        """
        generation = self.app.consumer_generation_id

        def stale() -> bool:
            return self.app.consumer_generation_id != generation or not self.flow_active

        queues = self._sorted(records, active)
        while queues:  # one slice of each partition in turn: none starves the others
            for tp, slices in list(queues.items()):
                if stale():
                    return 1.0
                part = next(slices, None)
                if part is None or not await self._deliver_slice(tp, part):
                    del queues[tp]
        for _ in range(PACED_AT_ONCE):
            due = None if stale() else self._pacing.pop(self._behind(), self.loop.time())
            if due is None:
                return 0.05 if self._pacing.held else 1.0
            if not await self._deliver_slice(*due):
                self._pacing.drop(due[0])
        return 0.0

    def _sorted(
        self, records: Mapping[TP, list[Any]], active: set[TP] | None
    ) -> dict[TP, Iterator[list[Any]]]:
        """The slices of internal topics; those of source topics go to the pacing."""
        queues: dict[TP, Iterator[list[Any]]] = {}
        for key, batch in records.items():
            tp = TP(key.topic, key.partition)
            if not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            if self.stages.paced(tp.topic):
                self._pacing.add(tp, cut(batch, HEAVIER))
            else:
                queues[tp] = cut(batch)
        return queues

    @property
    def busy(self) -> bool:
        """Whether source records that were fetched wait for their turn."""
        return bool(self._pacing.held)

    def _behind(self) -> list[TP]:
        """Source partitions of which nothing waits to go on, though their log has more."""
        return [
            tp
            for tp in self._get_active_partitions()
            if self.stages.paced(tp.topic)
            and tp not in self._pacing.held
            and (reader := self.stages.reader(tp)) is not None
            and reader.next_fetch < (self.highwater(tp) or 0)
        ]

    async def _deliver_slice(self, tp: TP, records: list[Any]) -> bool:
        """Hands a slice on; False: it will be read again, and so will what follows it."""
        reader = self.stages.reader(tp)
        if reader is None:
            return False
        start = reader.next_fetch
        records = (
            [r for r in records if r.offset >= start] if records[0].offset < start else records
        )
        if not records:
            return True
        if records[0].offset > start:
            if not reader.seeking:  # fetched before a seek? Ask once more, from the right place.
                reader.seeking = True
                await self.rewind(tp, start)
                return False
            self.stages.hole(tp, start, records[0].offset)
        reader.seeking = False
        end = records[-1].offset + 1
        reader.next_fetch = end
        self._read_offset[tp] = end - 1
        if reader.queued is not None and reader.queued.grow(records, end, reader.epoch):
            return True
        batch = Batch(tp, records, start, end, reader.epoch, self.loop.time())
        if not self.stages.paced(tp.topic):  # those would leave their order of arrival
            reader.queued = batch
        message = ConsumerMessage(
            tp.topic, tp.partition, end - 1, records[-1].timestamp / 1000.0, 0, None, None,
            batch, None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        await self.wait_first(self.callback(message), self.suspend_flow.wait())
        return True

    # -- commits -------------------------------------------------------------------------------

    def commit_later(self, tp: TP, position: int, metadata: str = "") -> None:
        """Names the offset that Faust's commit timer writes next for this partition."""
        self.commit_positions[tp] = position
        self.commit_metadata[tp] = metadata

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp in super()._filter_tps_with_pending_acks(topics):
            if self.stages.covers(tp.topic):
                self._acked[tp].clear()
                self._acked_index[tp].clear()
            else:
                yield tp
        yield from list(self.commit_positions)

    def _new_offset(self, tp: TP) -> int | None:
        if not self.stages.covers(tp.topic):
            offset: int | None = super()._new_offset(tp)
            return offset
        return self.commit_positions.pop(tp, None)

    # -- rebalance -----------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Closes the sessions, then lets Faust stop flow and streams."""
        self.stages.close(revoked)
        for tp in revoked:
            self.commit_positions.pop(tp, None)
        await super().on_partitions_revoked(revoked)


class Producer(driver.Producer):
    """Sends what it is given with fewer copies, see `streams.kafka.requests`."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        if self.app.direct:
            on_each(producer.client, requests.send_in_pieces)
            requests.build_batches(producer)
        return producer


class Transport(drivers.aiokafka.Transport):
    """Faust's aiokafka transport with our clients; broker URLs `driftline://host:port`."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer


def register() -> None:
    """Makes `driftline://` a broker scheme that Faust knows."""
    drivers.TRANSPORTS.aliases[ALIAS] = f"{__name__}:Transport"
