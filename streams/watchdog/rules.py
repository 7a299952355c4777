"""What is wrong with the pipeline itself, second by second: rules over vital signs. Pure.

A rule says what is *bad now*; how long that must last before it is an alert, and how long it must
be over, is in the rule, too, and kept by `streams.watchdog.alerts`. None of this is part of a
checkpoint: pipeline alerts are outside every promise of equality (contract.md, section 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from driftline.alerts import Severity
from streams.telemetry.vitals import PartitionVitals, Trouble, Vitals

RECENT_S = 600.0
"""What happened within so long still counts as going on."""
MISMATCH_S = 3_600.0
MISMATCHES = 3
"""One mismatch of a partition is a changed file; several within an hour are two folders."""
RESTARTS = 5
AUDIT_FAILURES = 3
REJECTED_SHARE = 0.1
REJECTED_LEAST = 100
HELD_MS = 300_000
"""A clock that stands still while another source is so far ahead (or wall time is) is held."""
HELD_S = 300.0
LAG_LEAST = 1_000
LAG_SAMPLE_S = 10.0
LAG_SAMPLES = 60
OVERDUE_INTERVALS = 4.0
OVERDUE_LEAST_S = 60.0


@dataclass(frozen=True, slots=True)
class Key:
    """What is wrong, and where: one incident."""

    stage: str
    signal: str
    where: str = ""
    """A log, a topic or a destination; empty: the whole process."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one signal becomes an alert."""

    severity: Severity
    statistic: str
    threshold: float
    after_s: float
    """How long it must be bad without a pause."""
    clear_s: float
    """How long it must be good without a pause."""
    text: str
    """For people; {where}, {value} and {detail} are filled in."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One thing that is wrong at this moment."""

    value: float
    detail: str = ""


def rules(session_s: float, rebalance_s: float, checkpoint_s: float) -> dict[str, Rule]:
    """The rules by signal, for these timeouts and this checkpoint interval, in seconds."""
    patience_s = session_s + rebalance_s + 2 * checkpoint_s
    return {
        "gap": Rule(
            *("critical", "logs_in_gap", 1, patience_s, 10),
            "{where} waits for messages of {value:.0f} logs that nobody sends again; their models "
            "stand still",
        ),
        "lost": Rule(
            *("critical", "offsets_lost", 1, 0, 60),
            "{where} lost {value:.0f} offsets to retention or truncation: rows are missing",
        ),
        "pending_full": Rule(
            *("critical", "entries_dropped", 1, 0, 60),
            "{where}: {value:.0f} waiting entries dropped, the shard is full: shorten the horizon, "
            "sample labels, or start over with more partitions",
        ),
        "forced": Rule(
            *("warning", "rows_forced", 1, 0, 60),
            "{where}: {value:.0f} rows stepped before their order was certain, for want of memory",
        ),
        "clock_held": Rule(
            *("critical", "behind_ms", HELD_MS, HELD_S, 30),
            "{where}: the arrival clock stands still, held by {detail}; windows do not close",
        ),
        "rejected": Rule(
            *("warning", "rejected_share", REJECTED_SHARE, 0, 60),
            "{where}: {value:.0%} of the rows of the last 10 min were refused; see `driftline dlq`",
        ),
        "checkpoint": Rule(
            *("critical", "overdue_s", _overdue_s(checkpoint_s), 0, 10),
            "{where}: no checkpoint for {value:.0f} s past its time; a restart would read all "
            "since then again",
        ),
        "lag": Rule(
            *("warning", "messages", LAG_LEAST, 0, 60),
            "{where}: {value:.0f} messages behind, and more every minute; add workers",
        ),
        "restarts": Rule(
            *("critical", "restarts", RESTARTS, 0, 60),
            "{where} started again from its checkpoint {value:.0f} times in 10 min; see the log",
        ),
        "config_mismatch": Rule(
            *("warning", "mismatches", MISMATCHES, 0, 60),
            "{where}: workers of one group have different monitor folders; give all the same",
        ),
        "audit": Rule(
            *("warning", "failures", AUDIT_FAILURES, 0, 60),
            "the audit trail cannot be written ({value:.0f} failures in 10 min); see the log",
        ),
        "undelivered": Rule(
            *("warning", "alerts_given_up", 1, 0, 0),
            "destination {where} gave up {value:.0f} alerts and has taken none since; see "
            "`driftline dlq --reason undelivered`",
        ),
    }


def _overdue_s(checkpoint_s: float) -> float:
    return max(OVERDUE_LEAST_S, OVERDUE_INTERVALS * checkpoint_s)


_RECENT: dict[Trouble, tuple[str, float, int]] = {
    "lost": ("lost", RECENT_S, 1),
    "forced": ("forced", RECENT_S, 1),
    "pending_full": ("pending_full", RECENT_S, 1),
    "restarts": ("restarts", RECENT_S, RESTARTS),
    "config_mismatch": ("config_mismatch", MISMATCH_S, MISMATCHES),
    "audit": ("audit", RECENT_S, AUDIT_FAILURES),
}
"""Count -> (signal, seconds that count, how many are bad)."""


@dataclass(slots=True)
class _Recent:
    """A counter's increases within the last while."""

    total: int = 0
    steps: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, total: int, now: float) -> int:
        more, self.total = total - self.total, total
        if more:
            self.steps.append((now, more))
        while self.steps and self.steps[0][0] <= now - MISMATCH_S:
            self.steps.popleft()
        return more

    def within(self, seconds: float, now: float) -> int:
        return sum(n for at, n in self.steps if at > now - seconds)


@dataclass(slots=True)
class _Seen:
    """What was seen of a partition before."""

    clock: int | None = None
    lags: deque[int] = field(default_factory=lambda: deque(maxlen=LAG_SAMPLES))
    sampled_at: float = float("-inf")


class Examiner:
    """Says what is bad now; remembers only what it needs to see a change.

    Args:
        checkpoint_s: the checkpoint interval, in seconds.
        wall_clock: whether arrival clocks go with wall time (`clock: broker`).
    """

    def __init__(self, checkpoint_s: float, *, wall_clock: bool) -> None:
        self._overdue_s = _overdue_s(checkpoint_s)
        self._wall_clock = wall_clock
        self._recent: dict[tuple[Trouble, str, str], _Recent] = {}
        self._given_up: dict[Key, int] = {}
        """Alerts that a destination did not take since it last took one."""
        self._seen: dict[str, _Seen] = {}

    def examine(self, vitals: Vitals, now: float) -> dict[Key, Bad]:
        """What is bad at this moment; `now` in seconds that never go back, about one look each."""
        more = {
            name: self._recent.setdefault(name, _Recent()).take(total, now)
            for name, total in vitals.counts.items()
        }
        bad = dict(self._counted(now))
        bad |= self._undelivered(more)
        here = {p.log for p in vitals.partitions}
        self._seen = {log: seen for log, seen in self._seen.items() if log in here}
        for partition in vitals.partitions:
            seen = self._seen.setdefault(partition.log, _Seen())
            for signal, found in self._of(partition, seen, vitals.wall_ms, now):
                bad[Key(partition.stage, signal, partition.log)] = found
        return bad

    def _counted(self, now: float) -> Iterator[tuple[Key, Bad]]:
        for (what, stage, where), recent in self._recent.items():
            if what in _RECENT:
                signal, seconds, least = _RECENT[what]
                count = recent.within(seconds, now)
                if count >= least:
                    yield Key(stage, signal, where), Bad(count)
            elif what == "rejected":
                rows = self._within("rows", stage, where, now)
                refused = recent.within(RECENT_S, now)
                share = refused / (rows + refused) if refused else 0.0
                if rows + refused >= REJECTED_LEAST and share >= REJECTED_SHARE:
                    yield Key(stage, "rejected", where), Bad(share)

    def _undelivered(self, more: Mapping[tuple[Trouble, str, str], int]) -> dict[Key, Bad]:
        for (what, stage, where), n in more.items():
            key = Key(stage, "undelivered", where)
            if what == "undelivered" and n:
                self._given_up[key] = self._given_up.get(key, 0) + n
            elif what == "delivered" and n and not more.get(("undelivered", stage, where)):
                self._given_up.pop(key, None)
        return {key: Bad(n) for key, n in self._given_up.items()}

    def drop(self, where: str) -> None:
        """A partition left: what happened to it here is for its next reader to judge."""
        for (_, _, at), recent in self._recent.items():
            if at == where:
                recent.steps.clear()

    def _within(self, what: Trouble, stage: str, where: str, now: float) -> int:
        found = self._recent.get((what, stage, where))
        return 0 if found is None else found.within(RECENT_S, now)

    def _of(
        self, partition: PartitionVitals, seen: _Seen, wall_ms: int, now: float
    ) -> Iterator[tuple[str, Bad]]:
        if partition.in_gap:
            yield "gap", Bad(partition.in_gap)
        if partition.overdue_s >= self._overdue_s:
            yield "checkpoint", Bad(partition.overdue_s)
        held = self._held(partition, seen, wall_ms)
        if held is not None:
            yield "clock_held", held
        if partition.lag is not None and _grows(seen, partition.lag, now):
            yield "lag", Bad(partition.lag)

    def _held(self, partition: PartitionVitals, seen: _Seen, wall_ms: int) -> Bad | None:
        """The clock stood still since the last look, and something should have moved it."""
        moved, seen.clock = partition.clock != seen.clock, partition.clock
        if not partition.slowest or moved:
            return None
        if partition.behind_ms is None or partition.clock is None:
            return Bad(float("inf"), f"{partition.slowest}, not heard from")
        behind_ms = partition.behind_ms
        if self._wall_clock:
            behind_ms = max(behind_ms, wall_ms - partition.clock)
        return Bad(behind_ms, partition.slowest) if behind_ms >= HELD_MS else None


def _grows(seen: _Seen, lag: int, now: float) -> bool:
    """Whether the last five minutes' least lag is above the greatest of the five before."""
    if now - seen.sampled_at >= LAG_SAMPLE_S:
        seen.lags.append(lag)
        seen.sampled_at = now
    if len(seen.lags) < LAG_SAMPLES or lag < LAG_LEAST:
        return False
    half = LAG_SAMPLES // 2
    before, after = list(seen.lags)[:half], list(seen.lags)[half:]
    return min(after) > max(before)
