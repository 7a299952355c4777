"""One event-time window: exact counts of the rows that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array
from detectors.classes import NONE
from detectors.measures.percentiles import counts_of
from detectors.reference.profile import CHANGED
from detectors.signals import Observed
from detectors.windows.scoring import Outcomes
from detectors.windows.tallies import WINDOW_CAP, Tally, empty_tally, load_tally

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """On-time predictions in order of arrival, shape (n,).

    `classes`: class code of each, None while undecided and for regressions. `observed`: features
    by number of the roster; while there is no reference all codes and ticks are empty. `cells`:
    cell of score and prediction, of a grid of `grid` cells; None where there is none. `latency`:
    its bucket; None where no row has one.
    """

    ts: Ints
    arrival: Ints
    classes: Ints | None
    observed: Observed
    cells: Ints | None = None
    grid: int = 0
    latency: Ints | None = None


def _nothing() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Window:
    """Counts of one window; arrays have one number per feature of the roster, as far as met.

    `revision`: how often it was published, 0 while open; `due`: the arrival of its next event, ms.
    """

    start: int
    due: int = 0
    revision: int = 0
    dirty: bool = False
    predictions: int = 0
    classes: dict[int, int] = field(default_factory=dict)
    present: Ints = field(default_factory=_nothing)
    changed: Ints = field(default_factory=_nothing)
    ranked: Ints = field(default_factory=_nothing)
    ticks: Ints = field(default_factory=_nothing)
    expected: Ints = field(default_factory=_nothing)
    """Predictions by cell."""
    latency: Ints = field(default_factory=_nothing)
    """Predictions by bucket of their latency."""
    outcomes: int = 0
    revisions: int = 0
    tally: Tally | None = None
    detections: dict[str, dict[str, int]] = field(default_factory=dict)
    """Detector -> signal -> changes it found at rows of this window."""

    def add_predictions(self, rows: PredictionRows, which: Ints) -> None:
        """Counts prediction rows."""
        self.predictions += len(which)
        if rows.classes is not None:
            codes = rows.classes[which]
            for code, n in enumerate(np.bincount(codes[codes != NONE]).tolist()):
                if n:
                    self.classes[code] = self.classes.get(code, 0) + n
        if rows.cells is not None:
            self.expected = _grown(
                self.expected, np.bincount(rows.cells[which], minlength=rows.grid)
            )
        if rows.latency is not None:
            self.latency = _grown(self.latency, counts_of(rows.latency[which]))
        span = slice(which[0], which[-1] + 1) if _consecutive(which) else which
        seen = rows.observed
        if not len(seen.codes):
            self.present = _grown(self.present, np.count_nonzero(seen.present[:, span], axis=1))
            return
        by_code = seen.by_code(span)
        ranked = by_code[:, :CHANGED].sum(axis=1)
        changed = by_code[:, CHANGED]
        self.present = _grown(self.present, ranked + changed)
        self.changed = _grown(self.changed, changed)
        self.ranked = _grown(self.ranked, ranked)
        self.ticks = _grown(self.ticks, (by_code * seen.ticks_of).sum(axis=1))

    def add_outcomes(self, outcomes: Outcomes, which: Ints) -> None:
        """Counts outcome rows, revisions included."""
        first = int(np.count_nonzero(outcomes.first[which]))
        self.outcomes += first
        self.revisions += len(which) - first
        if self.tally is None:
            self.tally = empty_tally(outcomes.entries, WINDOW_CAP)
        self.tally.add(outcomes.entries.of_rows(which))

    def add_detection(self, detector: str, signal: str) -> None:
        """Counts a change that a detector found."""
        signals = self.detections.setdefault(detector, {})
        signals[signal] = signals.get(signal, 0) + 1

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        tally = self.tally
        return {
            "start": self.start,
            "due": self.due,
            "revision": self.revision,
            "dirty": self.dirty,
            "predictions": self.predictions,
            "classes": sorted(self.classes.items()),
            "present": dump_array(self.present),
            "changed": dump_array(self.changed),
            "ranked": dump_array(self.ranked),
            "ticks": dump_array(self.ticks),
            "expected": dump_array(self.expected),
            "latency": [
                [at, int(self.latency[at])] for at in np.flatnonzero(self.latency).tolist()
            ],
            "outcomes": self.outcomes,
            "revisions": self.revisions,
            "tally": None if tally is None else tally.dump(),
            "detections": self.detections,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        window = cls(dumped["start"], dumped["due"], dumped["revision"], dumped["dirty"])
        window.predictions = dumped["predictions"]
        window.classes = dict(dumped["classes"])
        window.present = load_array(dumped["present"])
        window.changed = load_array(dumped["changed"])
        window.ranked = load_array(dumped["ranked"])
        window.ticks = load_array(dumped["ticks"])
        window.expected = load_array(dumped["expected"])
        for bucket, n in dumped.get("latency", []):
            window.latency = _grown(window.latency, np.bincount([bucket]) * n)
        window.outcomes, window.revisions = dumped["outcomes"], dumped["revisions"]
        window.tally = load_tally(dumped["tally"])
        window.detections = {d: dict(signals) for d, signals in dumped["detections"].items()}
        return window


def _consecutive(which: Ints) -> bool:
    return int(which[-1] - which[0]) == len(which) - 1


def _grown(total: Ints, more: Ints) -> Ints:
    """The sum of two count arrays, of which the older may have fewer features."""
    if len(total) == len(more):
        return total + more
    grown = np.zeros(max(len(total), len(more)), dtype=np.int64)
    grown[: len(total)] = total
    grown[: len(more)] += more
    return grown
