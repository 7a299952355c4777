"""`python -m tests.bench.profiling`, `make profile`: where the worker's CPU time goes.

py-spy samples a worker that works through a backlog of single events (`--columns`: batches). Each
sample of a busy thread is put to a stage, by the frames of its stack, and to the module whose code
ran last. A library that is compiled (orjson, msgspec, NumPy) counts for the module that called it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from streams.brokers import start_broker
from tests.bench import load, measure, setting
from tests.bench.engines import BENCH_PYTHON, ROOT, Workers
from tests.bench.feed import Feed
from tests.bench.load import Shape

RATE_HZ = 250
STAGES = (
    ("checkpoint (", "checkpoint"),
    ("idle (streams/agents/detect.py", "readings for /metrics"),
    ("do_GET (", "readings for /metrics"),
    ("streams/agents/ingest.py", "ingest"),
    ("streams/agents/join.py", "join"),
    ("streams/agents/detect.py", "detect"),
    ("streams/agents/notify.py", "notify"),
    ("aiokafka/consumer", "fetch"),
    ("_aiokafka_consumer_thread", "fetch"),
    ("aiokafka/producer", "send"),
    ("aiokafka/", "aiokafka, other"),
)
"""What a frame must hold -> its stage; the first that any frame of the stack holds."""
OTHER = "event loop and Faust"
WAITING = "select (selectors.py"
"""A loop with nothing to do: py-spy, which does not stop the worker, takes it for busy at times."""
LIBRARIES = ("site-packages/", "dist-packages/")

Key = tuple[str, str]


def profile(stacks: Iterable[str]) -> Counter[Key]:
    """Samples by (stage, module) of py-spy's raw lines: `frame;frame;... count`."""
    found: Counter[Key] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdigit():
            continue
        frames = [frame for frame in stack.split(";") if "(" in frame]
        if frames and WAITING not in frames[-1]:
            found[stage_of(frames), module_of(frames[-1])] += int(count)
    return found


def stage_of(frames: Sequence[str]) -> str:
    """The stage that a stack belongs to."""
    for mark, stage in STAGES:
        if any(mark in frame for frame in frames):
            return stage
    return OTHER


def module_of(frame: str) -> str:
    """`streams/rows/builder.py` of ours, the package's name of a library, the file of the rest."""
    path = frame.rpartition("(")[2].rstrip(")").rpartition(":")[0] or frame
    for folder in LIBRARIES:
        path = path.rpartition(folder)[2]
    path = path.removeprefix(f"{ROOT}/")
    top = path.split("/")[0]
    if top in ("driftline", "detectors", "streams") or "/" not in path:
        return path
    return Path(path).name if path.startswith("/") else "/".join(path.split("/")[:2])


def table(found: Counter[Key], *, rows: int = 25) -> str:
    """Shares of the samples as Markdown: each stage, then the stages' modules."""
    total = sum(found.values()) or 1
    stages: Counter[str] = Counter()
    for (stage, _), count in found.items():
        stages[stage] += count
    lines = ["| stage | share |", "|---|---:|"]
    lines += [f"| {name} | {100 * n / total:.1f} % |" for name, n in stages.most_common()]
    lines += ["", "| stage | module | share |", "|---|---|---:|"]
    lines += [
        f"| {stage} | `{module}` | {100 * n / total:.1f} % |"
        for (stage, module), n in found.most_common(rows)
    ]
    return "\n".join(lines)


def record(
    bootstrap: str, folder: Path, *, columns: bool, predictions: int, models: int, partitions: int
) -> list[str]:
    """py-spy's raw lines of a worker over a backlog."""
    shape = Shape(models=models)
    monitors = setting.write(folder / "monitors", shape)
    records = (load.columnar if columns else load.single)(shape, predictions)
    out = folder / "stacks"
    with Feed(bootstrap, partitions=partitions) as feed:
        worker = Workers(feed, folder, monitors)
        warm = load.warm_part(records, 8_000)
        worker.start()
        try:
            measure.wait_until_ready(worker)
            feed.send(records[:warm])
            feed.clock(records[warm - 1].ts + 1)
            measure.wait_until_handled(worker, load.rows_of(records[:warm]))
            spy = subprocess.Popen([
                *(BENCH_PYTHON.with_name("py-spy"), "record", "--pid"),
                *(str(worker.processes[0].pid), "--format", "raw", "--rate", str(RATE_HZ)),
                *("--duration", "600", "--nonblocking", "--output", str(out)),
            ], stdout=sys.stderr)  # fmt: skip
            feed.send(records[warm:])
            feed.clock(records[-1].ts + 1)
            measure.wait_until_handled(worker, load.rows_of(records))
            spy.send_signal(signal.SIGINT)
            spy.wait(30)
        finally:
            worker.stop()
    return out.read_text().splitlines()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make profile", description="where the CPU time goes")
    parser.add_argument("--columns", action="store_true", help="columnar batches")
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=4, help="of every topic")
    parser.add_argument("--rows", type=int, default=25, help="of the table by module")
    parser.add_argument("--raw", type=Path, help="keep py-spy's lines, for a flame graph")
    parser.add_argument("--broker", default="auto")
    given = parser.parse_args(arguments)
    if not BENCH_PYTHON.with_name("py-spy").exists():
        sys.stderr.write("py-spy is missing: make profile installs it in .venv-bench\n")
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="driftline-profile-") as name,
        start_broker(given.broker) as broker,
    ):
        stacks = record(
            broker.bootstrap,
            Path(name),
            columns=given.columns,
            predictions=given.predictions,
            models=given.models,
            partitions=given.partitions,
        )
    if given.raw:
        given.raw.write_text("\n".join(stacks) + "\n")
    print(table(profile(stacks), rows=given.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
