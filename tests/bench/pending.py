"""`python -m tests.bench.pending`: what predictions that wait for their labels cost on disk.

Predictions of one model are stepped through join as in a worker, spread evenly over a horizon of
24 hours, with a checkpoint's write whenever the store asks for one (without Kafka). Then ids are
looked up one at a time, known and unknown ones, and in steps of 1,000; beside them the same ids in
a dictionary. Resident memory is that of the process, page cache not counted. The last line is one
JSON object.
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

from detectors.flow.join import JoinSpec, step
from detectors.frame import ID, Array, Column, Frame, float_column
from streams.state.pending_disk import Head, SliceDisk
from streams.state.rocks_pending import MAX_CHANGED, RocksPending

ENTRIES = 20_000_000
STEP_ROWS = 2_000
LOOKUPS = 20_000
START_MS = 1_790_000_000_000
HORIZON_MS = 86_400_000
SPEC = JoinSpec(default_horizon_ms=HORIZON_MS, default_segments=("region",))


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


def ids_of(first: int, n: int) -> Array:
    """Ids as good as hashes: a counter through a mixing function, 16 bytes each."""
    words = np.arange(first, first + n, dtype=np.uint64)
    mixed = np.empty((n, 2), np.uint64)
    for column, salt in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)):
        x = (words + np.uint64(1)) * np.uint64(salt)
        x ^= x >> np.uint64(29)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        mixed[:, column] = x ^ (x >> np.uint64(32))
    return mixed.view(ID).ravel()


def frame_of(first: int, n: int, entries: int) -> Frame:
    """The next predictions: a class, a score, a segment, as a binary classifier writes them."""
    rows = np.arange(first, first + n)
    times = START_MS + rows * HORIZON_MS // entries
    classes = Column((rows % 2).astype(np.uint32), None, ["no", "yes"])
    regions = Column((rows % 3).astype(np.uint32), None, ["north", "south", "west"])
    columns = {
        "id": Column(ids_of(first, n)),
        "ts": Column(times),
        "arrival": Column(times),
        "source": Column(rows % 4),
        "offset": Column(rows),
        "index": Column(np.zeros(n, np.int64)),
        "prediction": classes,
        "score": float_column((rows % 1_000) / 1_000),
        "g:region": regions,
    }
    return Frame("fraud@1", "prediction", n, columns)


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


def save(pending: RocksPending, disk: SliceDisk) -> None:
    """What a checkpoint does with the disk."""
    disk.put(pending.changes(0))
    disk.advance(Head(b"bench", 1), pending.live)
    pending.saved()


def timed(look_up: Callable[[Array], object], ids: Sequence[Array]) -> tuple[float, float]:
    """(median, 99th percentile) of a lookup, in microseconds of wall time."""
    took = []
    for row_id in ids:
        began = time.perf_counter_ns()
        look_up(row_id)
        took.append(time.perf_counter_ns() - began)
    p50, p99 = np.percentile(took, [50, 99]) / 1_000
    return round(float(p50), 2), round(float(p99), 2)


def measure(folder: Path, entries: int, at: Callable[[int], None]) -> Report:
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
    )


def resident() -> int:
    """Resident memory of this process, in bytes (Linux)."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pending", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="predictions that wait")
    parser.add_argument("--folder", type=Path, help="where to keep them; default: a temporary one")
    given = parser.parse_args(arguments)
    with (
        TemporaryDirectory(dir=given.folder) as folder,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("predictions through join", total=given.entries)
        report = measure(Path(folder), given.entries, lambda n: bar.update(task, completed=n))
    for name, value in asdict(report).items():
        print(f"{name.replace('_', ' '):26} {value:>14,}")
    print(msgspec.json.encode(report).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
