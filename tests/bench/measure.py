"""One run of an engine: CPU seconds of its processes from the first event after warm-up on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from tests.bench.engines import Engine, EngineError
from tests.bench.feed import Feed
from tests.bench.load import Record, rows_of, warm_part

CAP_CPU_S = 10.0
ROUND = 300_000
"""Events that are sent before the next look at the cap: stages work one ahead of the other, so
only a round that is through all of them says what its events cost."""
START_S = 90.0
RUN_S = 120.0
SETTLE_S = 4.0
"""For the members of a group to share its partitions, once each of them had some."""
REST_S = 0.7
"""For what the start-up left to do."""
LOOK_S = 0.1
MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """What one run measured. `complete`: all events, not ended by the cap on CPU or time."""

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
) -> Run:
    """Starts the engine, warms it up with the first events, and measures it over the rest.

    Args:
        warm: events of the warm-up; it ends at a whole message.

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
        before = rows_of(records[:begin])
        wait_until_handled(engine, before)
        return _watch(engine, feed, records[begin:], before=before, cap_cpu_s=cap_cpu_s)
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


def wait_until_handled(engine: Engine, events: int) -> None:
    """Returns when it has handled so many and has come to rest.

    Raises:
        EngineError: it ended, or did not come so far in time.
    """
    _through(engine, Usage(engine.processes), events)
    time.sleep(REST_S)


def _watch(
    engine: Engine,
    feed: Feed,
    records: Sequence[Record],
    *,
    before: int,
    cap_cpu_s: float,
) -> Run:
    """Round after round until the cap: at the end of each, every stage has all of its events."""
    usage = Usage(engine.processes)
    at_first, began = usage.look(), time.monotonic()
    done, used, wall = 0, 0.0, 0.0
    for begin, end in rounds(records):
        if used >= cap_cpu_s or time.monotonic() > began + RUN_S:
            break
        started = time.monotonic()
        producing = threading.Thread(
            target=_produce, args=(engine, feed, records[begin:end]), daemon=True
        )
        producing.start()
        _through(engine, usage, before + rows_of(records[:end]))
        producing.join()
        done, used = rows_of(records[:end]), usage.look() - at_first
        wall += time.monotonic() - started
    complete = done == rows_of(records)
    return Run(done, used, wall, usage.peak_bytes / MIB, complete)


def rounds(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """Where to cut the records into rounds of at least ROUND events, the rest with the last."""
    begin = 0
    while begin < len(records):
        end = begin + warm_part(records[begin:], ROUND)
        if rows_of(records[end:]) < ROUND:
            end = len(records)
        yield begin, end
        begin = end


def _through(engine: Engine, usage: Usage, events: int) -> None:
    """Returns when the engine has handled so many events.

    Raises:
        EngineError: it ended, or did not come so far in time.
    """
    deadline, used, done = time.monotonic() + RUN_S, usage.look(), 0
    while True:
        time.sleep(LOOK_S)
        _ = engine.processes  # raises where one has ended
        former, used = used, usage.look()
        if engine.quiet((used - former) / LOOK_S):
            done = engine.handled()
        if done >= events:
            return
        if time.monotonic() > deadline:
            raise EngineError(f"{done:,} of {events:,} events in {RUN_S:.0f} s")


def _produce(engine: Engine, feed: Feed, records: Sequence[Record]) -> None:
    feed.send(records)
    if engine.clocked:
        feed.clock(records[-1].ts + 1)
