"""Running workers over a stream and reading what they said: for tests of the whole path."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from streams.telemetry.readings import COUNTED
from streams.topics import Topics
from tests.stream import Stream

ROOT = Path(__file__).parents[2]
CLOCK_HEADER = "driftline-clock"
_CALM = {"log_level": 0, "reconnect.backoff.ms": 250, "reconnect.backoff.max.ms": 2_000}
"""Clients of a broker that may be away."""
COUNTERS = {(series.name, *labels): name for name, (series, labels) in COUNTED.items()}
"""(series, further labels) -> the counter of the state that it shows."""


def feed(bootstrap: str, topics: Topics, stream: Stream, *, end_ms: int, every: int = 500) -> None:
    """Sends the stream in arrival order with record timestamp = arrival, clock records between.

    Labels are keyed by their reversed id, predictions by their id: other keys, other partitions.
    """
    producer = Producer(
        {  # in order even where a request fails and is repeated, as on a broker that just began
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "max.in.flight.requests.per.connection": 1,
            **_CALM,
        }
    )
    events: list[tuple[int, str, bytes | None, bytes]] = []
    for event in stream.predictions:
        key = event["prediction_id"].encode()
        events.append((event["arrival"], topics.predictions, orjson.dumps(event), key))
    for event in stream.labels:
        key = event["prediction_id"][::-1].encode()
        events.append((event["arrival"], topics.labels, orjson.dumps(event), key))
    events += [(at, topics.predictions, value, b"poison") for at, value in stream.poison]
    events.sort(key=lambda e: e[0])
    for i, (arrival, topic, value, key) in enumerate(events):
        if i % every == 0:
            clock(producer, topics, arrival)
        producer.produce(topic, value, key, timestamp=arrival)
        producer.poll(0)
    clock(producer, topics, end_ms)
    assert producer.flush(180) == 0


def clock(producer: Producer, topics: Topics, now_ms: int) -> None:
    """One clock record to every source partition."""
    for topic in (topics.predictions, topics.labels):
        for partition in range(topics.source_partitions):
            producer.produce(
                topic,
                None,
                partition=partition,
                timestamp=now_ms,
                headers=[(CLOCK_HEADER, str(now_ms).encode())],
            )


@dataclass
class Workers:
    """`driftline worker` processes of one deployment."""

    bootstrap: str
    topics: Topics
    folder: Path
    monitors: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0
    logged: dict[int, Path] = field(default_factory=dict)
    """Process id -> its log."""
    code: Path = ROOT
    """The tree whose program the next worker runs."""

    @property
    def home(self) -> Path:
        """Where they run: a folder that is empty, and has to stay so."""
        return self.folder / "home"

    def start(self) -> subprocess.Popen[bytes]:
        """One more worker; its log is in the test's folder."""
        environment = {
            **os.environ,
            "DRIFTLINE_BROKER": self.bootstrap,
            "DRIFTLINE_TOPIC_PREFIX": self.topics.prefix,
            "DRIFTLINE_PARTITIONS": str(self.topics.partitions),
            "DRIFTLINE_SOURCE_PARTITIONS": str(self.topics.source_partitions),
            "DRIFTLINE_CLOCK": "records",
            "DRIFTLINE_HEALTH_PORT": "0",
            "DRIFTLINE_HEALTH_HOST": "127.0.0.1",
            "DRIFTLINE_CHECKPOINT_INTERVAL_S": "1",
            "DRIFTLINE_SESSION_TIMEOUT_S": "6",
            "DRIFTLINE_HEARTBEAT_INTERVAL_S": "1",
            "DRIFTLINE_REBALANCE_TIMEOUT_S": "6",
            **({"DRIFTLINE_MONITORS": str(self.monitors)} if self.monitors else {}),
            **self.settings,
            "PYTHONPATH": str(self.code),
        }
        self.home.mkdir(exist_ok=True)
        log = self.folder / f"worker-{self.started}.log"
        self.started += 1
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "worker"],
                env=environment,
                cwd=self.home,
                stdout=out,
                stderr=out,
            )
        self.running.append(process)
        self.logged[process.pid] = log
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9, without a goodbye."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes.

        Not before each has said something: until then the interpreter starts, and a signal ends it.
        """
        for process in self.running:
            log = self.logged[process.pid]
            spoke = lambda p=process, log=log: p.poll() is not None or log.stat().st_size  # noqa: E731
            wait_for(spoke, 30, self.logs)
            process.terminate()
        codes = [process.wait(30) for process in self.running]
        self.running.clear()
        return codes

    def counters(self, timeout: float = 20) -> dict[str, int]:
        """The exact counters of all workers' /metrics, once two scrapes of durable ones agree."""
        deadline = time.monotonic() + timeout
        former: dict[str, int] = {}
        while time.monotonic() < deadline:
            now = self._scrape()
            if now == former:
                return now
            former = now
            time.sleep(2.5)  # longer than a checkpoint interval
        return former

    def _scrape(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for port in self._ports():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    rest = {k: v for k, v in sample.labels.items() if k not in ("model", "version")}
                    name = COUNTERS.get((sample.name, *rest.values()))
                    if name is not None:
                        totals[name] += int(sample.value)
        totals["late"] = totals["late_predictions"] + totals["late_labels"]
        return dict(totals)

    def value(self, name: str) -> float:
        """The sum of one series over all workers and labels."""
        total = 0.0
        for port in self._ports():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                families = text_string_to_metric_families(answer.read().decode())
                total += sum(s.value for f in families for s in f.samples if s.name == name)
        return total

    def _ports(self, *which: subprocess.Popen[bytes]) -> list[int]:
        """The health ports of these workers, else of all that run, from their logs."""
        found = []
        for process in which or self.running:
            said = self.logged[process.pid].read_text()
            if match := re.search(r"http://[\d.]+:(\d+)/metrics", said):
                found.append(int(match.group(1)))
        return found

    def ready(self, timeout: float) -> None:
        """Returns once every worker has its partitions. Raises: AssertionError, with their logs."""
        wait_for(lambda: all(map(self.is_ready, self.running)), timeout, self.logs)

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether a worker says that it has its partitions."""
        for port in self._ports(process):
            url = f"http://127.0.0.1:{port}/healthz/ready"
            with contextlib.suppress(OSError):  # an answer of 503, or none yet
                urllib.request.urlopen(url, timeout=5).close()
                return True
        return False

    def consumes(self, pid: int) -> bool:
        """Whether a worker has come so far as to join its group."""
        return "ConsumerThread]: Starting" in self.logged[pid].read_text()

    def logs(self) -> str:
        """What they said, for a failing test's message."""
        parts = [p.read_text()[-3_000:] for p in sorted(self.folder.glob("worker-*.log"))]
        return "\n---\n".join(parts)


class Reader:
    """Reads a topic on, keeping everything; independent of end offsets."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "test-reader", **_CALM}
        )
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self.partitions = len(partitions)
        self._consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        self.records: list[Message] = []

    def until(self, done: Callable[[list[Message]], bool], *, timeout: float) -> bool:
        """Reads until `done(records)`; False if that took too long."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for message in self._consumer.consume(1_000, 0.2):
                if message.error() is None:
                    self.records.append(message)
            if done(self.records):
                return True
        return False

    def close(self) -> None:
        self._consumer.close()


def wait_for(done: Callable[[], object], timeout: float, said: Callable[[], str]) -> None:
    """Returns once `done()` is true; fails with what was `said` after so many seconds."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


def newest(records: Sequence[Message], order: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Per key, the value that comes last in `order`."""
    found: dict[str, Any] = {}
    for message in records:
        value = orjson.loads(message.value())
        key = message.key().decode()
        if key not in found or order(value) > order(found[key]):
            found[key] = value
    return found
