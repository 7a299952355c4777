"""Predictions and their labels through join, with its store in memory and on disk.

Spread evenly over 24 hours, every label a tenth of that after its prediction, so that the
prediction lies on the disk by then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from detectors.flow.join import Pending
from detectors.frame import Frame
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.pipeline.join_shard import JoinShard
from streams.state.pending_disk import SliceDisk
from streams.state.rocks_pending import MAX_CHANGED, RocksPending
from tests.bench.pending_rows import STEP_ROWS, frame_of, labels_of, save

ROWS = STEP_ROWS // 2


def messages(pairs: int) -> Iterator[Message]:
    """As many predictions as labels in each, once there are labels."""
    lag = max(ROWS, pairs // 10 // ROWS * ROWS)
    for at, first in enumerate(range(0, pairs + lag, ROWS)):
        frames: list[Frame] = []
        frame = frame_of(first, ROWS, pairs)
        arrivals = frame.ints("arrival")
        if first < pairs:
            frames.append(frame)
        if first >= lag:
            frames.append(labels_of(frame.ints("offset") - lag, arrivals))
        for frame in frames:
            frame.columns["order_ts"] = frame.columns["ts"]
        yield Message(Header("0/0", at, at + 1), {"0/0": int(arrivals[-1])}, {"0": 1}, frames)


def through(store: Pending | None, disk: SliceDisk | None, pairs: int) -> tuple[float, float]:
    """(CPU microseconds a pair in join, in what is written to the disk)."""
    shard = JoinShard(Monitors(), store)
    steps = writes = 0.0
    joined = 0
    for at, message in enumerate(messages(pairs)):
        began = time.thread_time()
        out = shard.run([(at, message)])
        steps += time.thread_time() - began
        joined += sum(frame.n for frame in out if frame.kind == "outcome")
        if disk is not None and isinstance(store, RocksPending) and store.changed > MAX_CHANGED:
            began = time.thread_time()
            save(store, disk)
            writes += time.thread_time() - began
    assert joined > 0.9 * pairs
    return round(1e6 * steps / pairs, 2), round(1e6 * writes / pairs, 2)


def pairs(folder: Path, n: int) -> dict[str, float]:
    """The fields of the report that begin with `pair_`; threads of RocksDB are not in them."""
    in_memory, _ = through(None, None, n)
    disk = SliceDisk(folder)
    on_disk, written = through(RocksPending(disk), disk, n)
    disk.close()
    return {
        "pair_in_memory_us": in_memory,
        "pair_on_disk_us": on_disk,
        "pair_written_us": written,
    }
