"""Ages at which predictions should have their label, and what cohorts say of each age.

The delays of the labels that *arrive* say little: while a subject is young only the quick ones have
come, and when traffic falls the old ones prevail. So predictions are counted in cohorts by their
`ts`, and a cohort is judged at an age once all its predictions have reached it: how many had no
label by then. That share has no such bias, and it rises both where labels come later and where
fewer come.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array

Ints: TypeAlias = NDArray[np.int64]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
AGES: Final = (
    *(MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS),
    *(DAY_MS, 3 * DAY_MS, 7 * DAY_MS, 14 * DAY_MS, 30 * DAY_MS),
)
LEAST_COHORT_MS: Final = 10 * MINUTE_MS
_COHORTS: Final = 400
"""Cohorts within a horizon, at most."""
_UNITS: Final = (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", 1_000), ("ms", 1))


def ages_of(horizon_ms: int) -> tuple[int, ...]:
    """The ages, ms, at which labels are expected: those below the horizon, and it."""
    return (*(age for age in AGES if age < horizon_ms), horizon_ms)


def cohort_size(horizon_ms: int) -> int:
    """Length of a cohort in ms: ten minutes, or more where the horizon would hold over 400."""
    needed = -(-horizon_ms // _COHORTS)
    return max(LEAST_COHORT_MS, -(-needed // LEAST_COHORT_MS) * LEAST_COHORT_MS)


def age_text(age_ms: int) -> str:
    """`1h`, `15min`, `7d`."""
    return next(f"{age_ms // ms}{unit}" for unit, ms in _UNITS if age_ms % ms == 0)


def signal_of_age(age_ms: int) -> str:
    """What the threshold of an age is called."""
    return f"labelled_within:{age_text(age_ms)}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A cohort at an age: of `n` predictions `unlabelled` had no label; `due`: when that was known.

    `at`: which age; `start`: of the cohort, ms.
    """

    due: int
    start: int
    at: int
    n: int
    unlabelled: int


@dataclass(slots=True)
class AgeCohorts:
    """The open cohorts of one subject.

    Whether a row counts for an age is a property of the row alone: its prediction has to arrive,
    and its label to come, before all of the cohort has reached that age. So no batch changes it.

    Attributes:
        ages: rising, ms.
        size_ms: length of a cohort.
        open: start -> (predictions, labels) by the first age that they count for.
        until: no cohort is judged that is due later, as at the end of a file; None: all are.
    """

    ages: tuple[int, ...]
    size_ms: int
    open: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)
    until: int | None = None
    _due: list[tuple[int, int, int]] = field(default_factory=list)
    """A heap of (due, start, which age)."""

    @classmethod
    def of(cls, horizon_ms: int) -> Self:
        """No cohorts yet."""
        return cls(ages_of(horizon_ms), cohort_size(horizon_ms))

    def predicted(self, ts: Ints, arrival: Ints) -> None:
        """Counts predictions; times in ms, shape (n,)."""
        starts = ts // self.size_ms * self.size_ms
        self._count(0, starts, np.searchsorted(self.ages, arrival - starts - self.size_ms, "right"))

    def labelled(self, ts: Ints, arrival: Ints, predicted: Ints) -> None:
        """Counts first labels: `ts` and arrival of the prediction, and arrival of the label."""
        starts = ts // self.size_ms * self.size_ms
        counted = np.searchsorted(self.ages, predicted - starts - self.size_ms, "right")
        known = np.searchsorted(self.ages, arrival - ts, "right")
        self._count(1, starts, np.maximum(counted, known))

    def _count(self, kind: int, starts: Ints, first: NDArray[np.intp]) -> None:
        k = len(self.ages)
        inside = first < k
        if not inside.all():
            starts, first = starts[inside], first[inside]
        alike = len(starts) > 0 and bool((starts == starts[0]).all())
        for start in starts[:1].tolist() if alike else np.unique(starts).tolist():
            which = first if alike else first[starts == start]
            counts = np.bincount(which, minlength=k).tolist()
            cohort = self.open.get(start)
            if cohort is None:
                cohort = self.open[start] = ([0] * k, [0] * k)
                begin = next(at for at, count in enumerate(counts) if count)
                for at in range(begin, k):  # that it is due before these is known already
                    heapq.heappush(self._due, (start + self.size_ms + self.ages[at], start, at))
            held = cohort[kind]
            held[:] = [a + b for a, b in zip(held, counts, strict=True)]

    def judge(self, clock: int) -> list[Judged]:
        """The cohorts that have reached an age by `clock`, in the order they did; each once."""
        until = clock if self.until is None else min(clock, self.until)
        found = []
        while self._due and self._due[0][0] <= until:
            due, start, at = heapq.heappop(self._due)
            predictions, labels = (sum(counts[: at + 1]) for counts in self.open[start])
            if predictions:
                missing = max(predictions - labels, 0)
                found.append(Judged(due, start, at, predictions, missing))
            if at == len(self.ages) - 1:
                del self.open[start]
        return found

    @property
    def next_due(self) -> int | None:
        """When the next cohort reaches an age; None: none is open."""
        if not self._due or (self.until is not None and self._due[0][0] > self.until):
            return None
        return self._due[0][0]

    def dump(self) -> dict[str, Any]:
        """As builtins; `until` is whoever steps it's to say again."""
        starts = sorted(self.open)
        counts = np.array([self.open[start] for start in starts], np.int32)
        return {
            "ages": list(self.ages),
            "starts": starts,
            "counts": dump_array(counts.reshape(len(starts), 2, len(self.ages))),
            "due": [list(each) for each in sorted(self._due)],
        }

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`, unless the horizon is another one."""
        if tuple(dumped["ages"]) == self.ages:
            counts = load_array(dumped["counts"]).tolist()
            pairs = zip(dumped["starts"], counts, strict=True)
            self.open = {start: (predictions, labels) for start, (predictions, labels) in pairs}
            self._due = [(due, start, at) for due, start, at in dumped["due"]]
