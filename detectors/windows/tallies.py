"""What a window, or a stretch of outcomes, adds up: everything that metrics are computed from.

Every part is exact, so neither order nor batching nor revisions leave a trace. Scores and
deviations cost as much to add for one row as for hundreds; rows therefore wait until there are
some, or until somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.measures.cells import CellCounts
from detectors.measures.score_counts import ScoreCounts
from detectors.performance.confusion import ClassEntries, Confusion
from detectors.performance.deviations import DeviationEntries, Deviations
from detectors.performance.scores import ScoreEntries, ScoreTally

Ints: TypeAlias = NDArray[np.int64]

WINDOW_CAP: Final = 512
"""Distinct scores a window tells apart; with more, ROC AUC and PR AUC state their error."""
TOTAL_CAP: Final = 4_096
"""The same since the subject began."""
_WAITING: Final = 1_024
_MANY: Final = 768
"""Entries that are summed up by themselves, as another tally takes the same sums."""


@dataclass(slots=True)
class CellEntries:
    """What outcomes add to the cells of score and prediction, in row order; none without a grid."""

    row: Ints
    sign: Ints
    cell: Ints
    positive: NDArray[np.bool_]

    def take(self, which: slice | NDArray[Any]) -> CellEntries:
        """Some of the entries."""
        return CellEntries(
            self.row[which], self.sign[which], self.cell[which], self.positive[which]
        )


P = TypeVar("P", ClassEntries, ScoreEntries, CellEntries, DeviationEntries)


@dataclass(slots=True)
class Entries:
    """What outcomes add and take out; the parts that their task has, each in row order.

    `cells`: length of the grid that the cells are of.
    """

    pairs: ClassEntries | None = None
    scores: ScoreEntries | None = None
    cell: CellEntries | None = None
    cells: int = 0
    deviations: DeviationEntries | None = None

    def of_rows(self, which: Ints) -> Entries:
        """The entries of some rows, `which` rising; in their order."""
        return Entries(
            _some(self.pairs, which),
            _some(self.scores, which),
            _some(self.cell, which),
            self.cells,
            _some(self.deviations, which),
        )

    def renumbered(self, kept: Ints) -> Entries:
        """The entries of the rows `kept`, which are numbered from 0 anew."""
        entries = self.of_rows(kept) if len(kept) else self.of_rows(np.array([-1]))
        return Entries(
            _renumbered(entries.pairs, kept),
            _renumbered(entries.scores, kept),
            _renumbered(entries.cell, kept),
            entries.cells,
            _renumbered(entries.deviations, kept),
        )


def _some(part: P | None, which: Ints) -> P | None:
    """The entries of some rows; the same object where those are all, as it may be summed up."""
    if part is None:
        return None
    places = _places(part.row, which)
    if isinstance(places, slice) and places.start == 0 and places.stop == len(part.row):
        return part
    return part.take(places)


def _renumbered(part: P | None, kept: Ints) -> P | None:
    return None if part is None else replace(part, row=np.searchsorted(kept, part.row))


def _places(rows: Ints, which: Ints) -> slice | Ints:
    low, high = np.searchsorted(rows, [which[0], which[-1] + 1]).tolist()
    if int(which[-1] - which[0]) == len(which) - 1:
        return slice(low, high)
    places: Ints = np.flatnonzero(np.isin(rows[low:high], which)) + low
    return places


@dataclass(slots=True)
class ClassTally:
    """Outcomes of a classifier: the confusion matrix, scores against labels, cells."""

    confusion: Confusion = field(default_factory=Confusion)
    _scores: ScoreTally = field(default_factory=ScoreTally)
    _cells: CellCounts | None = None
    _waiting: list[Entries] = field(default_factory=list)
    _rows: int = 0

    @classmethod
    def empty(cls, cap: int) -> Self:
        """Nothing counted; `cap`: distinct scores told apart."""
        return cls(_scores=ScoreTally(scores=ScoreCounts(cap=cap)))

    def add(self, entries: Entries) -> None:
        """Counts the entries."""
        assert entries.pairs is not None
        self.confusion.add(entries.pairs)
        self._waiting.append(entries)
        self._rows += len(entries.pairs.row)
        if self._rows >= _WAITING:
            self._settle()

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return self.confusion.n

    @property
    def scores(self) -> ScoreTally:
        """Scores against labels."""
        self._settle()
        return self._scores

    @property
    def cells(self) -> CellCounts | None:
        """Outcomes by cell, None where there was no grid."""
        self._settle()
        return self._cells

    def _settle(self) -> None:
        if not self._waiting:
            return
        scores = [e.scores for e in self._waiting if e.scores is not None and len(e.scores.row)]
        few = []
        for each in scores:
            if len(each.row) >= _MANY or len(scores) == 1:
                self._scores.merge(each.summed())
            else:
                few.append(each)
        if few:
            names = ("row", "sign", "probability", "hit", "loss", "square", "rank")
            self._scores.add(
                ScoreEntries(*(np.concatenate([getattr(s, n) for s in few]) for n in names))
            )
        for entries in self._waiting:
            if (cell := entries.cell) is not None:
                if self._cells is None or len(self._cells.n) != entries.cells:
                    zeros = np.zeros(entries.cells, np.int64)
                    self._cells = CellCounts(zeros, zeros.copy())
                self._cells.add(cell.cell, cell.positive, cell.sign)
        self._waiting, self._rows = [], 0

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        cells = self.cells
        return {
            "confusion": self.confusion.dump(),
            "scores": self.scores.dump(),
            "cells": None if cells is None else cells.dump(),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        cells = dumped["cells"]
        return cls(
            Confusion.load(dumped["confusion"]),
            ScoreTally.load(dumped["scores"]),
            None if cells is None else CellCounts.load(cells),
        )


@dataclass(slots=True)
class NumberTally:
    """Outcomes of a regression."""

    _deviations: Deviations = field(default_factory=Deviations)
    _waiting: list[DeviationEntries] = field(default_factory=list)
    _rows: int = 0

    def add(self, entries: Entries) -> None:
        """Adds the entries."""
        assert entries.deviations is not None
        self._waiting.append(entries.deviations)
        self._rows += len(entries.deviations.row)
        if self._rows >= _WAITING:
            self._settle()

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return self.deviations.n

    @property
    def deviations(self) -> Deviations:
        """The sums."""
        self._settle()
        return self._deviations

    def _settle(self) -> None:
        waiting = [e for e in self._waiting if len(e.row)]
        if len(waiting) == 1:
            self._deviations.add(waiting[0])
        elif waiting:
            names = ("row", "sign", "residual", "label")
            self._deviations.add(
                DeviationEntries(*(np.concatenate([getattr(e, n) for e in waiting]) for n in names))
            )
        self._waiting, self._rows = [], 0

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"deviations": self.deviations.dump()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(Deviations.load(dumped["deviations"]))


Tally: TypeAlias = ClassTally | NumberTally


def empty_tally(entries: Entries, cap: int) -> Tally:
    """Counts of nothing, of the task that the entries are of."""
    return NumberTally() if entries.deviations is not None else ClassTally.empty(cap)


def load_tally(dumped: Mapping[str, Any] | None) -> Tally | None:
    """The tally that was dumped, of whichever task."""
    if dumped is None:
        return None
    return NumberTally.load(dumped) if "deviations" in dumped else ClassTally.load(dumped)
