"""The last labels of a subject, for rolling metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.performance.confusion import ClassEntries
from detectors.performance.deviations import DeviationEntries
from detectors.performance.scores import ScoreEntries
from detectors.ring import Ring
from detectors.windows.expectation import RECENT
from detectors.windows.scoring import Outcomes
from detectors.windows.tallies import TOTAL_CAP, CellEntries, Entries, Tally, empty_tally

Ints: TypeAlias = NDArray[np.int64]

_SCORES: Final = ("probability", "hit", "loss", "square", "rank")


class Recent:
    """First labels of on-time predictions, the last 1,000; they do not follow revisions."""

    def __init__(self) -> None:
        self.ring = Ring(RECENT)
        self.cells = 0

    def add(self, outcomes: Outcomes) -> None:
        """Takes outcomes in key order."""
        usable = outcomes.first & ~outcomes.late & ~np.isnan(outcomes.error)
        rows = usable.nonzero()[0][-RECENT:]
        if not len(rows):
            return
        if outcomes.entries.deviations is not None:
            self.ring.add({"residual": outcomes.a[rows], "label": outcomes.b[rows]})
            return
        columns = {"pair": outcomes.a[rows], **_scores(outcomes, rows), **_cells(outcomes, rows)}
        self.cells = max(self.cells, outcomes.entries.cells)
        self.ring.add(columns)

    def tally(self) -> Tally | None:
        """What they add up to; None while there are none."""
        columns = self.ring.columns
        if not columns:
            return None
        row = np.arange(next(iter(columns.values())).shape[-1])
        sign = np.ones(len(row), np.int64)
        if "residual" in columns:
            deviations = DeviationEntries(row, sign, columns["residual"], columns["label"])
            entries = Entries(deviations=deviations)
        else:
            known = np.flatnonzero(~np.isnan(columns["probability"]))
            scores = ScoreEntries(
                row[known], sign[known], *(columns[name][known] for name in _SCORES)
            )
            entries = Entries(ClassEntries(row, sign, columns["pair"]), scores)
            held = np.flatnonzero(columns["cell"] >= 0)
            if len(held):
                cell, positive = columns["cell"][held], columns["positive"][held]
                entries.cell = CellEntries(row[held], sign[held], cell, positive)
                entries.cells = self.cells
        tally = empty_tally(entries, TOTAL_CAP)
        tally.add(entries)
        return tally

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"ring": self.ring.dump(), "cells": self.cells}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        recent = cls()
        recent.ring, recent.cells = Ring.load(dumped["ring"]), dumped["cells"]
        return recent


def _scores(outcomes: Outcomes, rows: Ints) -> dict[str, NDArray[Any]]:
    """The scores' columns by row; a row without scores has no probability."""
    scores, n = outcomes.entries.scores, len(outcomes)
    if scores is not None and len(scores.row) == n and scores.sign.min() > 0:  # one entry a row
        return {name: getattr(scores, name)[rows] for name in _SCORES}
    columns: dict[str, NDArray[Any]] = {
        "probability": np.full(n, np.nan),
        "hit": np.zeros(n, bool),
        "loss": np.zeros(n),
        "square": np.zeros(n),
        "rank": np.zeros(n, np.int64),
    }
    if scores is not None:
        new = scores.sign > 0
        for name, column in columns.items():
            column[scores.row[new]] = getattr(scores, name)[new]
    return {name: column[rows] for name, column in columns.items()}


def _cells(outcomes: Outcomes, rows: Ints) -> dict[str, NDArray[Any]]:
    cell, n = outcomes.entries.cell, len(outcomes)
    if cell is not None and len(cell.row) == n and cell.sign.min() > 0:
        return {"cell": cell.cell[rows], "positive": cell.positive[rows]}
    codes, positive = np.full(n, -1, np.int64), np.zeros(n, bool)
    if cell is not None:
        new = cell.sign > 0
        codes[cell.row[new]], positive[cell.row[new]] = cell.cell[new], cell.positive[new]
    return {"cell": codes[rows], "positive": positive[rows]}
