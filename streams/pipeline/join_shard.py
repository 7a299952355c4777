"""join: one shard of prediction ids, its rows in key order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from detectors.flow import join
from detectors.flow.clock import ArrivalClock
from detectors.flow.saved_blocks import Block
from detectors.flow.sequencer import Sequencer
from detectors.frame import Column, Frame
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.rows.command_rows import at_once
from streams.state.held_rows import HeldRows
from streams.state.waiting import Waiting

RELEASE_BYTES = 4 << 20
"""What is taken of the sequencer for one message; the rest follows with the next."""
OUT_BYTES = 10 << 20
"""About the most that may become of it: with what was not sent yet it has to fit into 16 MiB. A
label is small, but its outcome holds all scores of the prediction."""
CELL_BYTES = 8
_ALIKE = 2
"""How many times a frame's own columns there may be together before its rows weigh more."""
_PLAIN_COLUMNS = 12
"""Of an outcome, beside scores and segments."""
_MANY = 64
"""Rows of a frame from which on it tells how large they are: what they share weighs little then."""


class JoinShard:
    """One shard of prediction ids: rows in key order through the join.

    Args:
        monitors: horizons and segments.
        pending: what it remembers; None: a store in memory.
        held: the bound it shares with others; None: one of its own.
    """

    def __init__(
        self,
        monitors: Monitors,
        pending: join.Pending | None = None,
        held: HeldRows | None = None,
    ) -> None:
        self.monitors = monitors
        self.clock = ArrivalClock()
        self.sequencer = Sequencer()
        self.pending: join.Pending = join.MemoryPending() if pending is None else pending
        self.held = held or HeldRows()
        self.passed: int | None = None
        """The arrival below which everything was emitted; None before all sources were heard."""
        self.widest = 1
        """Bytes of the widest row of an outcome so far."""
        self._names: dict[str, set[str]] = {}
        """Columns of the predictions that came since nothing was held."""

    def step(self, message: Message) -> list[Frame]:
        """The prediction, outcome and count frames that this message releases, in key order."""
        for frame in message.frames:
            held = at_once(frame, self.clock.now)
            self.sequencer.hold(held, becomes=self._becomes(held))
        self.clock.advance(message.arrivals, message.sources)
        return self._release(self.clock.now, None)

    def run(self, messages: Iterable[tuple[int, Message]]) -> list[Frame]:
        """All that `releases` gives."""
        return [frame for _, frames in self.releases(messages) for frame in frames]

    def releases(
        self, messages: Iterable[tuple[int, Message]]
    ) -> Iterator[tuple[int, list[Frame]]]:
        """What `step` of each message gives, in as few frames as may be.

        Args:
            messages: with their offsets in this shard's log, rising.

        Yields:
            (offset up to which messages were stepped, what became of them): frames whose column
            `cause` is the offset of the message that released the row, so that it does not show
            how messages were put together. At most about `OUT_BYTES`.
        """
        waiting = Waiting()
        for offset, message in messages:
            rows = sum(frame.n for frame in message.frames)
            sizes = [(frame.nbytes, self._becomes(frame)) for frame in message.frames]
            before = self.clock.now
            self.clock.advance(message.arrivals, message.sources)
            if waiting.offsets and not self._may_wait(sum(map(max, sizes)), waiting.rows + rows):
                yield waiting.offsets[-1], self._release(waiting.clocks[-1], waiting)
                waiting = Waiting()
            for frame, size in zip(message.frames, sizes, strict=True):
                cause = Column(np.full(frame.n, offset, np.int64))
                self.sequencer.hold(at_once(frame, before).plus("cause", cause), *size)
            waiting.add(offset, self.clock.now, rows)
        if waiting.offsets:
            yield waiting.offsets[-1], self._release(waiting.clocks[-1], waiting)

    def _becomes(self, frame: Frame) -> int:
        """The bytes of a release that a frame counts for, if that is more than its own."""
        if frame.kind == "label":
            return frame.n * self.widest * RELEASE_BYTES // OUT_BYTES
        if frame.kind != "prediction":
            return 0
        # Released together, rows have the features of all of them.
        names = self._names.setdefault(frame.subject, set())
        names.update(frame.column_names)
        alike = len(names) <= _ALIKE * len(frame.column_names)
        return 0 if alike else frame.n * CELL_BYTES * len(names)

    def _see(self, frames: Iterable[Frame]) -> None:
        """Learns how wide outcomes are, or will be."""
        for frame in frames:
            if frame.kind == "prediction":
                segments = self.monitors.join.segment_columns(frame.subject.partition("@")[0])
                more = sum(name.startswith("s:") or name in segments for name in frame.column_names)
                self.widest = max(self.widest, CELL_BYTES * (_PLAIN_COLUMNS + more))
            elif frame.kind == "outcome" and frame.n >= _MANY:
                self.widest = max(self.widest, frame.nbytes // frame.n)

    def _may_wait(self, size: int, rows: int) -> bool:
        """Whether messages may be released with the next one, without a difference to be seen.

        Not if the next one's release could be cut, a slice could end, or the store be full.
        """
        now, passed = self.clock.now, self.passed
        if now is None or passed is None or self.sequencer.weight + size > RELEASE_BYTES:
            return False
        ends = min(self.pending.next_end, passed + self.monitors.join.shortest_horizon_ms)
        return now < ends and rows + self.sequencer.rows <= self.pending.room

    def _release(self, clock: int | None, waiting: Waiting | None) -> list[Frame]:
        released = self.held.force(self.sequencer)
        if clock is not None:
            released += self.sequencer.release(clock, RELEASE_BYTES)
            self.passed = self.sequencer.passed(clock)
        if not self.sequencer.rows:
            self._names.clear()
        if not released and self.passed is None:
            return []
        if waiting is not None:
            released = [frame.plus("cause", waiting.causes(frame)) for frame in released]
        passed = self.passed if self.passed is not None else 0
        commands = [frame for frame in released if frame.kind == "command"]
        rows = [frame for frame in released if frame.kind != "command"]
        self.pending, out = join.step(self.pending, rows, passed, self.monitors.join)
        self._see(out)
        if waiting is not None:
            last = waiting.offsets[-1]  # of a count of what went with its slice of time
            out = [
                frame
                if frame.has("cause")
                else frame.plus("cause", Column(np.full(frame.n, last, np.int64)))
                for frame in out
            ]
        return out + commands

    def configure(self, monitors: Monitors) -> None:
        """Other horizons and segments from now on."""
        self.monitors = monitors

    def dump(self) -> dict[str, Any]:
        """The shard as builtins."""
        return self._with(self.pending.dump())

    def parts(self) -> tuple[dict[str, Any], list[Block] | None]:
        """The shard for its checkpoint: as `dump`, but what a store in memory holds as blocks."""
        if not isinstance(self.pending, join.MemoryPending):
            return self.dump(), None
        about, blocks = self.pending.blocks()
        return self._with(about), blocks

    def _with(self, pending: dict[str, Any]) -> dict[str, Any]:
        return {
            "clock": self.clock.dump(),
            "sequencer": self.sequencer.dump(),
            "pending": pending,
            "passed": self.passed,
            "widest": self.widest,
        }

    @classmethod
    def load(
        cls,
        dumped: dict[str, Any],
        monitors: Monitors,
        pending: join.Pending | None = None,
        held: HeldRows | None = None,
    ) -> JoinShard:
        """The shard that `dump` described; `pending`: its store, if that was had already."""
        if pending is None:
            pending = join.MemoryPending.load(dumped["pending"])
        shard = cls(monitors, pending, held)
        shard.clock = ArrivalClock.load(dumped["clock"])
        shard.sequencer = Sequencer.load(dumped["sequencer"])
        shard.passed = dumped["passed"]
        shard.widest = dumped.get("widest", 1)  # the version before did not know
        return shard
