"""Sends files of events to the public topics, as serving code and labelling jobs would have.

With the records' own timestamps (`create_time`) and clock records, a worker whose `clock` is
`records` lives through the files' time as fast as it can read them.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer

from driftline.codec import decode
from driftline.errors import BrokerUnreachable, DriftlineError, UsageError
from driftline.events import Decoded, LabelEvent, PredictionEvent
from streams.offline.files import EventFile
from streams.topics import Topics

CLOCK_HEADER = "driftline-clock"
CLOCK_EVERY_MS = 60_000
"""Simulated time between two rounds of clock records."""

CONNECT_S = 10.0
FLUSH_S = 60.0
POLL_EVERY = 1_000


@dataclass(slots=True)
class Emitted:
    """What was sent."""

    predictions: int = 0
    labels: int = 0
    clocks: int = 0
    """Clock records, over all partitions."""
    last_ms: int | None = None
    """The greatest event time sent."""


@dataclass(frozen=True, slots=True)
class _Event:
    at_ms: int
    labels_only: bool
    key: str | None
    value: bytes


class Emitter:
    """Sends events in order of their time.

    Args:
        bootstrap: the broker.
        topics: this deployment's topics; they must exist.
        create_time: the record's timestamp is the event's time, not now.
        clock: clock records go to every source partition, once per simulated minute.
        rate: events per second at most; None: as fast as the broker takes them.

    Raises:
        BrokerUnreachable: no broker answers.
        DriftlineError: a topic is missing, or the broker refused an event.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        create_time: bool = False,
        clock: bool = False,
        rate: float | None = None,
    ) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 20,
                "acks": "all",
                "max.in.flight.requests.per.connection": 1,  # a retry must not overtake
                "message.max.bytes": 4 << 20,
                "log_level": 0,
            }
        )
        self._topics = topics
        self._create_time = create_time
        self._clock = clock
        self._rate = rate
        self._failure: str | None = None
        self._partitions = self._source_partitions(bootstrap)
        self.emitted = Emitted()

    def send(
        self,
        files: Sequence[EventFile],
        *,
        settle_ms: int = 0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Emitted:
        """Sends all files, merged by time; the last clock records say `settle_ms` after the end."""
        started, next_clock = time.monotonic(), None
        merged = heapq.merge(*map(_events, files), key=lambda event: event.at_ms)
        for sent, event in enumerate(merged, start=1):
            if self._clock and (next_clock is None or event.at_ms >= next_clock):
                minute = event.at_ms - event.at_ms % CLOCK_EVERY_MS
                self._send_clock(minute)
                next_clock = minute + CLOCK_EVERY_MS
            self._send_event(event)
            if sent % POLL_EVERY == 0:
                progress(sum(file.read_bytes for file in files))
            if self._rate is not None:
                time.sleep(max(0.0, started + sent / self._rate - time.monotonic()))
        if self._clock and self.emitted.last_ms is not None:
            self._send_clock(self.emitted.last_ms + settle_ms)
        self._flush()
        progress(sum(file.read_bytes for file in files))
        return self.emitted

    def _send_event(self, event: _Event) -> None:
        if self._create_time and event.at_ms == 0:
            raise UsageError("--create-time: the file begins with an event that has no `ts`")
        topic = self._topics.labels if event.labels_only else self._topics.predictions
        timestamp = event.at_ms if self._create_time else 0
        self._produce(topic, event.value, key=event.key, timestamp=timestamp)
        if event.labels_only:
            self.emitted.labels += 1
        else:
            self.emitted.predictions += 1
        self.emitted.last_ms = max(self.emitted.last_ms or 0, event.at_ms)

    def _send_clock(self, at_ms: int) -> None:
        header = [(CLOCK_HEADER, str(at_ms).encode())]
        for topic, count in self._partitions.items():
            for partition in range(count):
                timestamp = at_ms if self._create_time else 0
                self._produce(topic, None, headers=header, partition=partition, timestamp=timestamp)
                self.emitted.clocks += 1

    def _produce(self, topic: str, value: bytes | None, **record: object) -> None:
        if self._failure is not None:
            raise DriftlineError(f"{topic}: the broker refused an event: {self._failure}")
        while True:
            try:
                self._producer.produce(topic, value, on_delivery=self._delivered, **record)
            except BufferError:  # the local queue is full: wait for the broker
                self._producer.poll(0.1)
                continue
            self._producer.poll(0)
            return

    def _delivered(self, error: object, _: object) -> None:
        if error is not None and self._failure is None:
            self._failure = str(error)

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_S)
        if self._failure is not None:
            raise DriftlineError(f"the broker refused an event: {self._failure}")
        if left:
            raise DriftlineError(f"{left} events are still unsent after {FLUSH_S:.0f} s")

    def _source_partitions(self, bootstrap: str) -> dict[str, int]:
        try:
            found = self._producer.list_topics(timeout=CONNECT_S).topics
        except KafkaException as error:
            raise BrokerUnreachable(bootstrap, error.args[0].str()) from error
        counts = {}
        for topic in (self._topics.predictions, self._topics.labels):
            if topic not in found:
                raise DriftlineError(f"no topic {topic}; `driftline topics apply` creates it")
            counts[topic] = len(found[topic].partitions)
        return counts


def _events(file: EventFile) -> Iterator[_Event]:
    """The file's events with a time that never falls: their own, else that of the one before.

    An event that cannot be decoded is sent all the same: the worker says what is wrong with it.
    """
    reached = 0
    for value in file:
        decoded = decode(value)
        reached = max(reached, max(_times(decoded), default=0))
        labels_only = bool(decoded.labels) and not (decoded.predictions or decoded.columns)
        yield _Event(reached, labels_only, _key(decoded), value)


def _singles(decoded: Decoded) -> list[PredictionEvent | LabelEvent]:
    return [*decoded.predictions, *decoded.labels]


def _times(decoded: Decoded) -> Iterator[int]:
    for event in _singles(decoded):
        if (at := event.ts if event.arrival is None else event.arrival) is not None:
            yield at
    for batch in decoded.columns:
        yield from (ts for ts in batch.arrival or batch.ts if ts is not None)


def _key(decoded: Decoded) -> str | None:
    """The prediction id of a single event; batches have no key."""
    ids = {event.prediction_id for event in _singles(decoded)}
    return ids.pop() if len(ids) == 1 and not decoded.columns else None
