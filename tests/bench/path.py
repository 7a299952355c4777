"""What a prediction and its label cost on their way through the worker: CPU time by stage.

`make bench-path`. The worker's own steps over in-memory bytes, without Kafka: decode, rows, pack,
unpack, join, pack, unpack, detect, with four partitions everywhere and batches as the transport
cuts them. So the sum is the limit of what a worker can do, and each line says where it goes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
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
from streams.worker import calm_collector

PARTITIONS = 4
BATCH = 1_000
"""Records of one partition in one batch."""
ROWS_PER_COLUMNS = 500
START_MS, STEP_MS, DELAY_MS = 1_790_000_000_000, 10, 500
STAGES = ("read", "rows", "pack", "unpack", "join", "pack again", "unpack again", "detect")
MODELS = [("fraud", "1"), ("fraud", "2"), ("churn", "1"), ("price", "1")]
COUNTRIES, PLANS, DEVICES = ("DE", "FR", "US", "JP"), ("basic", "plus"), ("ios", "android", "web")

Record = tuple[int, bytes]
"""(arrival in ms, value)."""


@dataclass
class Traffic:
    """Records of each source partition, in order: topic rank -> partition -> records."""

    pairs: int
    logs: dict[tuple[int, int], list[Record]] = field(default_factory=lambda: defaultdict(list))


def predictions(n: int, seed: int = 1) -> Iterator[dict[str, object]]:
    """Events of about 650 bytes: 20 numbers, three categories, four model versions in turn."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.standard_normal((n, 20)), 6)
    scores = np.round(rng.random(n), 6).tolist()
    for i in range(n):
        model, version = MODELS[i % len(MODELS)]
        features: dict[str, object] = {
            f"feature_{k:02}": value for k, value in enumerate(values[i].tolist())
        }
        features |= {
            "country": COUNTRIES[i % 4],
            "plan": PLANS[i // 3 % 2],
            "device": DEVICES[i % 3],
        }
        yield {
            "prediction_id": f"{i:08x}-7c1f-4a2e-9d3b-{i * 7919:012x}", "model": model,
            "version": version, "ts": START_MS + i * STEP_MS, "features": features,
            "prediction": "yes" if scores[i] > 0.5 else "no",
            "scores": {"yes": scores[i], "no": round(1 - scores[i], 6)},
        }  # fmt: skip


def single(n: int) -> Traffic:
    """Each event a message of its own."""
    traffic = Traffic(n)
    for i, event in enumerate(predictions(n)):
        at = START_MS + i * STEP_MS
        partition = i * 7 // 3 % PARTITIONS
        traffic.logs[0, partition].append((at, orjson.dumps(event)))
        label = {"prediction_id": event["prediction_id"], "label": "yes", "ts": at + DELAY_MS}
        traffic.logs[1, partition].append((at + DELAY_MS, orjson.dumps(label)))
    return traffic


def columnar(n: int, rows: int = ROWS_PER_COLUMNS) -> Traffic:
    """Batches of one model version as columns, and labels likewise."""
    traffic = Traffic(n)
    held: dict[tuple[object, object], list[dict[str, object]]] = defaultdict(list)
    at = START_MS
    for i, event in enumerate(predictions(n)):
        key = event["model"], event["version"]
        held[key].append(event)
        at = START_MS + i * STEP_MS
        if len(held[key]) == rows:
            _columns(traffic, held.pop(key), at)
    for events in held.values():
        _columns(traffic, events, at)
    return traffic


def _columns(traffic: Traffic, events: list[dict[str, object]], at: int) -> None:
    partition = len(traffic.logs[0, 0]) and min(
        range(PARTITIONS), key=lambda p: len(traffic.logs[0, p])
    )
    head = {"model": events[0]["model"], "version": events[0]["version"]}
    ids, ts = [e["prediction_id"] for e in events], [e["ts"] for e in events]
    columns = {
        "prediction_id": ids, "ts": ts, "prediction": [e["prediction"] for e in events],
        "features": _transposed(events, "features"), "scores": _transposed(events, "scores"),
    }  # fmt: skip
    traffic.logs[0, partition].append((at, orjson.dumps(head | {"columns": columns})))
    labels = {"prediction_id": ids, "ts": [t + DELAY_MS for t in ts], "label": ["yes"] * len(ids)}
    message = {"model": head["model"], "columns": labels}
    traffic.logs[1, partition].append((at + DELAY_MS, orjson.dumps(message)))


def _transposed(events: Sequence[dict[str, object]], name: str) -> dict[str, list[object]]:
    return {key: [e[name][key] for e in events] for key in events[0][name]}  # type: ignore[index]


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
        end = START_MS + traffic.pairs * STEP_MS + 86_400_000
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


def measure(traffic: Traffic, repeats: int) -> dict[str, float]:
    """Microseconds of CPU time a pair, by stage: of each stage the median."""
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        path = Path(Monitors())
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
    costs = {
        "single": measure(single(options.pairs), options.repeats),
        "columnar": measure(columnar(options.pairs), options.repeats),
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
