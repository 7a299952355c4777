"""The arrival clock: the arrival that every source has passed, so that nothing earlier can come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ArrivalClock:
    """The minimum of the arrivals reached by all logs it must hear from. Never goes back.

    These logs are every partition of every topic a message named in `sources`, and whatever else
    was heard from. A partition not heard from yet holds the clock: at None before the first time
    all were heard, and where it stands if the partition was added later.
    """

    __slots__ = ("_now", "_reached")

    def __init__(self) -> None:
        self._reached: dict[str, int | None] = {}  # None: to be heard from
        self._now: int | None = None

    @property
    def now(self) -> int | None:
        """Milliseconds; every row still to come arrives at or after it. None: not known yet."""
        return self._now

    @property
    def waiting(self) -> list[str]:
        """The logs not heard from yet, "topic/partition"."""
        return [log for log, reached in self._reached.items() if reached is None]

    @property
    def reached(self) -> dict[str, int]:
        """The arrival that each log heard from has reached, in ms."""
        return {log: at for log, at in self._reached.items() if at is not None}

    def advance(self, arrivals: Mapping[str, int], sources: Mapping[str, int]) -> None:
        """Take what one message says.

        Args:
            arrivals: log ("topic/partition") -> the arrival it has reached, in ms. An older one
                than before (a zombie's, a repeated message's) changes nothing.
            sources: topic -> its number of partitions.
        """
        for topic, partitions in sources.items():
            if partitions and f"{topic}/{partitions - 1}" not in self._reached:
                for partition in range(partitions):
                    self._reached.setdefault(f"{topic}/{partition}", None)
        for log, arrival in arrivals.items():
            reached = self._reached.get(log)
            self._reached[log] = arrival if reached is None else max(arrival, reached)
        self._settle()

    def _settle(self) -> None:
        slowest: int | None = None
        for reached in self._reached.values():
            if reached is None:
                return
            if slowest is None or reached < slowest:
                slowest = reached
        if slowest is not None and (self._now is None or slowest > self._now):
            self._now = slowest

    def dump(self) -> dict[str, Any]:
        """The clock as builtins, for the checkpoint."""
        return {"reached": dict(self._reached), "now": self._now}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> ArrivalClock:
        """The clock that `dump` described."""
        clock = cls()
        clock._reached = dict(dumped["reached"])
        clock._now = dumped["now"]
        return clock
