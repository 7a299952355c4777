"""Pacing: source partitions are read in order of arrival, so that little waits in the sequencers.

A fetch brings many more labels than predictions, and one partition may be far behind another. Rows
that run ahead of the slowest partition are of no use yet: they would wait in join's sequencer,
whose memory has a bound. So what was fetched waits here, a fetch per partition at most, and goes on
in order of arrival; a partition that waits here is not fetched from. Where records wait never shows
in results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

from faust.types import TP

APART_MS = 60_000
"""How far a partition may be ahead of one that is being fetched from."""

PATIENCE_S = 5.0
"""How long partitions wait for one that has more but of which nothing comes."""


class Pacing:
    """What was fetched of the source partitions and has not gone on."""

    def __init__(self) -> None:
        self._held: dict[TP, deque[list[Any]]] = {}
        self._last: dict[TP, int] = {}  # arrival of the last record that went on, in ms
        self._waits_since: float | None = None

    @property
    def held(self) -> Collection[TP]:
        """Partitions that have something waiting."""
        return self._held.keys()

    def add(self, tp: TP, slices: Iterable[list[Any]]) -> None:
        """Takes what was fetched of a partition, in order."""
        for part in slices:
            self._held.setdefault(tp, deque()).append(part)

    def pop(self, behind: Iterable[TP], now_s: float) -> tuple[TP, list[Any]] | None:
        """The slice that goes on next; None: there is none, or the partitions behind come first.

        Args:
            behind: partitions of which nothing waits here, though their log has more.
            now_s: monotonic time; after `PATIENCE_S` nobody is waited for.
        """
        if not self._held:
            return None
        tp = min(self._held, key=lambda held: self._held[held][0][0].timestamp)
        parts = self._held[tp]
        slowest = min((self._last.get(other, -APART_MS) for other in behind), default=None)
        if slowest is not None and parts[0][0].timestamp > slowest + APART_MS:
            if self._waits_since is None:
                self._waits_since = now_s
            if now_s < self._waits_since + PATIENCE_S:
                return None
        self._waits_since = None
        part = parts.popleft()
        if not parts:
            del self._held[tp]
        self._last[tp] = part[-1].timestamp
        return tp, part

    def drop(self, tp: TP) -> None:
        """The partition is read from another place: what waits of it will come again."""
        self._held.pop(tp, None)
        self._last.pop(tp, None)

    def clear(self) -> None:
        """All partitions are read from where their sessions say."""
        self._held.clear()
        self._last.clear()
        self._waits_since = None
