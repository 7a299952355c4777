"""`python -m tests.bench.soak`, `make soak`: whether the worker's memory stays where it is.

Produces while a worker consumes, never more than AHEAD events ahead of it, and prints the worker's
resident memory at the mark (2 million events), at the end (10 million) and every minute. Fails
where the last half million is over 5 % above that after the mark, each by its median: a checkpoint
takes memory for a moment, wherever it falls. Event time moves a millisecond a prediction, and
labels may come for HORIZON_S of it: so many predictions are pending from the first million events
on. What was read is deleted from the source topics on the way, where the broker can. A plot and
what was seen, second by second, stand in `build/soak`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.brokers import start_broker
from tests.bench import load, measure, plot, setting
from tests.bench.engines import EngineError, Workers
from tests.bench.feed import Feed
from tests.bench.load import Record, Shape
from tests.bench.measure import MIB, Usage

SHAPE = Shape(step_ms=1, named=True)
HORIZON_S = 300
MONITOR = f"labels: {{horizon: {HORIZON_S}s}}\nwindows: {{size: 60s, lateness: 10s}}\n"
PART = 20_000
"""Predictions handed over at a time."""
AHEAD = 200_000
LIMIT = 1.05
SPANS = 16
"""A level is taken over this part of the way from the mark to the end."""
STUCK_S = 180.0
TRIM_S = 20.0


@dataclass
class Memory:
    """Resident memory over the run: (events, MiB), and where the mark and the end are."""

    mark: int
    end: int
    seen: list[tuple[int, float]] = field(default_factory=list)

    def take(self, events: int, mib: float) -> None:
        """One look."""
        self.seen.append((events, mib))

    @property
    def span(self) -> int:
        """Events over which a level is taken: checkpoints come and go within, at any speed."""
        return (self.end - self.mark) // SPANS

    @property
    def first(self) -> float | None:
        """The level from the mark on, in MiB: the median; None: the run did not come so far."""
        found = [mib for n, mib in self.seen if self.mark <= n <= self.mark + self.span]
        return median(found) if found else None

    @property
    def last(self) -> float | None:
        """The level before the end, in MiB: the median; None: the run did not come so far."""
        found = [mib for n, mib in self.seen if n >= self.end - self.span]
        return median(found) if self.seen and self.seen[-1][0] >= self.end else None

    @property
    def growth(self) -> float | None:
        """End relative to mark; None: the run did not come so far."""
        return self.last / self.first if self.first and self.last else None

    def write(self, folder: Path) -> None:
        """Plot and figures, `memory.png` and `memory.csv`; none where nothing was seen."""
        if not self.seen:
            return
        folder.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{events},{mib:.1f}\n" for events, mib in self.seen)
        (folder / "memory.csv").write_text(f"events,resident_mib\n{rows}")
        limit = LIMIT * (self.first or self.seen[-1][1])
        plot.draw_memory(self.seen, self.mark, limit, folder / "memory.png")


def parts(predictions: int) -> Iterator[list[Record]]:
    """The events in parts, for ever new ids."""
    for first in count(0, PART):
        if first >= predictions:
            return
        yield load.single(SHAPE, min(PART, predictions - first), first)


def soak(bootstrap: str, folder: Path, memory: Memory) -> None:
    """Runs it to the end that `memory` names; prints as it goes, to stderr.

    Raises:
        EngineError: the worker ended, or stands still.
    """
    monitors = setting.write(folder / "monitors", SHAPE, extra=MONITOR)
    with Feed(bootstrap) as feed:
        worker = Workers(feed, folder, monitors, settings={"DRIFTLINE_CHECKPOINT_INTERVAL_S": "10"})
        worker.start()
        try:
            measure.wait_until_ready(worker)
            usage, trim = Usage(worker.processes), _Trim(feed)
            watch = _Watch(worker, usage, memory)
            sent = 0
            for part in parts(memory.end // 2):
                feed.send(part)
                sent += load.rows_of(part)
                feed.clock(part[-1].ts + 1)
                while sent - watch.look() > AHEAD:
                    time.sleep(0.2)
                trim.sometimes()
            while watch.look() < sent:
                time.sleep(0.5)
        finally:
            worker.stop()


class _Watch:
    """Looks at the worker once a second at most, and says each minute what it saw."""

    def __init__(self, worker: Workers, usage: Usage, memory: Memory) -> None:
        self._worker, self._usage, self._memory = worker, usage, memory
        self._began = self._looked = self._moved = time.monotonic()
        self._told = -1.0
        self._events = 0
        self._cpu = usage.look()

    def look(self) -> int:
        """Events handled."""
        now = time.monotonic()
        if now - self._looked < 1.0:
            return self._events
        self._looked = now
        _ = self._worker.processes  # raises where it has ended
        former, self._events = self._events, self._worker.handled()
        if self._events > former:
            self._moved = now
        elif now - self._moved > STUCK_S:
            raise EngineError(f"stands still at {self._events:,} events for {STUCK_S:.0f} s")
        mib = self._usage.rss() / MIB
        self._memory.take(self._events, mib)
        passed = [n for n in (self._memory.mark, self._memory.end) if former < n <= self._events]
        if now - self._told >= 60 or passed:
            self._told = now
            self._say(now, mib)
        return self._events

    def _say(self, now: float, mib: float) -> None:
        cpu = self._usage.look() - self._cpu
        rate = self._events / cpu if cpu else 0.0
        sys.stderr.write(
            f"{now - self._began:6.0f} s  {self._events:>12,} events  {mib:7.1f} MiB resident  "
            f"{rate:,.0f} events per CPU s\n"
        )


class _Trim:
    """Deletes what the group has read from the source topics, so that the broker does not fill."""

    def __init__(self, feed: Feed) -> None:
        group = f"{feed.topics.prefix}driftline"
        self._consumer = Consumer({"bootstrap.servers": feed.bootstrap, "group.id": group})
        self._admin = AdminClient({"bootstrap.servers": feed.bootstrap, "log_level": 0})
        topics = (*feed.sources, feed.topics.observations)
        self._partitions = [
            TopicPartition(topic, p) for topic in topics for p in range(feed.topics.partitions)
        ]
        self._next = time.monotonic() + TRIM_S
        self._able = True

    def sometimes(self) -> None:
        """Every TRIM_S; gives up where the broker cannot do it."""
        if not self._able or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + TRIM_S
        committed = self._consumer.committed(self._partitions, timeout=20)
        known = [each for each in committed if each.offset > 0]
        try:
            for future in self._admin.delete_records(known).values() if known else ():
                future.result(timeout=20)
        except KafkaException as error:
            self._able = False
            sys.stderr.write(f"the broker keeps everything: {error.args[0]}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1: memory grew by more than 5 %, or the run did not come to its end."""
    parser = argparse.ArgumentParser(prog="make soak", description="whether memory stays bounded")
    parser.add_argument("--events", type=int, default=10_000_000, help="predictions and labels")
    parser.add_argument(
        "--mark", type=int, default=2_000_000, help="events the end is held against"
    )
    parser.add_argument(
        "--broker", default="auto", choices=("auto", "external", "apache", "embedded")
    )
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="for plot and figures")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="driftline-soak-") as name,
        start_broker(given.broker) as broker,
    ):
        memory = Memory(given.mark, given.events)
        try:
            soak(broker.bootstrap, Path(name), memory)
        finally:
            memory.write(given.out)
    first, last, growth = memory.first, memory.last, memory.growth
    held = growth is not None and growth <= LIMIT
    print(f"resident after {memory.mark:,} events: {first or 0:.1f} MiB")
    print(f"resident before {memory.end:,} events: {last or 0:.1f} MiB, limit 5 % above: {held}")
    found = {"rss_mark_mb": first, "rss_end_mb": last, "growth": growth, "bounded": held}
    print(orjson.dumps(found).decode())
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
