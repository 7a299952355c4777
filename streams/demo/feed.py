"""Writes the story's records to Kafka, no further ahead of the worker than a story can be told."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from confluent_kafka import Producer

from driftline.errors import DriftlineError
from streams.demo.data import DAY_MS, HOUR_MS
from streams.demo.traffic import END, START, Record

CLOCK_HEADER = "driftline-clock"
CLOCK_EVERY_MS = 6 * HOUR_MS
"""Every source partition gets the time so often, so that one without traffic holds nobody up."""

LEAD_MS = 90 * DAY_MS
"""How far traffic runs ahead of the windows that have closed."""

SETTLED_MS = END + 3 * DAY_MS
"""The last clock record: every label is in, and every window has closed."""


class FeedError(DriftlineError):
    """The broker did not take a record."""


class Gate:
    """Holds the feed back until the worker has caught up; knows when it last moved."""

    def __init__(self, lead_ms: int = LEAD_MS) -> None:
        self._lead_ms = lead_ms
        self._closed_to = START
        self._moved = threading.Condition()
        self._open = False

    def closed(self, end_ms: int) -> None:
        """A window that ends at `end_ms` has closed."""
        with self._moved:
            self._closed_to = max(self._closed_to, end_ms)
            self._moved.notify_all()

    def give_up(self) -> None:
        """Lets everything pass: the run is over, or has failed."""
        with self._moved:
            self._open = True
            self._moved.notify_all()

    def wait(self, ts: int) -> bool:
        """Waits until `ts` is near enough to what has closed; False after `give_up`."""
        with self._moved:
            self._moved.wait_for(lambda: self._open or ts <= self._closed_to + self._lead_ms)
            return not self._open


class Feed:
    """Plays records in order of their time.

    Args:
        bootstrap: `host:port` of the broker.
        topics: a record's `kind` to its topic.
        partitions: of each of the topics.
    """

    def __init__(self, bootstrap: str, topics: Mapping[str, str], partitions: int) -> None:
        self._topics = topics
        self._partitions = partitions
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "log_level": 0,  # what fails comes back with each record
                "linger.ms": 5,
                # One request at a time: a retried one must not come behind its successor, because
                # arrival goes by a partition's order.
                "max.in.flight.requests.per.connection": 1,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def play(self, records: Sequence[Record], gate: Gate) -> None:
        """Sends all records, then the last clock; returns early if the gate gives up.

        Raises:
            FeedError: the broker did not take something.
        """
        next_clock = START
        for record in records:
            while next_clock <= record.ts:
                if not gate.wait(next_clock):
                    return
                self._clock(next_clock)
                next_clock += CLOCK_EVERY_MS
            self._send(record)
        self._clock(max(SETTLED_MS, next_clock))
        self._producer.flush(60)
        self._check()

    def _clock(self, ts: int) -> None:
        """Time has come to `ts` in every source partition."""
        headers = [(CLOCK_HEADER, str(ts).encode())]
        for topic in self._topics.values():
            for partition in range(self._partitions):
                self._producer.produce(
                    topic, None, partition=partition, timestamp=ts, headers=headers,
                    on_delivery=self._delivered,
                )  # fmt: skip
        self._producer.poll(0)
        self._check()

    def _send(self, record: Record) -> None:
        self._producer.produce(
            self._topics[record.kind],
            record.value,
            key=record.key.encode(),
            timestamp=record.ts,
            on_delivery=self._delivered,
        )

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self._failed.append(str(error))

    def _check(self) -> None:
        if self._failed:
            raise FeedError(f"the broker did not take a record: {self._failed[0]}")
