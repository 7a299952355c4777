"""What performance is expected to be, for one subject: its cells, their calibration, the latest.

The cells are bins of the reference's scores, so they are there once the predictions' warm-up is
over. What each cell's labels are is a profile's business, or is learned from the first labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array
from detectors.measures.cells import CellCounts, CellGrid
from detectors.reference.profile import CalibrationProfile, ReferenceProfile
from detectors.ring import Ring
from detectors.windows.estimated import Calibration
from detectors.windows.scoring import Outcomes

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

RECENT: Final = 1_000
"""Predictions and labels that rolling values are over."""
KNOWN_BEFOREHAND: Final = -1


def grid_of(profile: ReferenceProfile) -> CellGrid | None:
    """The cells of a reference: its bins of the score; None for models without scores."""
    if profile.score is None or profile.task == "regression":
        return None
    return CellGrid(np.array(profile.score.edges[:-1], dtype=np.float64))


def calibration_of(profile: ReferenceProfile) -> Calibration | None:
    """What the reference says of its cells, if it was built with labels."""
    grid, known = grid_of(profile), profile.calibration
    if grid is None or known is None:
        return None
    n, positive = np.array(known.n, np.int64), np.array(known.positive, np.int64)
    return Calibration(grid, CellCounts(n, positive), np.array(known.order, np.float64))


def profiled(calibration: Calibration) -> CalibrationProfile:
    """A calibration as a part of a profile."""
    counts = calibration.counts
    return CalibrationProfile(
        n=tuple(counts.n.tolist()),
        positive=tuple(counts.positive.tolist()),
        order=tuple(calibration.order.tolist()),
    )


def _recent() -> Ring:
    return Ring(RECENT)


@dataclass(slots=True)
class Expectation:
    """Cells of one subject.

    Attributes:
        grid: the cells.
        calibration: None while it is being learned.
        since: arrival of the label that completed it, ms; `KNOWN_BEFOREHAND` from a profile.
        recent: cells of the last predictions.
    """

    grid: CellGrid
    calibration: Calibration | None = None
    since: int = KNOWN_BEFOREHAND
    recent: Ring = field(default_factory=_recent)
    _learning: list[tuple[Floats, Mask, Mask]] = field(default_factory=list)

    @classmethod
    def of(cls, profile: ReferenceProfile) -> Self | None:
        """What a reference makes of it; None for models without scores."""
        grid = grid_of(profile)
        return None if grid is None else cls(grid, calibration_of(profile))

    def learn(self, outcomes: Outcomes, warmup: int, *, at_once: bool = False) -> None:
        """Takes outcomes in key order; the first `warmup` labels make the calibration.

        `at_once`: as many as there are, up to `warmup`, make it.
        """
        cell = outcomes.entries.cell
        if self.calibration is not None or cell is None:
            return
        fresh = (cell.sign > 0) & outcomes.first[cell.row] & ~outcomes.late[cell.row]
        left = max(warmup, 1) - sum(len(part[0]) for part in self._learning)
        at = np.flatnonzero(fresh)[:left]
        if not len(at):
            return
        row = cell.row[at]
        self._learning.append((outcomes.b[row], cell.cell[at] % 2 == 1, cell.positive[at]))
        if len(at) == left or at_once:
            scores, predicted, positive = (
                np.concatenate([part[i] for part in self._learning]) for i in range(3)
            )
            self.calibration = Calibration.on(self.grid, scores, predicted, positive)
            self.since = int(outcomes.arrival[row[-1]])
            self._learning = []

    def at(self, arrival: int) -> Calibration | None:
        """The calibration, if it was complete before this arrival."""
        return self.calibration if self.since < arrival else None

    def latest(self) -> Ints:
        """Predictions per cell among the last `RECENT`."""
        cells = self.recent.columns.get("cell")
        if cells is None:
            return np.zeros(len(self.grid), np.int64)
        return np.bincount(cells, minlength=len(self.grid))

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "edges": dump_array(self.grid.edges),
            "calibration": None if self.calibration is None else self.calibration.dump(),
            "since": self.since,
            "recent": self.recent.dump(),
            "learning": [[dump_array(column) for column in part] for part in self._learning],
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        known = dumped["calibration"]
        learning = [
            (load_array(scores), load_array(predicted), load_array(positive))
            for scores, predicted, positive in dumped["learning"]
        ]
        return cls(
            CellGrid(load_array(dumped["edges"])),
            None if known is None else Calibration.load(known),
            dumped["since"],
            Ring.load(dumped["recent"]),
            learning,
        )
