"""Writing a load to the broker, and the topics of one run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from streams.kafka.provision import apply
from streams.topics import Topics
from tests.bench.load import PREDICTIONS, Record

Arrived = Callable[[KafkaError | None, Message], None]
CLOCK_HEADER = "driftline-clock"


class Feed:
    """The source topics of one run, from `with` to their deletion.

    Args:
        partitions: of every topic.
        create_time: records keep the time they are given, and time moves with them.
        linger_ms: how long the producer waits for more before it sends.
    """

    def __init__(
        self, bootstrap: str, *, partitions: int = 4, create_time: bool = True, linger_ms: int = 20
    ) -> None:
        self.bootstrap = bootstrap
        self.topics = Topics(
            prefix=f"b{secrets.token_hex(4)}-", partitions=partitions, source_partitions=partitions
        )
        self._create_time = create_time
        self.sent = 0
        """Messages handed over so far, clock records included."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 0,  # a broker that we end would be told as lost
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 512 << 10,
                "max.in.flight.requests.per.connection": 1,
            }
        )

    @property
    def sources(self) -> tuple[str, str]:
        """The topics of predictions and labels."""
        return self.topics.predictions, self.topics.labels

    def __enter__(self) -> Self:
        apply(self.bootstrap, self.topics, create_time=self._create_time, timeout=60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._producer.purge()
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        names = [topic.name for topic in self.topics.table()]
        for future in admin.delete_topics(names).values():
            future.exception(timeout=30)  # a broker that will not delete keeps them; no matter

    def send(self, records: Sequence[Record]) -> None:
        """Hands the records over, keyed by prediction id; returns when all are on the broker."""
        for at, record in enumerate(records):
            self.put(record, record.ts)
            if at % 500 == 0:
                self._producer.poll(0)
        self.flush()

    def put(self, record: Record, ts: int, arrived: Arrived | None = None) -> None:
        """Hands one record over; waits where the producer is full. `arrived` is told of its end."""
        topic = self.sources[record.topic != PREDICTIONS]
        while True:
            try:
                self._producer.produce(
                    topic, record.value, record.key, timestamp=ts, on_delivery=arrived
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self.sent += 1
                return

    def poll(self) -> None:
        """Lets the producer tell what became of what it was given."""
        self._producer.poll(0)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Returns when all is on the broker.

        Raises:
            TimeoutError: it is not, after so long.
        """
        if left := self._producer.flush(timeout_s):
            raise TimeoutError(f"the broker did not take {left:,} messages in {timeout_s:.0f} s")

    def clock(self, now_ms: int) -> None:
        """Says in every source partition that time has come to `now_ms`."""
        for topic in self.sources:
            for partition in range(self.topics.source_partitions):
                self._producer.produce(
                    topic,
                    None,
                    partition=partition,
                    timestamp=now_ms,
                    headers=[(CLOCK_HEADER, str(now_ms).encode())],
                )
                self.sent += 1
        self.flush()


def pause_until(at: float) -> None:
    """Sleeps until this monotonic time."""
    if (left := at - time.monotonic()) > 0:
        time.sleep(left)
