"""The error under watch: is the model worse than its reference?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.arrays import dump_array, load_array
from detectors.classes import Key
from detectors.configured.errors import ConfiguredErrors
from detectors.drift.page_hinkley import PageHinkley
from detectors.error_signal import HELD, SIGNAL, ErrorSignal, Place, finding
from detectors.errors.error_bank import ErrorBank, tell
from detectors.feed import TICKS, RankFeed, to_ticks
from detectors.findings import Finding
from detectors.plan import RESIDUAL, Plan
from detectors.reference.profile import Bins, ErrorReference
from detectors.reference.profiling import error_reference
from detectors.ring import Ring
from detectors.spec import MonitorSpec
from detectors.watch import Watch
from detectors.windows.scoring import Outcomes
from detectors.windows.windows import Detection
from driftline.alerts import DetectorRef

Ints: TypeAlias = NDArray[np.int64]


@dataclass(slots=True)
class Labelled:
    """First labels of on-time predictions in key order, with comparable values; shape (n,).

    `a`, `b`: as in `Outcomes`.
    """

    ts: Ints
    arrival: Ints
    error: Floats
    a: NDArray[Any]
    b: Floats

    @classmethod
    def of(cls, outcomes: Outcomes) -> tuple[Self, Ints]:
        """The rows that detectors see, and their positions among the outcomes."""
        usable = outcomes.first & ~outcomes.late & ~np.isnan(outcomes.error)
        at = np.flatnonzero(usable)
        o = outcomes
        return cls(o.ts[at], o.arrival[at], o.error[at], o.a[at], o.b[at]), at

    def part(self, rows: slice) -> Labelled:
        """Some of the rows."""
        return Labelled(
            self.ts[rows], self.arrival[rows], self.error[rows], self.a[rows], self.b[rows]
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """For the ring."""
        return {"ts": self.ts, "error": self.error, "a": self.a, "b": self.b}

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(slots=True)
class _Detectors:
    """What runs once there is a reference."""

    reference: ErrorReference
    bins: Bins | None
    feed: RankFeed
    error: PageHinkley
    residual: PageHinkley | None
    watch: Watch = field(default_factory=Watch)

    @classmethod
    def new(cls, reference: ErrorReference) -> Self:
        bins = None if reference.absolute is None else Bins(reference.absolute)
        scale = reference.sd or 1.0
        residual = None
        if bins is None:
            scale = max(scale, 0.1)
        else:
            residual = PageHinkley(center=reference.bias or 0.0, scale=reference.bias_sd or 1.0)
        error = PageHinkley(center=reference.mean, scale=scale)
        return cls(reference, bins, RankFeed(reference.phi), error, residual)

    def ticks(self, errors: Floats) -> Ints:
        """Errors as ADWIN takes them: 0/1 as they are, absolute residuals by reference rank."""
        if self.bins is None:
            return (errors * TICKS).astype(np.int64)
        return to_ticks(self.bins.ranks[self.bins.of_numbers(errors)])


class Concept:
    """Error of a subject against its reference, which the first `warmup` labels make if need be."""

    def __init__(self, warmup: int, reference: ErrorReference | None) -> None:
        self.warmup = max(warmup, 1)
        self.ring = Ring(HELD)
        self.detectors = None if reference is None else _Detectors.new(reference)
        self.bank: ErrorBank | None = None
        self._plan, self._opens = Plan(), True
        self._spec: MonitorSpec | None = None
        self.configured: ConfiguredErrors | None = None
        self._learning: list[Labelled] = []

    def watch_with(self, plan: Plan, spec: MonitorSpec) -> None:
        """Watches the error with the bank, once there is a reference for it."""
        self._plan, self._opens = plan, "adwin" in spec.detectors
        self._spec = spec
        if self.detectors is not None:
            self.bank = ErrorBank.of(self.detectors.reference, plan)
            self.configured = ConfiguredErrors(spec, self.detectors.reference)

    def go_on_with(self, plan: Plan, spec: MonitorSpec, dumped: Mapping[str, Any]) -> None:
        """As `watch_with`, from where the bank stood in what `dump` returned."""
        self.watch_with(plan, spec)
        if self.bank is not None and dumped["bank"] is not None:
            self.bank.restore(dumped["bank"])
        if self.configured is not None:
            self.configured.restore(dumped.get("configured", []))

    @property
    def reference(self) -> ErrorReference | None:
        """The reference's error, None while it is being learned."""
        return None if self.detectors is None else self.detectors.reference

    @property
    def learned(self) -> int:
        """Labels the reference has so far been learned from."""
        return sum(len(part) for part in self._learning)

    def step(
        self,
        outcomes: Outcomes,
        key_of: Callable[[int], Key],
        detections: list[Detection],
        fair: Callable[[Key], bool] = lambda _: True,
    ) -> Iterator[Finding]:
        """Takes outcomes in key order; adds to `detections`, and yields what was found.

        `key_of(i)` is the order key under which outcome i took effect; `fair` as of `tell`.
        """
        rows, at = Labelled.of(outcomes)
        if not len(rows):
            return
        taken = 0
        if self.detectors is None:
            taken = min(self.warmup - self.learned, len(rows))
            self._learn(rows.part(slice(taken)))
        if self.detectors is not None and taken < len(rows):
            rest = rows.part(slice(taken, None))
            yield from self._watch(self.detectors, rest, at[taken:], key_of, detections, fair)

    def _learn(self, rows: Labelled) -> None:
        self.ring.add(rows.columns())
        self._learning.append(rows)
        if self.learned < self.warmup:
            return
        error = np.concatenate([part.error for part in self._learning])
        first = np.concatenate([part.a for part in self._learning])
        regression = first.dtype == np.float64
        self.detectors = _Detectors.new(error_reference(error, first if regression else None))
        self.detectors.feed.update(self.detectors.ticks(error))  # a past, without news
        self.bank = ErrorBank.of(self.detectors.reference, self._plan)
        if self._spec is not None:
            self.configured = ConfiguredErrors(self._spec, self.detectors.reference)
            self.configured.prime(error, first)
        self._learning = []

    def _watch(  # noqa: PLR0917  the arguments of `step`
        self,
        detectors: _Detectors,
        rows: Labelled,
        at: Ints,
        key_of: Callable[[int], Key],
        detections: list[Detection],
        fair: Callable[[Key], bool],
    ) -> Iterator[Finding]:
        begin = self.ring.total
        history = self.ring.extend(rows.columns())
        fired = detectors.feed.update(detectors.ticks(rows.error))
        found = [(row, SIGNAL, detectors.feed.adwin.name) for row in fired]
        pages = [(SIGNAL, detectors.error, rows.error)]
        if detectors.residual is not None:
            pages.append((RESIDUAL, detectors.residual, rows.a))
        for signal, page, values in pages:
            found += [(change.index, signal, page.name) for change in page.update(values)]
        detections += [
            Detection(int(rows.arrival[row]), int(rows.ts[row]), signal, name)
            for row, signal, name in found
        ]
        if self.configured is not None:
            yield from self.configured.step(
                history,
                (rows.ts, rows.arrival),
                begin,
                lambda row: key_of(int(at[row])),
                detections,
            )
        errors = ErrorSignal(history, detectors.reference)
        if self.bank is not None:
            times = rows.ts, rows.arrival
            keys = lambda row: key_of(int(at[row]))  # noqa: E731
            yield from tell(self.bank, errors, times, keys, detections, fair)
            if not self._opens:
                return
        adwin, size = detectors.feed.adwin, detectors.feed.size
        detector = DetectorRef(adwin.name, {**adwin.params, "mean_of": size})
        end, changes = begin + len(rows), [begin + row for row in fired]
        for verdict in detectors.watch.follow(errors, begin, end, changes):
            row = verdict.row - begin
            place = Place(key_of(int(at[row])), int(rows.arrival[row]), int(rows.ts[row]))
            yield finding(errors, verdict, detector, place)

    def _pages(self) -> dict[str, PageHinkley]:
        if self.detectors is None:
            return {}
        pages = {SIGNAL: self.detectors.error}
        if self.detectors.residual is not None:
            pages[RESIDUAL] = self.detectors.residual
        return pages

    @property
    def cold_starts(self) -> int:
        """Detectors that could not go on where they stood."""
        if self.detectors is None:
            return 0
        configured = 0 if self.configured is None else self.configured.cold_starts
        pages = sum(page.cold for page in self._pages().values())
        return self.detectors.feed.adwin.cold + pages + configured

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> the detector's statistic."""
        if self.detectors is None:
            return {}
        shown = {(signal, page.name): page.statistic for signal, page in self._pages().items()}
        if self.bank is not None:
            shown[SIGNAL, self.bank.name] = self.bank.level[0]
        if self.configured is not None:
            shown |= self.configured.statistics()
        return shown | {(SIGNAL, "adwin"): self.detectors.feed.adwin.statistic}

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        d = self.detectors
        return {
            "ring": self.ring.dump(),
            "learning": [
                {name: dump_array(column) for name, column in part.columns().items()}
                | {"arrival": dump_array(part.arrival)}
                for part in self._learning
            ],
            "reference": None if d is None else msgspec.to_builtins(d.reference),
            "bank": None if self.bank is None else self.bank.dump(),
            "configured": [] if self.configured is None else self.configured.dump(),
            "feed": None if d is None else d.feed.dump(),
            "watch": None if d is None else d.watch.dump(),
            "pages": {signal: page.dump() for signal, page in self._pages().items()},
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], warmup: int) -> Self:
        """Goes on from `dump`."""
        known = dumped["reference"]
        concept = cls(warmup, None if known is None else msgspec.convert(known, ErrorReference))
        concept.ring = Ring.load(dumped["ring"])
        for part in dumped["learning"]:
            columns = {name: load_array(column) for name, column in part.items()}
            concept._learning.append(Labelled(**columns))
        if concept.detectors is not None:
            concept.detectors.feed = RankFeed.load(dumped["feed"])
            concept.detectors.watch = Watch.load(dumped["watch"])
            pages = {s: PageHinkley.load(page) for s, page in dumped["pages"].items()}
            concept.detectors.error = pages[SIGNAL]
            concept.detectors.residual = pages.get(RESIDUAL)
        return concept
