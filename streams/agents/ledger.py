"""The notifier's ledger on Kafka: written by Faust's producer, read back at a start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from driftline.errors import CheckpointError, ContractError
from streams.notify.ledger import Notification, decode, encode
from streams.session import Outbox

log = logging.getLogger(__name__)


class KafkaLedger:
    """`driftline.notifications`; what is about alerts partition p lies in partition p modulo n."""

    def __init__(self, outbox: Outbox, bootstrap: Sequence[str], topic: str, alerts: str) -> None:
        self._outbox = outbox
        self._bootstrap = list(bootstrap)
        self._topic = topic
        self._alerts = alerts
        self._partitions = 1

    async def write(self, records: Sequence[Notification]) -> None:
        """Returns when the broker has all of them. Raises what the producer raises."""
        waits = [
            await self._outbox.send(self._topic, self.place(r), encode(r), r.key, ())
            for r in records
        ]
        await asyncio.gather(*waits)

    def place(self, record: Notification) -> int:
        """The partition of the ledger that a record belongs to."""
        return record.partition % self._partitions

    async def read(
        self, partitions: Iterable[int]
    ) -> tuple[dict[int, list[Notification]], dict[int, int]]:
        """Per alerts partition: its records in order, and the offset at which its alerts end now.

        Raises: CheckpointError: the topic is not there.
        """
        wanted = sorted(partitions)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        await asyncio.sleep(0)  # a task that stop() cancels before it began would cancel us
        try:
            return await self._read(consumer, wanted)
        finally:
            await _stop(consumer)

    async def _read(
        self, consumer: AIOKafkaConsumer, wanted: list[int]
    ) -> tuple[dict[int, list[Notification]], dict[int, int]]:
        there = await consumer._client.fetch_all_metadata()  # noqa: SLF001  no public way
        known = there.partitions_for_topic(self._topic)
        if not known:
            raise CheckpointError(f"no topic {self._topic}; `driftline topics apply` creates it")
        self._partitions = len(known)
        ledger = {TopicPartition(self._topic, p % self._partitions) for p in wanted}
        alerts = {TopicPartition(self._alerts, p) for p in wanted}
        consumer.assign([*ledger, *alerts])
        await consumer.seek_to_beginning(*ledger, *alerts)
        found: dict[int, list[Notification]] = {p: [] for p in wanted}
        ends: dict[int, int] = {}
        todo = {*ledger, *alerts}
        while todo:
            batches = await consumer.getmany(timeout_ms=200)
            for tp, records in batches.items():
                if tp in ledger:
                    _sort(records, found)
            done = set()
            for tp in todo:
                end = consumer.highwater(tp)
                if end is None:
                    continue  # no Fetch answer yet
                if tp in alerts:
                    ends[tp.partition] = end
                    consumer.pause(tp)
                if tp in alerts or end == 0 or await consumer.position(tp) >= end:
                    done.add(tp)
            todo -= done
        return found, ends


def _sort(records: Iterable[Any], found: dict[int, list[Notification]]) -> None:
    """Each record to the alerts partition it is about; what cannot be read is passed over."""
    for record in records:
        if record.value is None:
            continue
        try:
            notification = decode(record.value)
        except ContractError as error:
            log.warning(
                "%s/%d@%d is not a record of the ledger: %s",
                *(record.topic, record.partition, record.offset, error),
            )
            continue
        if notification.partition in found:
            found[notification.partition].append(notification)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stops a consumer. Its own tasks' cancellation, which may reach us, is not ours."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
