"""Faust's consumer thread: how it fetches and commits.

Source: faust-streaming 0.15.3 (`transport/drivers/aiokafka.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as AioTopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka import raw_fetch, responses
from streams.kafka.connections import on_each

FETCH_WAIT_MS = 100
"""How long the broker keeps a fetch while it has less than FETCH_BYTES. One fetch at a time is out,
and what it does not ask for waits for it: an idle partition must not hold up a busy one."""

FETCH_BYTES = 64 << 10
"""Little that comes often costs more than the same at once."""

RESPONSE_BYTES = 8 << 20
"""About the most of one fetch, of all partitions together; aiokafka asks them in another order each
time. Larger ones leave holes in the heap that little fits into."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Commits with metadata; a commit that the group refuses is no reason to die."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  Faust's 1,500 is no setting
        consumer._fetch_min_bytes = FETCH_BYTES  # noqa: SLF001
        consumer._fetch_max_bytes = RESPONSE_BYTES  # noqa: SLF001
        if self.consumer.direct:
            on_each(consumer._client, responses.receive)  # noqa: SLF001
        return consumer

    async def committed_with_metadata(self, tps: set[TP]) -> dict[TP, tuple[int, str]]:
        """The group's (offset, metadata) for those partitions that have one."""
        return dict(await self.call_thread(self._committed_with_metadata, tps))

    async def _committed_with_metadata(self, tps: set[TP]) -> dict[TP, tuple[int, str]]:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        wanted = [AioTopicPartition(tp.topic, tp.partition) for tp in tps]
        answer = await coordinator.fetch_committed_offsets(wanted)
        return {
            TP(tp.topic, tp.partition): (m.offset, m.metadata)
            for tp, m in answer.items()
            if m.offset >= 0
        }

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        if self.consumer.raw:
            raw_fetch.install(consumer._fetcher)  # noqa: SLF001
        return await super()._fetch_records(consumer, *args, **kwargs)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        metadata = self.consumer.commit_metadata
        named = {
            AioTopicPartition(tp.topic, tp.partition): OffsetAndMetadata(
                offset, metadata.get(tp, "")
            )
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        if not named:
            return False
        try:
            await self._ensure_consumer().commit(named)
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            # A zombie's commit is refused, as it should be; nothing but lag tools needs it, and
            # ingest reads again what it could not commit.
            self.log.warning("offsets not committed: %s", error)
            return False
        return True
