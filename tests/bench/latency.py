"""From the event that gives a change away to its alert, at a given load.

In the load's own models one feature after the other moves by eight standard deviations, so that
each opens an alert: models x features of them. `detected_at` of an alert names the arrival of the
row that decided it; the broker told the producer which event arrived when. Latency is from handing
that event to the producer until a subscriber of `driftline.alerts` has the alert: producer, broker,
ingest, join, detect, and the wait for the slowest source partition's clock. The clock is the
broker's, as in production; the events name no time of their own.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Self

from confluent_kafka import Consumer, Message, TopicPartition

from driftline.alerts import Alert, decode_alert
from driftline.rules import iso_ms
from tests.bench import load, measure, setting
from tests.bench.engines import Workers
from tests.bench.feed import Feed, pause_until
from tests.bench.load import Record, Shape

SHIFT = 8.0
BEFORE_S, AFTER_S = 2.0, 2.0
"""Seconds of quiet before the first change, and after the last one."""
LATE_S = 15.0
LINGER_MS = 5
WARM_ROWS = 1_000


@dataclass(frozen=True)
class Latency:
    """Milliseconds of each alert, and the load under which they were taken."""

    milliseconds: list[float]
    expected: int
    """Alerts that had to open."""
    events_per_s: float
    cpu_share: float
    """Of one core, what the worker used meanwhile."""


@dataclass
class Listener:
    """A subscriber of the alerts topic in a thread: (wall time in ms, alert)."""

    feed: Feed
    heard: list[tuple[float, Alert]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._consumer = Consumer(
            {"bootstrap.servers": self.feed.bootstrap, "group.id": "bench", "fetch.wait.max.ms": 10}
        )
        topic = self.feed.topics.alerts
        found = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, p, 0) for p in found])
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._consumer.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            for message in self._consumer.consume(100, 0.05):
                if message.error() is None:
                    self.heard.append((time.time() * 1_000, decode_alert(message.value())))


Sent = dict[str, list[tuple[int, float]]]
"""Model -> (arrival on the broker, handed to the producer) of each prediction; ms, wall time."""


def changing(shape: Shape, events_per_s: float, changes_s: float) -> list[tuple[Record, str]]:
    """All messages in order, evenly spread over the run, each with its model ("": a label)."""
    seconds = BEFORE_S + changes_s + AFTER_S
    n = max(1, int(events_per_s * seconds / 2))
    numeric = [f"feature_{i:02}" for i in range(shape.features)]
    each_s = changes_s / (shape.models * shape.features)
    out: list[tuple[Record, str]] = []
    waiting: list[Record] = []
    for at, event in enumerate(load.events(shape, n)):
        features, model = event.prediction["features"], at % shape.models
        changed = (at / n * seconds - BEFORE_S) / each_s
        for number, name in enumerate(numeric):
            if changed >= number * shape.models + model:
                features[name] = (features[name] or 0.0) + SHIFT
        out.append((load.prediction_record(event, dated=False), event.prediction["model"]))
        waiting.append(load.label_record(event, dated=False))
        if len(waiting) > load.LAG:
            out.append((waiting.pop(0), ""))
    return out + [(record, "") for record in waiting]


def take(
    bootstrap: str,
    folder: Path,
    *,
    events_per_s: float,
    changes_s: float = 8.0,
) -> Latency:
    """Runs a worker under that load and returns what its alerts took."""
    shape = Shape()
    messages = changing(shape, events_per_s, changes_s)
    monitors = setting.write(folder / "monitors", shape)
    with Feed(bootstrap, create_time=False, linger_ms=LINGER_MS) as feed:
        worker = Workers(feed, folder, monitors, settings={"DRIFTLINE_CLOCK": "broker"})
        worker.start()
        try:
            measure.wait_until_ready(worker)
            feed.send(load.single(Shape(dated=False), WARM_ROWS, len(messages)))
            measure.wait_until_handled(worker, WARM_ROWS)  # of its twice so many events
            with Listener(feed) as listener:
                usage = measure.Usage(worker.processes)
                cpu, began = usage.look(), time.monotonic()
                sent = _send(feed, messages, BEFORE_S + changes_s + AFTER_S)
                took = time.monotonic() - began
                share = (usage.look() - cpu) / took
                _wait_for(listener, shape.models * shape.features)
        finally:
            worker.stop()
    found = latencies(listener.heard, sent)
    return Latency(found, shape.models * shape.features, len(messages) / took, share)


def _wait_for(listener: Listener, alerts: int) -> None:
    """Lets the last alerts come; a worker that fell behind gets LATE_S."""
    deadline = time.monotonic() + LATE_S
    while len(listener.heard) < alerts and time.monotonic() < deadline:
        time.sleep(0.1)


def _send(
    feed: Feed,
    messages: Sequence[tuple[Record, str]],
    seconds: float,
) -> Sent:
    """Sends all, evenly over so many seconds; returns when each prediction went and arrived."""
    sent: Sent = {}
    began = time.monotonic()
    for at, (record, model) in enumerate(messages):
        if at % 50 == 0:
            pause_until(began + seconds * at / len(messages))
            feed.poll()
        now = time.time() * 1_000
        arrived = partial(_arrived, sent.setdefault(model, []), now) if model else None
        feed.put(record, int(now), arrived)
    feed.flush()
    return sent


def _arrived(
    times: list[tuple[int, float]], handed: float, error: object, message: Message
) -> None:
    if error is None:
        times.append((message.timestamp()[1], handed))


def latencies(heard: Sequence[tuple[float, Alert]], sent: Sent) -> list[float]:
    """Milliseconds from the causing event to each alert that opened, in the order they came.

    Where several events arrived in the same millisecond, the first of them counts.

    Args:
        heard: when each alert came, wall time in ms.
    """
    times = {model: sorted(each) for model, each in sent.items()}
    out = []
    for received, alert in heard:
        own, known = times.get(alert.model), iso_ms(alert.detected_at)
        if not own or known is None or alert.reason != "opened":
            continue
        last = bisect_right(own, (known, inf)) - 1
        if last >= 0:
            first = bisect_left(own, (own[last][0], -inf))
            out.append(received - own[first][1])
    return out
