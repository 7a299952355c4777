"""A whole topic from its beginning, for commands that print what stands in it."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from driftline.errors import BrokerUnreachable, DriftlineError

CONNECT_S = 10.0
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in the topic; headers as text, the last of each name."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


def partitions_of(bootstrap: str, topic: str) -> list[int]:
    """The topic's partitions. Raises as `records`."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "driftline-cli", "log_level": 0}
    )
    try:
        return _partitions(consumer, bootstrap, topic)
    finally:
        consumer.close()


def records(
    bootstrap: str,
    topic: str,
    *,
    follow: bool = False,
    since_ms: int | None = None,
    only: Container[int] | None = None,
) -> Iterator[Record]:
    """The topic's records, partition by partition in order; with `follow`, for ever.

    `since_ms`: of each partition from the first record on that is not older.
    `only`: these partitions; None: all.

    The end of a partition is where Fetch says it is: `ListOffsets` is wrong on some brokers.

    Raises:
        BrokerUnreachable: no broker answers.
        DriftlineError: the topic is not there.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "driftline-cli",  # required by the library; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 16 << 20,
            "queued.max.messages.kbytes": 16_384,
            "log_level": 0,
        }
    )
    try:
        there = _partitions(consumer, bootstrap, topic)
        partitions = [p for p in there if only is None or p in only]
        starts = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions]
        if since_ms is not None:
            asked = [TopicPartition(topic, p, since_ms) for p in partitions]
            starts = consumer.offsets_for_times(asked, timeout=CONNECT_S)  # -1 is the end
        consumer.assign(starts)
        unread = set(partitions)
        while unread or follow:
            for message in consumer.consume(1_000, POLL_S):
                error = message.error()
                if error is None:
                    yield _record(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the library's name
                    unread.discard(message.partition())
                elif not error.retriable():
                    raise DriftlineError(f"{topic}: cannot be read: {error.str()}")
    finally:
        consumer.close()


def ends(bootstrap: str, topic: str, positions: Mapping[int, int]) -> dict[int, int]:
    """The end of each partition, as Fetch says it when asked from a position on.

    Partitions that did not answer in time are left out. Raises as `records`.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "driftline-cli",  # required by the library; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 1_024,
            "log_level": 0,
        }
    )
    try:
        there = _partitions(consumer, bootstrap, topic)
        wanted = {p: at for p, at in positions.items() if p in there}
        consumer.assign([TopicPartition(topic, p, at) for p, at in wanted.items()])
        found: dict[int, int] = {}
        give_up = time.monotonic() + CONNECT_S
        while wanted.keys() - found.keys() and time.monotonic() < give_up:
            for message in consumer.consume(1_000, 0.1):
                p = message.partition()
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, p), cached=True)
                if end >= 0:
                    found[p] = end
        return found
    finally:
        consumer.close()


def _partitions(consumer: Consumer, bootstrap: str, topic: str) -> list[int]:
    try:
        metadata = consumer.list_topics(timeout=CONNECT_S)
    except KafkaException as error:
        raise BrokerUnreachable(bootstrap, error.args[0].str()) from error
    if topic not in metadata.topics:
        raise DriftlineError(f"no topic {topic}; `driftline topics apply` creates it")
    return sorted(metadata.topics[topic].partitions)


def _record(message: Any) -> Record:  # Any: an untyped library
    headers = {
        name: value.decode("utf-8", "replace")
        for name, value in message.headers() or []
        if value is not None
    }
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
    )
