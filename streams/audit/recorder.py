"""Writes the audit trail: everything decided, said and done, behind one chain per source log.

A thread of its own with a consumer of its own, so that neither can hold the other up: monitoring
goes on where the trail cannot be written, and what was missed is recorded afterwards, because the
source topics keep it for weeks. It delivers each entry before it commits the source offset, and
the commit's metadata carries the chain's head; a recorder that died in between writes the same
bytes again, which `verify` counts as a repeat.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftline.errors import DriftlineError
from streams.audit.chain import GENESIS, BadEntryError, Happened, decode, link
from streams.kafka.records import records
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics

log = logging.getLogger(__name__)

BATCH: Final = 500
POLL_S: Final = 0.5
DELIVER_S: Final = 20.0
RETRY_S: Final = 5.0
SESSION_MS: Final = 6_000
"""How long a dead recorder's chains wait for another one."""


class RecorderError(DriftlineError):
    """The trail cannot be written now; the recorder tries again."""


class Recorder(threading.Thread):
    """Records the topics that say who decided what."""

    def __init__(self, bootstrap: str, topics: Topics, group: str, telemetry: Telemetry) -> None:
        super().__init__(name="audit", daemon=True)
        self._telemetry = telemetry
        self._servers = bootstrap
        self._topics = topics
        self._group = group
        self._ending = threading.Event()

    def stop(self, timeout: float = DELIVER_S) -> None:
        """Ends the thread after what it has in hand is written."""
        self._ending.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        """Records until stopped; after a failure it begins anew where the trail ends."""
        while not self._ending.is_set():
            try:
                turn = _Turn(self._servers, self._topics, self._group, self._telemetry)
                turn.run(self._ending)
            except (KafkaException, DriftlineError) as error:
                self._telemetry.audit_failed()
                log.warning("audit: cannot record (%s); trying again in %.0f s", error, RETRY_S)
                self._ending.wait(RETRY_S)


class _Turn:
    """One consumer's life: from subscribing to a failure or the end."""

    def __init__(self, bootstrap: str, topics: Topics, group: str, telemetry: Telemetry) -> None:
        self._servers = bootstrap
        self._topic = topics.audit
        self._sources = [topics.alerts, topics.commands, topics.notifications, topics.actions]
        self._telemetry = telemetry
        self._partitions = 0
        self._heads: dict[tuple[str, int], str] = {}
        self._failed: list[str] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{group}-audit",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": SESSION_MS,
                "fetch.message.max.bytes": 4 << 20,
                "log_level": 0,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "max.in.flight.requests.per.connection": 1,  # a chain must stay in order
                "message.max.bytes": 8 << 20,
                "linger.ms": 20,
                "log_level": 0,
            }
        )

    def run(self, ending: threading.Event) -> None:
        """Records until told to end."""
        self._partitions = len(self._metadata())
        self._consumer.subscribe(self._sources, on_assign=self._assigned)
        try:
            while not ending.is_set():
                self._record(self._consumer.consume(BATCH, POLL_S))
        finally:
            self._consumer.close()

    def _metadata(self) -> Mapping[int, Any]:
        found = self._consumer.list_topics(self._topic, timeout=DELIVER_S).topics[self._topic]
        if found.error is not None or not found.partitions:
            raise RecorderError(f"no topic {self._topic}; `driftline topics apply` creates it")
        partitions: Mapping[int, Any] = found.partitions
        return partitions

    def _assigned(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Goes on behind each chain's head: from the commit, or from the trail itself."""
        written: dict[str, tuple[int, str]] | None = None
        starts = []
        for held in consumer.committed(assigned, timeout=DELIVER_S):
            if held.metadata and held.offset >= 0:
                self._heads[held.topic, held.partition] = held.metadata
                starts.append(TopicPartition(held.topic, held.partition, held.offset))
                continue
            if written is None:
                written = heads(self._servers, self._topic)
            offset, head = written.get(f"{held.topic}/{held.partition}", (-1, GENESIS))
            self._heads[held.topic, held.partition] = head
            starts.append(TopicPartition(held.topic, held.partition, offset + 1))
        consumer.assign(starts)

    def _record(self, messages: list[Message]) -> None:
        done: dict[tuple[str, int], int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.retriable() or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the library's name
                    continue
                raise KafkaException(error)
            at = (message.topic(), message.partition())
            entry = link(self._heads[at], _happened(message))
            partition = int.from_bytes(sha256(entry.log.encode()).digest()[:8], "little")
            self._producer.produce(
                self._topic,
                entry.encode(),
                entry.log.encode(),
                partition % self._partitions,
                on_delivery=self._delivered,
            )
            self._heads[at] = entry.hash
            done[at] = message.offset() + 1
        if not done:
            return
        if self._producer.flush(DELIVER_S) or self._failed:
            raise RecorderError(f"not delivered: {', '.join(self._failed[:1]) or 'timed out'}")
        self._consumer.commit(
            offsets=[
                TopicPartition(topic, partition, offset, self._heads[topic, partition])
                for (topic, partition), offset in done.items()
            ],
            asynchronous=False,
        )
        self._telemetry.audited(len(messages))

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())


def _happened(message: Message) -> Happened:
    key = message.key() or b""
    return Happened(
        f"{message.topic()}/{message.partition()}",
        message.offset(),
        max(0, message.timestamp()[1]),
        key.decode("utf-8", "backslashreplace"),
        message.value() or b"",
    )


def heads(bootstrap: str, topic: str) -> dict[str, tuple[int, str]]:
    """Log -> (source offset, hash) of the last entry of each chain in the trail."""
    found: dict[str, tuple[int, str]] = {}
    for record in records(bootstrap, topic):
        try:
            entry = decode(record.value or b"")
        except BadEntryError:
            continue  # `audit verify` says where; the chain goes on behind the last sound entry
        found[entry.log] = (entry.offset, entry.hash)
    return found
