"""Live traffic as files: each row with the arrival it had, so that `replay` lives through it again.

A row's arrival is the timestamp of its record, made monotone per partition, as ingest does it; the
partitions of a topic are merged by it. Ties need no order: the order key breaks them by content
(ADR-0006). What is not JSON was a dead letter and is left out; all else goes through the same
decoder again.
"""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from streams.kafka.records import Record, partitions_of, records

CLOCK_HEADER = "driftline-clock"


@dataclass(slots=True)
class Exported:
    """What was written of one topic."""

    records: int = 0
    unreadable: int = 0
    """Records that are not JSON objects: dead letters of ingest."""
    first_ms: int | None = None
    last_ms: int | None = None
    """Arrivals of the first and the last record."""


def export(
    bootstrap: str,
    topic: str,
    out: Path,
    *,
    clock_records: bool = False,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Exported:
    """Writes what a topic holds now as JSON Lines, in order of arrival; `.gz` compresses.

    Args:
        bootstrap: the broker.
        topic: predictions or labels.
        out: the file; it appears when it is whole.
        clock_records: whether records without a value move the clock (`clock: records`).
        since_ms: only rows that arrived then or later; None: all.
        until_ms: only rows that arrived before; None: all.

    Raises: BrokerUnreachable; DriftlineError where the topic is not there.
    """
    parts = [
        _arrivals(records(bootstrap, topic, only={partition}), clock_records=clock_records)
        for partition in partitions_of(bootstrap, topic)
    ]
    done = Exported()
    with _whole(out) as file:
        for arrival, record in heapq.merge(*parts, key=lambda each: each[0]):
            if since_ms is not None and arrival < since_ms:
                continue
            if until_ms is not None and arrival >= until_ms:
                break
            line = stamped(record.value or b"", arrival, record.timestamp_ms)
            if line is None:
                done.unreadable += 1
                continue
            file.write(line + b"\n")
            done.records += 1
            done.first_ms = arrival if done.first_ms is None else done.first_ms
            done.last_ms = arrival
    return done


def _arrivals(found: Iterator[Record], *, clock_records: bool) -> Iterator[tuple[int, Record]]:
    """Each record with a value, with its arrival, which never falls."""
    reached: int | None = None
    for record in found:
        at = record.timestamp_ms
        if record.value is None:
            clock = record.headers.get(CLOCK_HEADER, "")
            if not clock_records or not clock.isdecimal():
                continue
            at = int(clock)
        reached = at if reached is None else max(at, reached)
        if record.value is not None:
            yield reached, record


def stamped(value: bytes, arrival: int, record_ts: int) -> bytes | None:
    """A message with `arrival` at each row, and `ts` where a row has none; None: it is not JSON.

    Args:
        value: an event, or a batch of them.
        arrival: of its record, in ms.
        record_ts: the record's own timestamp in ms; negative: it has none.
    """
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict):
        return None
    ts = record_ts if record_ts >= 0 else arrival
    columns = message.get("columns")
    if isinstance(columns, dict):
        _stamp_columns(message, columns, arrival, ts)
    else:
        for name in ("predictions", "labels"):
            rows = message.get(name)
            if isinstance(rows, list):
                common = message.get("ts", ts)
                message[name] = [_row(row, arrival, common) for row in rows]
                break
        else:
            message = _row(message, arrival, ts)
    return orjson.dumps(message)


def _row(row: Any, arrival: int, ts: Any) -> Any:  # Any: whatever people sent
    if not isinstance(row, dict):
        return row
    own = row.get("ts")
    return row | {"arrival": arrival, "ts": ts if own is None else own}


def _stamp_columns(message: dict[str, Any], columns: dict[str, Any], arrival: int, ts: int) -> None:
    ids = columns.get("prediction_id")
    if not isinstance(ids, list):
        return  # nothing to place: it will be refused again
    columns["arrival"] = [arrival] * len(ids)
    common = message.get("ts")
    own = columns.get("ts")
    if common is None and own is None:
        columns["ts"] = [ts] * len(ids)
    elif common is None and isinstance(own, list):
        columns["ts"] = [ts if each is None else each for each in own]


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there once all of it is."""
    part = path.with_name(path.name + ".part")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(part, "wb") as file:
            yield file  # type: ignore[misc]  # either kind takes bytes
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
