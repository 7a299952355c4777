"""Do labels come as early, and as many, as they used to? And are those that came a fair sample?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.bank import MIN_REFERENCE, Rate, Rates, Turn
from detectors.classes import Key, row_key
from detectors.findings import Finding, clock_text, short
from detectors.frame import Frame
from detectors.label_ages import DAY_MS, AgeCohorts, Judged, age_text, signal_of_age
from detectors.measures.cohorts import AGES as BANDS
from detectors.spec import MonitorSpec
from driftline.alerts import DetectorRef, Statistic

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

SIGNAL: Final = "labels"
LABELS_CHANGED: Final = "labels come later or fewer than before"
"""What windows say of their labels while that is so."""
TOLERANCE: Final = 0.05
"""Points by which the share without a label may rise and nobody hears of it."""
FEWEST_COHORTS: Final = 8
SPAN_MS: Final = DAY_MS
"""What the reference has to span: labels come by day and not by night."""
COVERED: Final = 0.9
"""Share of predictions with a label from which on the labels that are there are all that matter."""
ALIKE: Final = 0.95
"""Share of labels in one band of age from which on their age does not matter."""
_PROMPT: Final = 2
"""Bands of age, those up to a day, whose labels are those of the predictions of now."""
_SWAY: Final = 0.02
_FEWEST: Final = 100
_MANY: Final = 1_000
_KEPT: Final = 512
_BLOCKS: Final = (1, 2, 4, 8, 16, 24)
_FEWEST_BLOCKS: Final = 5


@dataclass(slots=True)
class _Age:
    """One age: its test, once there is a reference, and what that is learned from.

    `total`: of `learning`; `marks`: (rows before it, start) of the last cohorts;
    `recent`: (predictions, unlabelled); `covered`: lately nearly all had their label by this age.
    """

    learning: list[list[int]] = field(default_factory=list)
    total: tuple[int, int] = (0, 0)
    rate: Rate | None = None
    tests: Rates | None = None
    since: int | None = None
    marks: list[list[int]] = field(default_factory=list)
    recent: tuple[int, int] = (0, 0)
    covered: bool = False

    def look(self, n: int, unlabelled: int, sample: float) -> None:
        """Takes a cohort as judged, of which `sample` can be labelled; older ones weigh less."""
        n, unlabelled = self.recent[0] + n, self.recent[1] + unlabelled
        if n >= _FEWEST:
            share = 1 - (COVERED + (-_SWAY if self.covered else _SWAY)) * sample
            self.covered = unlabelled <= share * n
        self.recent = (n // 2, unlabelled // 2) if n > _MANY else (n, unlabelled)


class LabelTimes:
    """The labels of one subject: when they come and how many, against the subject's own past."""

    def __init__(self, spec: MonitorSpec) -> None:
        self.horizon_ms, self.sample = spec.horizon_ms, spec.label_sample
        self.cohorts = AgeCohorts.of(spec.horizon_ms)
        self.ages = [_Age() for _ in self.cohorts.ages]
        self.first: int | None = None
        """Arrival of the first prediction."""
        self.predictions = self.labels = 0
        self.bands = np.zeros(len(BANDS) + 1, np.int64)
        """Labels by band of age, once a horizon has passed since the first prediction."""
        self._complete: list[list[int]] = []  # (since, whether)
        self._worse: list[list[int]] = []  # (since, whether)
        self._batch: list[Frame | None] = [None, None]
        self._last = 0  # arrival of the last prediction
        self._before = (0, 0, 0, self.bands)

    # -- rows ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """New rows come: `fair` is asked of them, and of what was before them."""
        self._batch = [None, None]
        self._before = (self.predictions, self._last, self.labels, self.bands)

    def predicted(self, rows: Frame) -> None:
        """Takes on-time predictions in key order."""
        ts, arrival = rows.ints("ts"), rows.ints("arrival")
        if self.first is None:
            self.first = int(arrival[0])
        self.predictions += rows.n
        self._last = int(arrival[-1])
        self._batch[0] = rows
        self.cohorts.predicted(ts, arrival)

    def labelled(self, rows: Frame) -> None:
        """Takes first labels of on-time predictions, in key order."""
        ts, arrival = rows.ints("ts"), rows.ints("arrival")
        self.labels += rows.n
        self._batch[1] = rows
        self.bands = self.bands + self._bands(rows)
        predicted = rows.columns.get("prediction_arrival")
        self.cohorts.labelled(ts, arrival, arrival if predicted is None else predicted.data)

    def _bands(self, rows: Frame) -> Ints:
        arrival = rows.ints("arrival")
        since = (self.first or 0) + self.horizon_ms
        if not len(arrival) or arrival[-1] < since:  # they rise
            return np.zeros(len(BANDS) + 1, np.int64)
        age = (arrival - rows.ints("ts"))[arrival >= since]
        return np.bincount(np.searchsorted(BANDS, age, "right"), minlength=len(BANDS) + 1)

    @property
    def matured(self) -> int | None:
        """Arrival, ms, from which on labels of every age have been seen; None: nothing came yet."""
        return None if self.first is None else self.first + self.horizon_ms

    # -- are the labels a fair sample? ---------------------------------------------------------

    def fair(self, key: Key) -> bool:
        """Whether the labels known at a row are those of all predictions, not of the quick ones.

        So it is where nearly all predictions have one, by count or at some age, and where all ages
        have been seen and nearly all labels share a band of them. It is not where labels take days
        and no prediction came for one: then only the slow ones are still to come.
        """
        arrival = int(key[0])
        predictions, last, labels, bands = self._before
        if (rows := self._batch[0]) is not None:
            upto = bisect_left(range(rows.n), key, key=partial(row_key, rows))
            predictions += upto
            last = int(rows.ints("arrival")[upto - 1]) if upto else last
        if (rows := self._batch[1]) is not None:
            upto = bisect_right(range(rows.n), key, key=partial(row_key, rows))
            labels += upto
            bands = bands + self._bands(rows.span(0, upto))
        if arrival - last > DAY_MS and bands[:_PROMPT].sum() < ALIKE * bands.sum():
            return False
        if _at(self._complete, arrival):
            return True
        if labels >= COVERED * self.sample * predictions:
            return True
        return self.seen_all_ages(arrival) and bool(bands.max() >= ALIKE * max(bands.sum(), 1))

    def seen_all_ages(self, arrival: int) -> bool:
        """Whether a horizon has passed since the first prediction."""
        return self.first is not None and arrival >= self.first + self.horizon_ms

    def caveat(self, arrival: int) -> str | None:
        """What whoever reads metrics should know of their labels; None: nothing."""
        said = []
        if self.sample < 1:
            said.append(f"of a sample of {self.sample:.3g} of the predictions")
        if _at(self._worse, arrival):
            said.append(LABELS_CHANGED)
        return "; ".join(said) or None

    # -- judging -------------------------------------------------------------------------------

    @property
    def next_due(self) -> int | None:
        """An arrival before which the clock alone tells nothing."""
        return self.cohorts.next_due

    def judge(self, clock: int, log_c: Mapping[str, float]) -> Iterator[Finding]:
        """What cohorts tell that reached an age by `clock`.

        Args:
            clock: ms that no later row arrives before.
            log_c: thresholds by `signal_of_age`; without them nothing is tested yet.
        """
        for cohort in self.cohorts.judge(clock):
            age = self.ages[cohort.at]
            age.look(cohort.n, cohort.unlabelled, self.sample)
            _flip(self._complete, cohort.due, any(each.covered for each in self.ages))
            yield from self._test(age, cohort, log_c)
            self._learn(age, cohort, log_c)

    def _learn(self, age: _Age, cohort: Judged, log_c: Mapping[str, float]) -> None:
        """The first day of cohorts is the reference, and so is a later one that is better."""
        age.learning.append([cohort.start, cohort.n, cohort.unlabelled])
        n, hits = age.total[0] + cohort.n, age.total[1] + cohort.unlabelled
        age.total = (n, hits)
        enough = n >= MIN_REFERENCE and len(age.learning) >= FEWEST_COHORTS
        if not enough or cohort.start - age.learning[0][0] < SPAN_MS:
            return
        name = signal_of_age(self.cohorts.ages[cohort.at])
        if name not in log_c:
            _, first, unlabelled = age.learning.pop(0)
            age.total = (n - first, hits - unlabelled)
            return
        better = age.rate is not None and hits / n < age.rate.limits[0]
        if age.rate is None or (better and age.since is None):
            learned = [(each[1], each[2]) for each in age.learning]
            age.rate = Rate(name, hits, n, _phi(learned), absolute=TOLERANCE)
            age.tests = Rates([age.rate], log_c)
            age.marks = []
        age.learning, age.total = [], (0, 0)

    def _test(self, age: _Age, cohort: Judged, log_c: Mapping[str, float]) -> Iterator[Finding]:
        if age.tests is None or age.rate is None or age.rate.name not in log_c:
            return
        age.marks = [*age.marks, [age.tests.rows, cohort.start]][-_KEPT:]
        spread = np.arange(cohort.n + 1) * cohort.unlabelled // cohort.n
        for turn in age.tests.step((np.diff(spread) > 0)[None, :]):
            if turn.state == "immaterial":
                continue
            if turn.state == "opened":
                at = bisect_right(age.marks, turn.since, key=lambda mark: mark[0]) - 1
                age.since = age.marks[max(at, 0)][1]
            yield self._said(age, age.rate, cohort, turn)
            if turn.state == "closed":
                age.since = None
            _flip(self._worse, cohort.due, any(each.since is not None for each in self.ages))

    def _said(self, age: _Age, rate: Rate, cohort: Judged, turn: Turn) -> Finding:
        ms = self.cohorts.ages[cohort.at]
        now, before = 1 - turn.effect, 1 - rate.hits / rate.n
        since = cohort.start if age.since is None else age.since
        over = turn.state == "closed"
        what = f"{now:.0%} of predictions have a label within {age_text(ms)}"
        summary = (
            f"labels come as they did: {what}, reference {before:.0%}"
            if over
            else f"labels come later or fewer since {clock_text(since)}: {what}, before "
            f"{before:.0%}; metrics of these predictions are of fewer labels"
        )
        return Finding(
            state="recovered" if over else "changed",
            kind="label_delay",
            signal=SIGNAL,
            key=(cohort.due,),
            arrival=cohort.due,
            ts=cohort.start + self.cohorts.size_ms - 1,
            change_point=since,
            severity="info" if over else "critical" if now < before / 2 else "warning",
            detector=DetectorRef(
                f"srbinary_{age_text(ms)}", {"log_threshold": round(turn.log_threshold, 6)}
            ),
            statistic=Statistic(
                name=f"labelled_within_{age_text(ms)}",
                value=now,
                threshold=1 - rate.limits[1],
                baseline=before,
                effect_size=now - before,
                sample_size=turn.events,
            ),
            summary=short(summary, 200),
        )

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins. Call between steps."""
        return {
            "cohorts": self.cohorts.dump(),
            "ages": [_dump(age) for age in self.ages],
            "first": self.first,
            "predictions": self.predictions,
            "last": self._last,
            "labels": self.labels,
            "bands": self.bands.tolist(),
            "complete": self._complete,
            "worse": self._worse,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], spec: MonitorSpec) -> Self:
        """Goes on from `dump`; with another horizon, cohorts and references begin anew."""
        times = cls(spec)
        times.first = dumped["first"]
        times.predictions, times.labels = dumped["predictions"], dumped["labels"]
        times._last = dumped.get("last", 0)
        times.bands = np.array(dumped["bands"], np.int64)
        if tuple(dumped["cohorts"]["ages"]) == times.cohorts.ages:
            times.cohorts.restore(dumped["cohorts"])
            times.ages = [_load(age) for age in dumped["ages"]]
            times._complete = [list(each) for each in dumped["complete"]]
            times._worse = [list(each) for each in dumped["worse"]]
        return times

    def retune(self, log_c: Mapping[str, float]) -> None:
        """Sets new thresholds, such as for another budget."""
        for age in self.ages:
            if age.tests is not None and age.tests.rates[0].name in log_c:
                age.tests.retune(log_c)


def _dump(age: _Age) -> dict[str, Any]:
    rate = age.rate
    return {
        "learning": age.learning,
        "rate": None if rate is None else [rate.name, rate.hits, rate.n, rate.phi],
        "tests": None if age.tests is None else age.tests.dump(),
        "log_c": None if age.tests is None else float(age.tests.evidence.log_c[0]),
        "since": age.since,
        "marks": age.marks,
        "recent": list(age.recent),
        "covered": age.covered,
    }


def _load(dumped: Mapping[str, Any]) -> _Age:
    learning = dumped["learning"]
    total = (sum(each[1] for each in learning), sum(each[2] for each in learning))
    age = _Age(learning, total, since=dumped["since"], marks=dumped["marks"])
    n, unlabelled = dumped["recent"]
    age.recent, age.covered = (n, unlabelled), dumped["covered"]
    if dumped["rate"] is not None:
        name, hits, n, factor = dumped["rate"]
        age.rate = Rate(name, hits, n, factor, absolute=TOLERANCE)
        age.tests = Rates([age.rate], {name: dumped["log_c"]})
        age.tests.restore(dumped["tests"])
    return age


def _flip(history: list[list[int]], at: int, value: bool) -> None:
    """Takes note of when a yes or no became the other."""
    if bool(history and history[-1][1]) is not value:
        history.append([at, int(value)])
        del history[:-_KEPT]


def _at(history: list[list[int]], at: int) -> bool:
    """What held at a time."""
    index = bisect_right(history, at, key=lambda each: each[0]) - 1
    return index >= 0 and bool(history[index][1])


def _phi(cohorts: list[tuple[int, int]]) -> float:
    """By how much cohorts differ more than chance: variance of their counts over a binomial's."""
    n, hits = (np.array([each[i] for each in cohorts], np.float64) for i in (0, 1))
    p = hits.sum() / n.sum()
    factors = [1.0]
    if 0 < p < 1:
        for size in _BLOCKS:
            blocks = len(n) // size
            if blocks < _FEWEST_BLOCKS:
                break
            rows = n[: blocks * size].reshape(blocks, size).sum(axis=1)
            found = hits[: blocks * size].reshape(blocks, size).sum(axis=1)
            factors.append(float(np.mean((found - rows * p) ** 2 / (rows * p * (1 - p)))))
    return max(factors)
