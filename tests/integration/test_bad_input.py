"""Bad input never hurts: a reason and the original bytes in the dead letters, all else goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from streams.brokers import Broker
from streams.topics import Topics
from tests.integration.live import Reader, Workers, wait_for

NOW_MS = time.time_ns() // 1_000_000


def prediction(**changes: Any) -> dict[str, Any]:
    event = {
        "prediction_id": "p1", "model": "m", "version": "1", "ts": NOW_MS,
        "features": {"x": 1.5}, "prediction": "a",
    }  # fmt: skip
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


def text(**changes: Any) -> bytes:
    return orjson.dumps(prediction(**changes))


BAD = [
    ("not_json", b"no json at all"),
    ("not_json", b'{"prediction_id": "p", "model": "m", "version": "1", "prediction": NaN}'),
    ("not_json", b'{"prediction_id": "p", "model": "m", "version": "1", "prediction": 1e999}'),
    ("not_utf8", b'{"prediction_id": "\xff\xfe"}'),
    ("empty", b""),
    ("too_deep", b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
    ("missing_field", text(prediction_id=...)),
    ("wrong_type", b"[1, 2, 3]"),
    ("bad_version", text(version=1.1)),
    ("bad_ts", text(ts=NOW_MS // 1_000)),
    ("clock_ahead", text(ts=NOW_MS + 3_600_000)),
    ("too_large", text(features={"long": "x" * (2 << 20)})),
    (
        "unequal_columns",
        orjson.dumps(
            {
                "model": "m",
                "version": "1",
                "columns": {
                    "prediction_id": ["a", "b"],
                    "ts": [NOW_MS, NOW_MS],
                    "prediction": ["x"],
                    "features": {},
                },
            }
        ),
    ),
]


@pytest.fixture
def workers(
    broker: Broker, make_topics: Callable[..., Topics], tmp_path: Path
) -> Iterator[Workers]:
    topics = make_topics()
    running = Workers(broker.bootstrap, topics, tmp_path, settings={"DRIFTLINE_CLOCK": "broker"})
    running.start()
    yield running
    assert not any(running.stop()), running.logs()


def produce(workers: Workers, codec: str, values: list[bytes | None], topic: str) -> None:
    producer = Producer(
        {
            "bootstrap.servers": workers.bootstrap,
            "compression.type": codec,
            "message.max.bytes": 8 << 20,
        }
    )
    for value in values:
        producer.produce(topic, value, key=b"the key", partition=0)
        # One after the other: on a topic that just began, requests are repeated out of order.
        assert producer.flush(30) == 0


def test_bad_messages_are_set_aside_and_good_ones_counted(workers: Workers):
    topics = workers.topics
    values: list[bytes | None] = [value for _, value in BAD]
    produce(workers, "none", [*values, None, text(prediction_id="after")], topics.predictions)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        produce(workers, codec, [text(prediction_id=codec)], topics.predictions)
    dead = Reader(workers.bootstrap, topics.deadletters)
    try:
        assert dead.until(lambda found: len(found) >= len(BAD), timeout=60), workers.logs()
    finally:
        dead.close()
    found = {}
    for record in dead.records:
        headers = {name: value.decode() for name, value in record.headers()}
        found[int(headers["offset"])] = (record, headers)
    assert len(found) == len(BAD)
    for offset, (reason, value) in enumerate(BAD):
        record, headers = found[offset]
        assert headers["reason"] == reason, headers
        assert headers["topic"] == topics.predictions
        assert headers["partition"] == "0"
        assert headers["detail"]
        assert record.value() == value
        assert record.key() == b"the key"
    wait_for(lambda: workers.counters().get("predictions", 0) >= 5, 60, workers.logs)
    assert workers.counters()["predictions"] == 5, workers.logs()
    assert workers.value("driftline_tombstones_total") == 1


def test_a_worker_leaves_nothing_in_the_folder_where_it_was_started(workers: Workers):
    workers.ready(30)
    assert list(workers.home.iterdir()) == []


def test_a_broker_that_is_down_at_start_is_waited_for(
    broker: Broker, make_topics: Callable[..., Topics], tmp_path: Path
):
    topics = make_topics()
    nowhere = Workers("127.0.0.1:1", topics, tmp_path)
    process = nowhere.start()
    wait_for(lambda: "waiting for the broker" in nowhere.logs(), 30, nowhere.logs)
    assert process.poll() is None
    assert nowhere.value("driftline_build_info") == 1  # /metrics is up before Kafka is
    nowhere.kill(process)


@pytest.mark.needs("restart")
def test_a_broker_that_goes_away_costs_nothing_but_time(workers: Workers, broker: Any):
    topics = workers.topics
    rows = [text(prediction_id=f"r{i}") for i in range(200)]
    produce(workers, "none", rows[:100], topics.predictions)
    received = lambda: workers.value("driftline_rows_received_total")  # noqa: E731
    wait_for(lambda: received() >= 100, 60, workers.logs)
    broker.kill()
    [log] = workers.logged.values()
    wait_for(lambda: "Failed fetch messages" in log.read_text(), 60, workers.logs)
    broker.restart()
    produce(workers, "none", rows[100:], topics.predictions)
    wait_for(lambda: workers.counters().get("predictions", 0) >= 200, 120, workers.logs)
    assert workers.counters()["predictions"] == 200, workers.logs()
    assert all(process.poll() is None for process in workers.running)
