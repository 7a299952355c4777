"""What a worker looks at to see how it is itself: readings of its partitions, and what went wrong.

Plain numbers and no clock, so that `streams.watchdog.rules` can be fed by a test as by a worker.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Trouble: TypeAlias = Literal[
    "lost",  # offsets that a log no longer holds
    "forced",  # rows stepped before their order was certain
    "pending_full",  # predictions and labels dropped because join's shard is full
    "restarts",  # a partition started again from its checkpoint
    "config_mismatch",  # a manifest's configuration was not this worker's
    "rejected",  # rows dead-lettered
    "rows",  # rows of a public topic read
    "audit",  # the audit trail could not be written
    "undelivered",  # a destination did not take an alert, for good
    "delivered",  # a destination took one
]


@dataclass(slots=True)
class Tally:
    """What this process counted since it began, by (what, stage, where).

    `where`: a log "topic/partition", a topic, or a destination; empty: the whole process.
    """

    counts: Counter[tuple[Trouble, str, str]] = field(default_factory=Counter)

    def add(self, what: Trouble, stage: str, where: str = "", n: int = 1) -> None:
        """Counts n more."""
        self.counts[what, stage, where] += n


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionVitals:
    """One open session. Times in seconds of the worker's monotonic clock, arrivals in ms."""

    stage: str
    log: str
    """"topic/partition" that it reads."""
    lag: int | None = None
    """Messages not read yet; None: not known yet."""
    in_gap: int = 0
    """Logs of senders of which a message is missing."""
    overdue_s: float = 0.0
    """How long ago its checkpoint was due, if there is something to write."""
    clock: int | None = None
    """Its arrival clock; None: it has none, or not all sources were heard from."""
    slowest: str = ""
    """The log that holds the clock; empty: the stage has no clock."""
    behind_ms: int | None = None
    """How far that log is behind the foremost one; None: it was never heard from."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at everything."""

    partitions: tuple[PartitionVitals, ...]
    counts: Counter[tuple[Trouble, str, str]]
    wall_ms: int
