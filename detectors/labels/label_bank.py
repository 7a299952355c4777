"""Signals of labels before the bank: their mix, and by how much predictions miss them, with sign.

A residual's bins are ordered, so that a shift is bias and a spread is variance; the size of errors
alone (`error`) sees neither a bias that grows as the spread falls, nor which way it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank import Bank, signal_of
from detectors.bank.bins import GATE
from detectors.bank.life import WINDOW
from detectors.banked.episodes import Episodes, Moment
from detectors.banked.moved import Moved, shift_finding
from detectors.classes import NONE, Key, local_classes
from detectors.findings import Finding
from detectors.frame import Frame
from detectors.plan import LABEL, RESIDUAL, WEAK_BELOW, Plan
from detectors.reference.profile import MISSING, BinnedProfile, Bins, Codes, NumericProfile
from detectors.reference.profiling import categorical, numeric
from detectors.ring import Ring
from detectors.windows.scoring import Outcomes
from detectors.windows.windows import Detection

Ints: TypeAlias = NDArray[np.int64]

OPENS: Final = "srbins"
_NO_CODES: Final[Ints] = np.empty(0, np.int64)
_INNER: Final = 2
_BIAS: Final = 0.1
"""Of the reference's mean absolute residual: a mean residual so much further off is worse."""


@dataclass(slots=True)
class LabelRows:
    """First labels of on-time predictions in key order; every sequence has n entries.

    `texts`: of the classes that `codes` index, or None of a regression, whose `labels` are numbers;
    `residual`: NaN where there is none.
    """

    ts: Ints
    arrival: Ints
    texts: list[str] | None
    codes: Ints
    labels: Floats
    residual: Floats

    @property
    def classes(self) -> list[str] | None:
        """The class text of each row, None of a regression."""
        texts = self.texts
        return None if texts is None else [texts[code] for code in self.codes.tolist()]

    def part(self, rows: slice) -> LabelRows:
        """Some of the rows."""
        return LabelRows(
            self.ts[rows],
            self.arrival[rows],
            self.texts,
            self.codes[rows],
            self.labels[rows],
            self.residual[rows],
        )

    def __len__(self) -> int:
        return len(self.ts)


def rows_of(frame: Frame, scored: Outcomes, aliases: Mapping[str, str]) -> tuple[LabelRows, Ints]:
    """The label rows of an outcome frame, and their positions in it."""
    kept = scored.first & ~scored.late
    if scored.entries.deviations is not None:
        kept &= ~np.isnan(scored.b)
        at = np.flatnonzero(kept)
        numbers = (scored.b[at], scored.a[at].astype(np.float64))
        return LabelRows(scored.ts[at], scored.arrival[at], None, _NO_CODES, *numbers), at
    codes, texts = local_classes(frame, "label", aliases)
    at = (kept & (codes != NONE)).nonzero()[0]
    nothing = np.full(len(at), np.nan)
    return LabelRows(scored.ts[at], scored.arrival[at], texts, codes[at], nothing, nothing), at


def profiles_of(rows: LabelRows) -> dict[str, BinnedProfile]:
    """The profile of each signal of these rows, which are in time order and at least one."""
    if (classes := rows.classes) is not None:
        values = sorted(set(classes))
        index = {value: code for code, value in enumerate(values)}
        codes = np.array([index[value] for value in classes])
        return {LABEL: categorical(values, codes, "text")}
    found: dict[str, BinnedProfile] = {LABEL: numeric(rows.labels)}
    known = rows.residual[~np.isnan(rows.residual)]
    if len(known):
        found[RESIDUAL] = numeric(known, len(rows) - len(known))
    return found


def is_worse(moved: Moved) -> bool:
    """Whether residuals are larger than the reference's, or further from 0 on average.

    Of a model that misses by less, or by as much and less one-sidedly, a drop in performance would
    be no truth, however much the residuals moved. Each bin counts as its middle, the outer ones as
    their inner edges, so that a few enormous misses in the reference excuse nothing.
    """
    profile = moved.bins.profile
    if not isinstance(profile, NumericProfile):
        return True
    bounds = np.array([profile.low, *profile.edges])
    middles = (bounds[:-1] + bounds[1:]) / 2
    if len(middles) > _INNER:
        middles[0], middles[-1] = bounds[1], bounds[-2]
    values = np.array([middles[0], *middles, middles[-1]])
    (size, bias), (size_then, bias_then) = (
        (float(np.average(np.abs(values), weights=n)), abs(float(np.average(values, weights=n))))
        for n in (moved.histogram_codes()[: len(values)], moved.bins.counts)
    )
    return size > size_then or bias > bias_then + _BIAS * size_then


@dataclass(slots=True)
class _Tests:
    """What runs once there is a reference."""

    profiles: dict[str, BinnedProfile]
    plan: Plan
    ring: Ring = field(default_factory=lambda: Ring(WINDOW))
    episodes: Episodes = field(default_factory=Episodes)
    bins: dict[str, Bins] = field(init=False)
    moved: dict[str, Callable[[Codes], Moved]] = field(init=False)
    bank: Bank = field(init=False)

    def __post_init__(self) -> None:
        self.bins = {name: Bins(profile) for name, profile in self.profiles.items()}
        made = [signal_of(name, p, at) for at, (name, p) in enumerate(self.profiles.items())]
        signals = {s.name: s for s in made if s is not None and s.name in self.plan.log_c}
        self.moved = {
            name: lambda codes, name=name, signal=signal: Moved(self.bins[name], signal, codes)  # type: ignore[misc]
            for name, signal in signals.items()
        }
        self.bank = Bank(list(signals.values()), self.plan.log_c)

    def codes(self, rows: LabelRows) -> Codes:
        """A row of codes for each signal."""
        codes: Codes = np.full((len(self.bins), len(rows)), MISSING, np.uint8)
        for at, (name, bins) in enumerate(self.bins.items()):
            if not isinstance(bins.profile, NumericProfile):
                if rows.texts is not None:
                    codes[at] = bins.of_texts(rows.texts, rows.codes)
                continue
            values = rows.labels if name == LABEL else rows.residual
            known = ~np.isnan(values)
            codes[at, known] = bins.of_numbers(values[known])
        return codes


class LabelBank:
    """The labels of one subject against the reference's, or against its own first ones."""

    def __init__(self, warmup: int, known: Mapping[str, BinnedProfile] | None = None) -> None:
        self.warmup = max(warmup, 1)
        self.plan: Plan | None = None
        self.known = None if not known else dict(known)
        self.tests: _Tests | None = None
        self._learning: list[LabelRows] = []

    def watch_with(self, plan: Plan, known: Mapping[str, BinnedProfile] | None = None) -> None:
        """Tests begin once there is a reference for labels, too."""
        self.plan = plan
        self.known = self.known or (dict(known) if known else None)
        if self.known is not None and self.tests is None:
            self.tests = _Tests(self.known, plan)

    def step(
        self,
        rows: LabelRows,
        since: int | None,
        key_of: Callable[[int], Key],
        fair: Callable[[Key], bool],
        detections: list[Detection],
    ) -> Iterator[Finding]:
        """Takes labels in key order; adds to `detections`, and yields what was found.

        Args:
            rows: the labels.
            since: arrival from which on a reference is learned: until all ages of labels have come,
                what comes is what comes quickly. None: not yet.
            key_of: order key under which row i took effect.
            fair: whether the labels known at a key are those of all predictions.
            detections: where openings are counted.
        """
        if self.tests is None:
            if since is None or self.plan is None:
                return
            begin = int(np.searchsorted(rows.arrival, since, "left"))
            held = sum(len(part) for part in self._learning)
            end = min(begin + self.warmup - held, len(rows))
            if end > begin:
                self._learning.append(rows.part(slice(begin, end)))
            if held + end - begin < self.warmup:
                return
            self.known = profiles_of(_joined(self._learning))
            self._learning = []
            self.tests = _Tests(self.known, self.plan)
            rows = rows.part(slice(end, None))
            yield from self._watch(self.tests, rows, end, key_of, fair, detections)
        else:
            yield from self._watch(self.tests, rows, 0, key_of, fair, detections)

    def _watch(  # noqa: PLR0917  the arguments of `step`, and how many rows it took
        self,
        tests: _Tests,
        rows: LabelRows,
        taken: int,
        key_of: Callable[[int], Key],
        fair: Callable[[Key], bool],
        detections: list[Detection],
    ) -> Iterator[Finding]:
        if not len(rows):
            return
        begin = tests.ring.total
        history = tests.ring.extend({"codes": tests.codes(rows)})
        turns = tests.bank.step(history.columns["codes"], len(rows))
        for moment in tests.episodes.follow(turns, rows.ts, begin):
            row = moment.row - begin
            key = key_of(row + taken)
            if moment.state in ("opened", "immaterial"):
                told = OPENS if moment.state == "opened" else f"{OPENS}_immaterial"
                place = (int(rows.arrival[row]), int(rows.ts[row]))
                detections.append(Detection(*place, moment.signal, told))
            if moment.state == "immaterial" or (moment.state != "closed" and not fair(key)):
                continue
            at = list(tests.bins).index(moment.signal)
            held = history.of("codes", moment.first, moment.row + 1)[at]
            moved = tests.moved[moment.signal](held)
            waited = moment.state == "open" and tests.episodes.open[moment.signal].rank < 0
            if waited and moved.excess < GATE:
                continue
            if moment.signal == RESIDUAL and moment.state != "closed" and not is_worse(moved):
                tests.episodes.begin_at(RESIDUAL, moment.row, int(rows.ts[row]))
                continue
            found = self._said(tests, moment, moved, key, rows)
            if moment.state == "closed" or tests.episodes.worse(moment.signal, found.severity):
                yield found

    def _said(
        self, tests: _Tests, moment: Moment, moved: Moved, key: Key, rows: LabelRows
    ) -> Finding:
        row = moment.row - (tests.ring.total - len(rows))
        profile = tests.profiles[moment.signal]
        n = profile.n + profile.missing
        return shift_finding(
            moment,
            moved,
            tests.plan.log_c[moment.signal],
            n if n < WEAK_BELOW else None,
            key=key,
            arrival=int(rows.arrival[row]),
            ts=int(rows.ts[row]),
        )

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> log-evidence."""
        if self.tests is None:
            return {}
        return {(name, OPENS): level for name, (level, _) in self.tests.bank.evidence().items()}

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        tests = self.tests
        return {
            "known": None if self.known is None else msgspec.to_builtins(self.known),
            "learning": [_dump(part) for part in self._learning],
            "bank": None if tests is None else tests.bank.dump(),
            "ring": None if tests is None else tests.ring.dump(),
            "episodes": None if tests is None else tests.episodes.dump(),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], warmup: int, plan: Plan | None) -> Self:
        """Goes on from `dump`, with the thresholds of the present budget."""
        known = dumped["known"]
        loaded = cls(
            warmup, None if known is None else msgspec.convert(known, dict[str, BinnedProfile])
        )
        loaded._learning = [_rows(part) for part in dumped["learning"]]
        if plan is None:
            return loaded
        loaded.watch_with(plan)
        if loaded.tests is not None and dumped["bank"] is not None:
            loaded.tests.bank.restore(dumped["bank"])
            loaded.tests.bank.retune(plan.log_c)
            loaded.tests.ring = Ring.load(dumped["ring"])
            loaded.tests.episodes = Episodes.load(dumped["episodes"])
        return loaded


def _joined(parts: Sequence[LabelRows]) -> LabelRows:
    classes: list[str] | None = None
    if parts[0].texts is not None:
        classes = [each for part in parts for each in part.classes or []]
    return LabelRows(
        np.concatenate([part.ts for part in parts]),
        np.concatenate([part.arrival for part in parts]),
        *_coded(classes),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.residual for part in parts]),
    )


def _coded(classes: list[str] | None) -> tuple[list[str] | None, Ints]:
    """(texts, codes into them) of class texts by row."""
    if classes is None:
        return None, _NO_CODES
    index = {text: code for code, text in enumerate(dict.fromkeys(classes))}
    return list(index), np.array([index[text] for text in classes], np.int64)


def _dump(rows: LabelRows) -> list[Any]:
    numbers = (rows.labels.tolist(), rows.residual.tolist())
    return [rows.ts.tolist(), rows.arrival.tolist(), rows.classes, *numbers]


def _rows(dumped: Sequence[Any]) -> LabelRows:
    ts, arrival, classes, labels, residual = dumped
    return LabelRows(
        np.array(ts, np.int64),
        np.array(arrival, np.int64),
        *_coded(classes),
        np.array(labels, np.float64),
        np.array(residual, np.float64),
    )
