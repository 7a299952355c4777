"""The source topics as files: what `replay` is given to say what the workers ought to have said.

A producer that was not answered sends again, so the topics may hold more than was fed; each event
arrives when its record does, by the clock that ingest reads.
"""

from __future__ import annotations

from typing import Any

import orjson
from confluent_kafka import Message

from streams.topics import Topics
from tests.integration.live import CLOCK_HEADER, Reader
from tests.stream import Stream

Event = dict[str, Any]


def export(bootstrap: str, topics: Topics, end_ms: int) -> Stream:
    """Every event of the source topics in order of arrival; poison is left out.

    Args:
        bootstrap: of the broker.
        topics: whose `predictions` and `labels` are read.
        end_ms: the clock that ends every partition.
    """
    read = [_events(bootstrap, topic, end_ms) for topic in (topics.predictions, topics.labels)]
    return Stream(*read).sort()


def missing(sent: Stream, found: Stream) -> int:
    """How many events of a stream are not in the topics: then the test itself is broken."""

    def said(events: list[Event]) -> set[bytes]:
        return {orjson.dumps({**event, "arrival": 0}) for event in events}

    return len(said(sent.predictions) - said(found.predictions)) + len(
        said(sent.labels) - said(found.labels)
    )


def _events(bootstrap: str, topic: str, end_ms: int) -> list[Event]:
    reader = Reader(bootstrap, topic)
    ended: dict[int, bool] = {}
    seen = 0

    def done(records: list[Message]) -> bool:
        nonlocal seen
        for record in records[seen:]:
            ended[record.partition()] = _clock(record) >= end_ms
        seen = len(records)
        return len(ended) == reader.partitions and all(ended.values())

    try:
        assert reader.until(done, timeout=120), f"{topic}: no partition is without its last clock"
        records = sorted(reader.records, key=lambda r: (r.partition(), r.offset()))
    finally:
        reader.close()
    reached: dict[int, int] = {}
    events = []
    for record in records:
        partition = record.partition()
        reached[partition] = max(_clock(record), reached.get(partition, 0))
        event = _parsed(record.value())
        if event is not None:
            events.append({**event, "arrival": reached[partition]})
    return events


def _clock(record: Message) -> int:
    for name, value in record.headers() or ():
        if name == CLOCK_HEADER:
            return int(value)
    return int(record.timestamp()[1])


def _parsed(value: bytes | None) -> Event | None:
    try:
        event = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "arrival" in event else None
