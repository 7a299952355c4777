"""`python -m tests.bench.checkpoints`: what a checkpoint of join's store in memory costs.

A shard waits for the labels of so many predictions, half of which have theirs. Its first checkpoint
writes everything. Then 1 % changes (as many labels of predictions picked at random as new
predictions), and the next one is measured: CPU time of this process up to the bytes that would be
sent, and those bytes; nothing is sent. Beside it, what it costs to write all of the store again.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from detectors.flow.join import MemoryPending, step
from streams.state.checkpoint import CheckpointStore
from streams.state.manifest import CONFIG, STATE, Draft, Drafted, Manifest
from tests.bench.pending_rows import SPEC, STEP_ROWS, frame_of, labels_of

PENDING = (10_000, 100_000, 1_000_000)
CHANGED = 0.01
ROUNDS = 8


@dataclass(frozen=True)
class Report:
    """Of one size: CPU time in milliseconds and bytes sent, chunks and manifest together."""

    pending: int
    all_ms: float
    all_bytes: int
    changed_ms: float
    changed_bytes: int
    chunks: int


class Sent:
    """An outbox that counts what it is given."""

    def __init__(self) -> None:
        self.bytes = 0

    async def send(
        self, _topic: str, _partition: int | None, value: Any, key: Any, _headers: Any
    ) -> Awaitable[Any]:
        self.bytes += len(value or b"") + len(key)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(SimpleNamespace(offset=0))
        return sent


class Shard:
    """A store and its checkpoints."""

    def __init__(self, pending: int) -> None:
        self.store: Any = MemoryPending()
        self.pending = pending
        self._random = np.random.default_rng(7)
        self._unlabelled = np.arange(0)
        self._next = 0
        self._sent = Sent()
        self._checkpoints = CheckpointStore(self._sent, [], "manifests", "chunks")
        self._former: Manifest | None = None

    def predict(self, n: int) -> None:
        """The next predictions."""
        for first in range(self._next, self._next + n, STEP_ROWS):
            rows = min(STEP_ROWS, self._next + n - first)
            frame = frame_of(first, rows, self.pending)
            self.store, _ = step(self.store, [frame], int(frame.ints("arrival")[-1]), SPEC)
        self._unlabelled = np.append(self._unlabelled, np.arange(self._next, self._next + n))
        self._next += n

    def label(self, n: int) -> None:
        """Labels of predictions picked at random."""
        self._unlabelled = self._random.permutation(self._unlabelled)
        said, self._unlabelled = self._unlabelled[:n], self._unlabelled[n:]
        now = int(frame_of(self._next - 1, 1, self.pending).ints("arrival")[0])
        for first in range(0, n, STEP_ROWS):
            rows = said[first : first + STEP_ROWS]
            self.store, _ = step(self.store, [labels_of(rows, np.full(len(rows), now))], now, SPEC)

    def checkpoint(self) -> tuple[float, int]:
        """(CPU time in ms, bytes) of the next checkpoint."""
        before = self._sent.bytes
        began = time.process_time()
        draft = Draft(0, pieces_of(self.store))
        self._former = asyncio.run(self._checkpoints.write(0, self._former, draft))
        return 1e3 * (time.process_time() - began), self._sent.bytes - before

    @property
    def chunks(self) -> int:
        """Chunks of the last checkpoint."""
        return 0 if self._former is None else sum(1 for _ in self._former.all_chunks())


def pieces_of(store: MemoryPending) -> Drafted:
    """The store as join writes it."""
    about, blocks = store.blocks()
    return {CONFIG: b"", STATE: msgspec.msgpack.encode(about), "pending": blocks}


def measure(pending: int) -> Report:
    """One size; what changed is the mean of several rounds, as some blocks are put together."""
    shard = Shard(pending)
    shard.predict(pending)
    shard.label(pending // 2)
    whole = shard.checkpoint()
    changed = []
    for _ in range(ROUNDS):
        shard.predict(int(pending * CHANGED / 2))
        shard.label(int(pending * CHANGED / 2))
        changed.append(shard.checkpoint())
    ms, sent = np.mean(changed, axis=0)
    return Report(
        pending=pending,
        all_ms=round(whole[0], 1),
        all_bytes=whole[1],
        changed_ms=round(float(ms), 1),
        changed_bytes=int(sent),
        chunks=shard.chunks,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.checkpoints", description=__doc__)
    parser.add_argument("--pending", type=int, nargs="+", default=PENDING, help="sizes")
    reports = [measure(size) for size in parser.parse_args(arguments).pending]
    print(f"{'pending':>10} {'all':>18} {'1 % changed':>18} {'chunks':>7}")
    for r in reports:
        whole, part = (
            f"{ms:,.1f} ms {size / 1e6:,.2f} MB"
            for ms, size in ((r.all_ms, r.all_bytes), (r.changed_ms, r.changed_bytes))
        )
        print(f"{r.pending:>10,} {whole:>18} {part:>18} {r.chunks:>7,}")
    print(msgspec.json.encode([asdict(report) for report in reports]).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
