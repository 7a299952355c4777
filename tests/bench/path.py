"""What a prediction and its label cost on their way through the worker: CPU time by stage.

`make bench-path`. The worker's own steps over in-memory bytes, without Kafka: decode, rows, pack,
unpack, join, pack, unpack, detect, with four partitions everywhere, batches as the transport cuts
them, and a reference for each model. So the sum is the limit of what a worker can do, and each line
says where it goes.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import orjson

from detectors.frame import Frame
from driftline.codec import decode
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack, unpack
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.pipeline.join_shard import JoinShard
from streams.rows.builder import RowBuilder, model_partition
from streams.rows.singles import Records, Singles
from streams.startup import calm_collector
from tests.bench import load, setting
from tests.bench.load import START_MS, Shape

PARTITIONS = 4
BATCH = 4_000
"""Events of one partition in one batch."""
DELAY_MS = 500
STAGES = ("read", "rows", "pack", "unpack", "join", "pack again", "unpack again", "detect")
Record = tuple[int, bytes]
"""(arrival in ms, value)."""


@dataclass
class Traffic:
    """Records of each source partition, in order: topic rank -> partition -> records."""

    pairs: int
    logs: dict[tuple[int, int], list[Record]] = field(default_factory=lambda: defaultdict(list))


def single(n: int) -> Traffic:
    """Each event a message of its own."""
    traffic = Traffic(n)
    for i, event in enumerate(load.events(Shape(), n)):
        partition, at = i * 7 // 3 % PARTITIONS, event.prediction["ts"]
        for delay, record in (
            (0, load.prediction_record(event)),
            (DELAY_MS, load.label_record(event, at + DELAY_MS)),
        ):
            traffic.logs[record.topic, partition].append((at + delay, record.value))
    return traffic


def columnar(n: int) -> Traffic:
    """Batches of one model version as columns, and labels likewise."""
    traffic = Traffic(n)
    for record in load.columnar(Shape(), n):
        logs = [traffic.logs[record.topic, partition] for partition in range(PARTITIONS)]
        min(logs, key=len).append((record.ts + DELAY_MS * record.topic, record.value))
    return traffic


class Path:
    """One worker's four partitions of each stage, stepped as batches come."""

    def __init__(self, monitors: Monitors) -> None:
        self.us: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.joins = [JoinShard(monitors) for _ in range(PARTITIONS)]
        self.detects = [DetectShard(monitors) for _ in range(PARTITIONS)]
        self.position: dict[str, int] = defaultdict(int)
        self.alerts = 0
        self.singles = Singles()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the CPU time of what happens within."""
        began = time.process_time_ns()
        yield
        self.us[stage] += (time.process_time_ns() - began) / 1e3

    def run(self, traffic: Traffic) -> None:
        """All batches of all source partitions in turn, and what follows from each round."""
        per = max(1, BATCH // (traffic.pairs // sum(len(v) for v in traffic.logs.values()) or 1))
        rounds = max(-(-len(records) // per) for records in traffic.logs.values())
        for turn in range(rounds):
            rows: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
            for (rank, partition), records in sorted(traffic.logs.items()):
                start = turn * per
                self.ingest(rank, partition, start, records[start : start + per], rows)
            self.settle(rows)
        end = START_MS + traffic.pairs * Shape().step_ms + 86_400_000
        rows = [[] for _ in range(PARTITIONS)]
        for rank, partition in sorted(traffic.logs):
            for d in range(PARTITIONS):
                rows[d].append(pack(self.message(f"{rank}/{partition}", end, [])))
        self.settle(rows)

    def ingest(
        self, rank: int, partition: int, offset: int, records: list[Record], rows: list[list[bytes]]
    ) -> None:
        """A batch of one source partition."""
        arrivals = np.array([arrival for arrival, _ in records], np.int64)
        with self.timed("read"):
            batch = Records(
                rank, partition, [value for _, value in records],
                np.arange(offset, offset + len(records)), arrivals, arrivals,
            )  # fmt: skip
            read = self.singles.read(batch)
        with self.timed("rows"):
            builder = RowBuilder(rank, partition, PARTITIONS)
            for at in read.odd:
                arrival, value = records[at]
                found = decode(value)
                builder.add(found, offset=offset + at, arrival=arrival, record_ts=arrival)
            for frame in read.frames:
                builder.add_frame(frame)
            shards = builder.frames()
        reached = records[-1][0] if records else START_MS
        with self.timed("pack"):
            for shard in range(PARTITIONS):
                message = self.message(f"{rank}/{partition}", reached, shards.get(shard, []))
                rows[shard].append(pack(message))

    def settle(self, rows: list[list[bytes]]) -> None:
        """What join and detect make of the messages of one round."""
        observations: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for shard, values in enumerate(rows):
            out: dict[int, list[Frame]] = {p: [] for p in range(PARTITIONS)}
            with self.timed("unpack"):
                messages = [unpack(value) for value in values]
            with self.timed("join"):
                found = self.joins[shard].run(enumerate(messages))
            for frame in found:
                model = frame.subject.partition("@")[0]
                out[model_partition(model, PARTITIONS)].append(frame)
            passed = self.joins[shard].passed
            with self.timed("pack again"):
                for destination, frames in out.items():
                    observations[destination].append(
                        pack(self.message(f"rows/{shard}", passed, frames, "rows"))
                    )
        for partition, values in enumerate(observations):
            with self.timed("unpack again"):
                messages = [unpack(value) for value in values]
            for message in messages:
                for frame in message.frames:
                    frame.columns.pop("cause", None)
            with self.timed("detect"):
                self.alerts += len(self.detects[partition].run(messages).alerts)

    def message(
        self, log: str, reached: int | None, frames: list[Frame], topic: str = ""
    ) -> Message:
        """A message of the channel that begins at `log`."""
        start = self.position[log]
        self.position[log] += 1
        arrivals = {} if reached is None else {log: reached}
        sources = {topic: PARTITIONS} if topic else {"0": PARTITIONS, "1": PARTITIONS}
        return Message(Header(log, start, start + 1), arrivals, sources, frames)

    def counted(self) -> tuple[int, int]:
        """(predictions, outcomes) that the monitors took."""
        states = [s for d in self.detects for s in d.subjects.values()]
        return (
            sum(s.counters["predictions"] for s in states),
            sum(s.counters["joined"] for s in states),
        )


def measure(traffic: Traffic, monitors: Monitors, repeats: int) -> dict[str, float]:
    """Microseconds of CPU time a pair, by stage: of each stage the median."""
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        path = Path(monitors)
        path.run(traffic)
        assert path.counted() == (traffic.pairs, traffic.pairs)
        runs.append(path.us)
    return {s: round(statistics.median(r[s] for r in runs) / traffic.pairs, 2) for s in STAGES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and one line of JSON. Never fails for being slow."""
    parser = argparse.ArgumentParser(description="cost of a prediction and its label by stage")
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    calm_collector()
    with tempfile.TemporaryDirectory(prefix="driftline-path-") as name:
        monitors = setting.monitors(setting.write(pathlib.Path(name) / "monitors", Shape()))
    costs = {
        form.__name__: measure(form(options.pairs), monitors, options.repeats)
        for form in (single, columnar)
    }
    print("CPU microseconds a prediction and its label, by stage")
    print(f"{'':>14}" + "".join(f"{name:>12}" for name in costs))
    for stage in STAGES:
        print(f"{stage:>14}" + "".join(f"{cost[stage]:>12.2f}" for cost in costs.values()))
    print(f"{'all':>14}" + "".join(f"{sum(cost.values()):>12.2f}" for cost in costs.values()))
    print(orjson.dumps({"us_per_pair": costs, "pairs": options.pairs}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
