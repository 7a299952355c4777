"""Delayed labels: predictions of one hour or day together, and how far their labels have come.

An error rate over the labels that *arrived* this hour is the error of whatever is labelled fast.
So outcomes are kept by the time of their prediction, with coverage, with bounds that hold whatever
the missing labels say, and by the label's age: fresh cohorts are compared with what older ones
showed at the same age.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array

Ints: TypeAlias = NDArray[np.int64]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
AGES: Final = (HOUR_MS, DAY_MS, 7 * DAY_MS)
"""Limits of the bands of label age: under an hour, under a day, under a week, the rest."""
BANDS: Final = ("<1h", "<1d", "<7d", "rest")
MATURED: Final = 30
"""Matured cohorts that are remembered, the latest ones."""


def size_for(horizon_ms: int) -> int:
    """Length of a cohort in ms: an hour for horizons up to two days, a day beyond."""
    return HOUR_MS if horizon_ms <= 2 * DAY_MS else DAY_MS


@dataclass(slots=True)
class Cohort:
    """Predictions of one stretch of time, by cell; 36 bytes a cell.

    `labels` and `errors` are by cell and band of age at arrival, shape (cells, 4). A revision
    changes `errors` in the band in which it came, so the sum over bands up to a limit is what was
    known at that age.
    """

    start: int
    predictions: NDArray[np.int32]
    labels: NDArray[np.int32]
    errors: NDArray[np.int32]

    @classmethod
    def empty(cls, start: int, cells: int) -> Self:
        """A cohort without predictions."""
        bands = (cells, len(BANDS))
        zeros = (np.zeros(cells, np.int32), np.zeros(bands, np.int32), np.zeros(bands, np.int32))
        return cls(start, *zeros)

    def by_age(self) -> Aged:
        """What was known at the end of each band of age."""
        return Aged(
            int(self.predictions.sum()),
            tuple(np.cumsum(self.labels.sum(axis=0)).tolist()),
            tuple(np.cumsum(self.errors.sum(axis=0)).tolist()),
        )


@dataclass(frozen=True, slots=True)
class Aged:
    """Predictions, and the labels and errors known of them by the end of each band of age."""

    predictions: int
    labels: tuple[int, ...]
    errors: tuple[int, ...]


@dataclass(slots=True)
class Cohorts:
    """The cohorts of one subject.

    A row counts by its own arrival alone, so how rows are batched changes nothing.

    Attributes:
        size_ms: length of a cohort.
        kept_ms: how long after its end a cohort takes rows: horizon and lateness.
        cells: cells of the grid; 1 where there is none.
        late: rows that came after their cohort had matured.
    """

    size_ms: int
    kept_ms: int
    cells: int = 1
    open: dict[int, Cohort] = field(default_factory=dict)
    matured: list[Aged] = field(default_factory=list)
    late: int = 0

    def add_predictions(self, ts: Ints, arrival: Ints, cells: Ints) -> None:
        """Counts predictions; times in ms, shape (n,)."""
        for cohort, rows in self._rows(ts, arrival):
            counts = np.bincount(cells[rows], minlength=self.cells)
            cohort.predictions += counts.astype(np.int32)

    def add_outcomes(self, ts: Ints, arrival: Ints, cells: Ints, sign: Ints, error: Ints) -> None:
        """Counts labels; a revision is the old label with sign -1, then the new one with sign 1.

        Args:
            ts: time of the prediction, ms.
            arrival: when the label took effect, ms.
            cells: as for the prediction.
            sign: 1 or -1.
            error: 1 where the prediction differs from this label, else 0.
        """
        bands = np.searchsorted(AGES, arrival - ts, "right")
        k = self.cells * len(BANDS)
        for cohort, rows in self._rows(ts, arrival):
            at = cells[rows] * len(BANDS) + bands[rows]
            labels = np.bincount(at, weights=sign[rows], minlength=k)
            errors = np.bincount(at, weights=sign[rows] * error[rows], minlength=k)
            cohort.labels += labels.astype(np.int32).reshape(cohort.labels.shape)
            cohort.errors += errors.astype(np.int32).reshape(cohort.errors.shape)

    def _rows(self, ts: Ints, arrival: Ints) -> list[tuple[Cohort, Ints]]:
        """The cohorts of rows, with the positions of those that are in time for it."""
        starts = ts // self.size_ms * self.size_ms
        in_time = arrival < starts + (self.size_ms + self.kept_ms)
        self.late += int(np.count_nonzero(~in_time))
        found = []
        for start in np.unique(starts[in_time]).tolist():
            cohort = self.open.get(start)
            if cohort is None:
                cohort = self.open[start] = Cohort.empty(start, self.cells)
            found.append((cohort, np.flatnonzero(in_time & (starts == start))))
        return found

    def settle(self, clock: int) -> None:
        """Lets cohorts mature that no row can change any more: every later arrival is >= clock."""
        due = [start for start in self.open if start + self.size_ms + self.kept_ms <= clock]
        for start in sorted(due):
            self.matured.append(self.open.pop(start).by_age())
        del self.matured[:-MATURED]

    @property
    def final_coverage(self) -> float | None:
        """Share of predictions that got a label in matured cohorts; None while there is none."""
        predictions = sum(aged.predictions for aged in self.matured)
        return sum(aged.labels[-1] for aged in self.matured) / predictions if predictions else None

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "size_ms": self.size_ms,
            "kept_ms": self.kept_ms,
            "cells": self.cells,
            "late": self.late,
            "open": [
                {
                    "start": cohort.start,
                    "predictions": dump_array(cohort.predictions),
                    "labels": dump_array(cohort.labels),
                    "errors": dump_array(cohort.errors),
                }
                for _, cohort in sorted(self.open.items())
            ],
            "matured": [[a.predictions, list(a.labels), list(a.errors)] for a in self.matured],
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        cohorts = cls(dumped["size_ms"], dumped["kept_ms"], dumped["cells"], late=dumped["late"])
        for each in dumped["open"]:
            arrays = (load_array(each[name]) for name in ("predictions", "labels", "errors"))
            cohorts.open[each["start"]] = Cohort(each["start"], *arrays)
        cohorts.matured = [Aged(n, tuple(la), tuple(er)) for n, la, er in dumped["matured"]]
        return cohorts
