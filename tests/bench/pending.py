"""`python -m tests.bench.pending`: what predictions that wait for their labels cost on disk.

Predictions of one model are stepped through join as in a worker, spread evenly over a horizon of
24 hours, with a checkpoint's write whenever the store asks for one (without Kafka). Then ids are
looked up one at a time, known and unknown ones, and in steps of 1,000; beside them the same ids in
a dictionary. Last, predictions and their labels go through join with its store in memory and on
disk. Resident memory is that of the process, page cache not counted. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress

from detectors.flow.join import step
from detectors.frame import Array
from streams.state.pending_disk import SliceDisk
from streams.state.rocks_pending import MAX_CHANGED, RocksPending
from tests.bench.pending_pairs import pairs
from tests.bench.pending_rows import SPEC, STEP_ROWS, frame_of, ids_of, save

ENTRIES = 20_000_000
LOOKUPS = 20_000
PAIRS = 200_000


@dataclass(frozen=True)
class Report:
    """What was measured; times of a lookup in microseconds."""

    entries: int
    slices: int
    rss_growth_mb: float
    disk_mb: float
    disk_bytes_per_entry: float
    step_us_per_prediction: float
    lookup_p50_us: float
    lookup_p99_us: float
    miss_p50_us: float
    miss_p99_us: float
    step_lookup_us_per_id: float
    dictionary_p50_us: float
    dictionary_p99_us: float
    pair_in_memory_us: float
    """CPU time of a prediction and its label through a `JoinShard` whose store is in memory."""
    pair_on_disk_us: float
    """The same over a disk, without what is written to it."""
    pair_written_us: float
    """What the writes add: what changed since the last checkpoint, made and put."""


def fill(pending: RocksPending, disk: SliceDisk, entries: int, at: Callable[[int], None]) -> None:
    """Steps so many predictions through join, with a write to the disk where one is due."""
    for first in range(0, entries, STEP_ROWS):
        n = min(STEP_ROWS, entries - first)
        frame = frame_of(first, n, entries)
        step(pending, [frame], int(frame.ints("arrival")[-1]), SPEC)
        if pending.changed > MAX_CHANGED:
            save(pending, disk)
        at(first + n)
    save(pending, disk)


def timed(look_up: Callable[[Array], object], ids: Sequence[Array]) -> tuple[float, float]:
    """(median, 99th percentile) of a lookup, in microseconds of wall time."""
    took = []
    for row_id in ids:
        began = time.perf_counter_ns()
        look_up(row_id)
        took.append(time.perf_counter_ns() - began)
    p50, p99 = np.percentile(took, [50, 99]) / 1_000
    return round(float(p50), 2), round(float(p99), 2)


def measure(folder: Path, entries: int, at: Callable[[int], None], n_pairs: int = PAIRS) -> Report:
    """Fills a store in a folder and looks ids up."""
    disk = SliceDisk(folder)
    pending = RocksPending(disk)
    before = resident()
    began = time.process_time()
    fill(pending, disk, entries, at)
    stepped = time.process_time() - began
    grown = resident() - before
    picks = np.random.default_rng(7).integers(0, entries, min(LOOKUPS, entries)).tolist()

    known = [ids_of(pick, 1) for pick in picks]

    def look_up(row_id: Array) -> None:
        pending.fetch(row_id)
        pending.settle()

    hit = timed(look_up, known)
    miss = timed(look_up, [ids_of(entries + pick, 1) for pick in picks])
    steps = [np.concatenate(known[i : i + 1_000]) for i in (0, 1_000)]
    began = time.process_time()
    for ids in steps:
        pending.fetch(ids)
        pending.settle()
    in_steps = time.process_time() - began
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    slices = len(pending.live)
    disk.close()
    held = dict.fromkeys(ids_of(0, min(entries, 1_000_000)).tolist(), b"")
    table = timed(lambda row_id: held.get(row_id.tolist()[0]), known)
    return Report(
        entries=entries,
        slices=slices,
        rss_growth_mb=round(grown / 1e6, 1),
        disk_mb=round(size / 1e6, 1),
        disk_bytes_per_entry=round(size / entries, 1),
        step_us_per_prediction=round(1e6 * stepped / entries, 2),
        lookup_p50_us=hit[0],
        lookup_p99_us=hit[1],
        miss_p50_us=miss[0],
        miss_p99_us=miss[1],
        step_lookup_us_per_id=round(1e6 * in_steps / max(1, sum(map(len, steps))), 2),
        dictionary_p50_us=table[0],
        dictionary_p99_us=table[1],
        **pairs(folder / "pairs", n_pairs),
    )


def resident() -> int:
    """Resident memory of this process, in bytes (Linux)."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pending", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="predictions that wait")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="predictions that get labels")
    parser.add_argument("--folder", type=Path, help="where to keep them; default: a temporary one")
    given = parser.parse_args(arguments)
    with (
        TemporaryDirectory(dir=given.folder) as folder,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("predictions through join", total=given.entries)
        report = measure(
            Path(folder), given.entries, lambda n: bar.update(task, completed=n), given.pairs
        )
    for name, value in asdict(report).items():
        print(f"{name.replace('_', ' '):26} {value:>14,}")
    print(msgspec.json.encode(report).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
