"""One run of an engine: CPU seconds of its processes from the first event after warm-up on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from tests.bench.engines import Engine, EngineError
from tests.bench.feed import Feed
from tests.bench.load import Record, rows_of, warm_part

CAP_CPU_S = 10.0
START_S = 90.0
RUN_S = 120.0
SETTLE_S = 4.0
"""For the members of a group to share its partitions, once each of them had some."""
LOOK_S = 0.1
MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """What one run measured. `complete`: all events, not cut off at the cap on CPU or time."""

    events: int
    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    complete: bool = True

    @property
    def events_per_cpu_s(self) -> float:
        return self.events / self.cpu_s if self.cpu_s else 0.0

    @property
    def events_per_s(self) -> float:
        return self.events / self.wall_s if self.wall_s else 0.0


@dataclass
class Usage:
    """CPU and memory of processes. psutil counts user and system time of all threads."""

    processes: Sequence[psutil.Process]
    peak_bytes: int = 0

    def look(self) -> float:
        """CPU seconds so far, of all; takes note of the memory."""
        times = [process.cpu_times() for process in self.processes]
        self.peak_bytes = max(self.peak_bytes, self.rss())
        return sum(each.user + each.system for each in times)

    def rss(self) -> int:
        """Resident bytes, of all."""
        return sum(process.memory_info().rss for process in self.processes)


def run(
    engine: Engine,
    feed: Feed,
    records: Sequence[Record],
    *,
    warm: int,
    cap_cpu_s: float = CAP_CPU_S,
    told: Callable[[int], None] = lambda _: None,
) -> Run:
    """Starts the engine, warms it up with the first events, and measures it over the rest.

    Args:
        warm: events of the warm-up; it ends at a whole message.
        told: called with the events handled, for a progress bar.

    Raises:
        EngineError: it ended, or did not come through the warm-up.
    """
    begin = warm_part(records, warm)
    engine.start()
    try:
        wait_until_ready(engine)
        feed.send(records[:begin])
        if engine.clocked:
            feed.clock(records[begin - 1].ts + 1)
        before = wait_until_handled(engine, rows_of(records[:begin]))
        return _watch(engine, feed, records[begin:], before, cap_cpu_s, told)
    finally:
        engine.stop()


def wait_until_ready(engine: Engine) -> None:
    """Returns when the engine says it has its partitions, and its group has come to rest.

    Raises:
        EngineError: it ended, or did not say so in time.
    """
    deadline = time.monotonic() + START_S
    while not engine.ready():
        if time.monotonic() > deadline:
            raise EngineError(f"not ready after {START_S:.0f} s")
        time.sleep(0.2)
        _ = engine.processes  # raises where one has ended
    if len(engine.processes) > 1:
        time.sleep(SETTLE_S)


def wait_until_handled(engine: Engine, events: int) -> int:
    """Returns how many it has handled, once these are so many and it has come to rest.

    Raises:
        EngineError: it ended, or did not come so far in time.
    """
    deadline = time.monotonic() + START_S
    while (done := engine.handled()) < events:
        _ = engine.processes  # raises where one has ended
        if time.monotonic() > deadline:
            raise EngineError(f"{done:,} of {events:,} events after {START_S:.0f} s")
        time.sleep(0.3)
    time.sleep(1.0)  # what the start-up left to do
    return done


def _watch(
    engine: Engine,
    feed: Feed,
    records: Sequence[Record],
    before: int,
    cap_cpu_s: float,
    told: Callable[[int], None],
) -> Run:
    usage = Usage(engine.processes)
    total = rows_of(records)
    producing = threading.Thread(target=_produce, args=(engine, feed, records), daemon=True)
    at_first, began = usage.look(), time.monotonic()
    producing.start()
    done, used, last, ended = 0, 0.0, 0.0, began
    while done < total and used < cap_cpu_s and time.monotonic() < began + RUN_S:
        time.sleep(LOOK_S)
        used = usage.look() - at_first
        share, last, ended = (used - last) / LOOK_S, used, time.monotonic()
        if engine.quiet(share):
            done = engine.handled() - before
            told(done)
    complete = done >= total
    if not complete:
        done = engine.handled() - before
    used = usage.look() - at_first
    producing.join()
    return Run(done, used, ended - began, usage.peak_bytes / MIB, complete)


def _produce(engine: Engine, feed: Feed, records: Sequence[Record]) -> None:
    feed.send(records)
    if engine.clocked:
        feed.clock(records[-1].ts + 1)
