"""`python -m tests.bench.memory plain|limit`: the runs without Kafka, each in a process of its own.

plain: the loop an engineer writes in an afternoon: orjson, a dict for the join, River (`job.py`).
limit: the worker's own steps over the same bytes: decode, rows, join, detectors. No broker, no
frames packed and sent between the stages, no checkpoints.

Reads the load and the monitors it is given, prints one line of JSON.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson

from detectors.frame import Frame
from driftline.codec import decode
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.pipeline.join_shard import JoinShard
from streams.rows.builder import RowBuilder
from streams.rows.singles import Records, Singles
from tests.bench import load, setting
from tests.bench.job import Job
from tests.bench.load import LABELS, PREDICTIONS, Record
from tests.bench.measure import Run

BATCH_ROWS = 2_000
"""Events a step, as a batch of single events in the worker has."""
SOURCES = ("predictions/0", "labels/0")


class Plain:
    """The plain loop."""

    def __init__(self) -> None:
        self.job = Job()

    def take(self, records: Sequence[Record]) -> None:
        """The records in order."""
        job = self.job
        for record in records:
            event = orjson.loads(record.value)
            if record.topic == LABELS:
                job.label(event)
            else:
                job.prediction(event)

    @property
    def joined(self) -> int:
        """Labels that met their prediction."""
        return self.job.joined


class Limit:
    """Driftline's steps in one process: one source partition a topic, one shard, one partition."""

    def __init__(self, monitors: Monitors) -> None:
        self._singles = Singles()
        self._offsets = [0, 0]
        self._join = JoinShard(monitors)
        self.detect = DetectShard(monitors)
        self._steps = 0

    def take(self, records: Sequence[Record]) -> None:
        """The records in order, each topic's in one step, then what join may release."""
        reached = dict.fromkeys(SOURCES, records[-1].ts)
        topics = {name.partition("/")[0]: 1 for name in SOURCES}
        self._step(
            [
                Message(Header(SOURCES[rank], 0, 0), reached, topics, frames)
                for rank in (PREDICTIONS, LABELS)
                if (frames := self._read(rank, [r for r in records if r.topic == rank]))
            ]
        )

    def _read(self, rank: int, records: Sequence[Record]) -> list[Frame]:
        """The frames of one topic's records."""
        arrivals = np.array([record.ts for record in records], np.int64)
        offsets = self._offsets[rank] + np.arange(len(records))
        self._offsets[rank] += len(records)
        values = [record.value for record in records]
        read = self._singles.read(Records(rank, 0, values, offsets, arrivals, arrivals))
        builder = RowBuilder(rank, 0, 1)
        for at in read.odd:
            decoded, arrival = decode(values[at]), int(arrivals[at])
            rejects = builder.add(decoded, offset=int(offsets[at]), arrival=arrival)
            assert not rejects, rejects
        for frame in read.frames:
            builder.add_frame(frame)
        return builder.frames().get(0, [])

    def end(self, ts: int) -> None:
        """Time has come to `ts`: everything that was held goes through."""
        while True:
            self._step([Message(Header(SOURCES[0], 0, 0), dict.fromkeys(SOURCES, ts))])
            if self._join.passed is not None and self._join.passed >= ts:
                return

    def _step(self, messages: Sequence[Message]) -> None:
        frames = self._join.run(enumerate(messages, self._steps))
        for frame in frames:
            del frame.columns["cause"]
        header = Header("rows/0", self._steps, self._steps + 1)
        self._steps += 1
        passed = self._join.passed
        arrivals = {} if passed is None else {"rows/0": passed}
        self.detect.run([Message(header, arrivals, {"rows": 1}, frames)])

    @property
    def joined(self) -> int:
        """Labels that met their prediction."""
        return sum(state.counters["joined"] for state in self.detect.subjects.values())


def steps(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records in parts of about BATCH_ROWS events."""
    begin = seen = 0
    for at, record in enumerate(records, 1):
        seen += record.rows
        if seen >= BATCH_ROWS:
            yield records[begin:at]
            begin, seen = at, 0
    if begin < len(records):
        yield records[begin:]


def measured(
    engine: Plain | Limit, records: Sequence[Record], *, warm: int, cap_cpu_s: float
) -> Run:
    """CPU of this process over the records, but for those of the warm-up."""
    first = load.warm_part(records, warm)
    for part in steps(records[:first]):
        engine.take(part)
    rest, done = records[first:], 0
    cpu, wall = time.process_time(), time.monotonic()
    for part in steps(rest):
        engine.take(part)
        done += load.rows_of(part)
        if time.process_time() - cpu >= cap_cpu_s:
            break
    complete = done == load.rows_of(rest)
    if complete and isinstance(engine, Limit):
        engine.end(rest[-1].ts + 1)
    used, took = time.process_time() - cpu, time.monotonic() - wall
    return Run(done, used, took, _peak_mb(), complete)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


MAKERS: dict[str, Callable[[load.Shape, int], list[Record]]] = {
    "single": load.single,
    "columns": load.columnar,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=("plain", "limit"))
    parser.add_argument("form", choices=tuple(MAKERS))
    parser.add_argument("predictions", type=int)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--warm", type=int, default=2_000)
    parser.add_argument("--cap", type=float, default=10.0)
    parser.add_argument("--monitors", type=Path)
    given = parser.parse_args(arguments)
    shape = load.Shape(given.features)
    records = MAKERS[given.form](shape, given.predictions)
    engine = Plain() if given.engine == "plain" else Limit(setting.monitors(given.monitors))
    run = measured(engine, records, warm=given.warm, cap_cpu_s=given.cap)
    line = {**run.__dict__, "joined": engine.joined}
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
