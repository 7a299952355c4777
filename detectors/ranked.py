"""A binned signal by its reference ranks: what a watch looks at, and what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.classes import row_key
from detectors.distances import excess_psi, psi, psi_limit
from detectors.feed import TICKS, to_ticks
from detectors.findings import (
    Z95,
    Finding,
    clock_text,
    histogram,
    severity_of_shift,
    shift_text,
    short,
)
from detectors.frame import Frame
from detectors.reference.profile import CHANGED, Bins
from detectors.ring import History
from detectors.watch import Verdict, mean_and_error
from driftline.alerts import DetectorRef, Kind, Severity, Statistic

Ints: TypeAlias = NDArray[np.int64]

MEMORY: Final = 2_000
"""Rows that a recovery takes, and that evidence looks back over."""
TOLERANCE: Final = 0.05
"""How far a mean rank may be from the reference's; a shift by a fifth of a standard deviation."""
GATE: Final = 0.02
"""Excess PSI from which a change of shape matters, as of the bank; below half of it, it is over."""
_BY_CHANCE: Final = 0.001
"""How likely the PSI of a shape that did not change is beyond what is believed."""
_LEAST_SD: Final = 0.1


class Ranking:
    """The reference ranks of one signal; `at`: its row among the codes of a history."""

    def __init__(self, at: int, bins: Bins, phi: float) -> None:
        self.at, self.bins, self.phi = at, bins, phi
        self.ticks = to_ticks(bins.ranks)
        counts = bins.counts.tolist()
        ranks = bins.ranks[: len(counts)].tolist()
        n = max(sum(counts), 1)
        self.mean = fsum(k * rank for k, rank in zip(counts, ranks, strict=True)) / n
        spread = fsum(k * (rank - self.mean) ** 2 for k, rank in zip(counts, ranks, strict=True))
        self.sd = max(sqrt(spread / n), _LEAST_SD)
        self._levels = np.unique(self.ticks[: len(counts)])
        self.reference = self._per_level(self.ticks[: len(counts)], bins.counts)

    def _per_level(self, ticks: Ints, weights: Ints | None = None) -> Ints:
        at = np.searchsorted(self._levels, ticks)
        return np.bincount(at, weights, minlength=len(self._levels)).astype(np.int64)

    def reshaped(self, values: Floats, gate: float) -> bool:
        """Whether ranks are spread otherwise: beyond chance, and by an excess PSI of `gate`."""
        current = self._per_level(np.rint(values * TICKS).astype(np.int64))
        bins, n, m = len(self._levels), len(values), int(self.reference.sum())
        limit = psi_limit(bins, n, m, level=_BY_CHANCE, phi=self.phi)
        beyond = psi(self.reference, current) > limit
        return beyond and excess_psi(self.reference, current, phi=self.phi) >= gate


@dataclass(frozen=True, slots=True)
class Ranked:
    """One signal's ranks in the rows held, for its watch; `shape`: another spread is news, too."""

    history: History
    ranking: Ranking
    shape: bool = False
    memory: int = MEMORY

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bin codes of rows start to stop, reaching back at most `memory`."""
        every = self.history.of("codes", max(start, stop - MEMORY), stop)
        held: NDArray[np.uint8] = every[self.ranking.at]
        return held

    def values(self, start: int, stop: int) -> tuple[Floats, Sequence[int]]:
        """Ranks and row numbers of the rows that have one."""
        codes = self.codes(start, stop)
        rows = np.flatnonzero(codes < CHANGED)
        first = self.history.held_from(max(start, stop - MEMORY))
        return self.ranking.ticks[codes[rows]] / TICKS, (rows + first).tolist()

    def deviates(self, values: Floats) -> bool:
        """Beyond the tolerance by at least one standard error, or of another shape."""
        mean, error = mean_and_error(values, self.ranking.phi)
        if abs(mean - self.ranking.mean) - error > TOLERANCE:
            return True
        return self.shape and self.ranking.reshaped(values, GATE)

    def is_back(self, values: Floats) -> bool:
        """Within the tolerance, and of the reference's shape."""
        mean, _ = mean_and_error(values, self.ranking.phi)
        within = abs(mean - self.ranking.mean) <= TOLERANCE
        return within and not (self.shape and self.ranking.reshaped(values, GATE / 2))


@dataclass(frozen=True, slots=True)
class About:
    """What a finding is about: a feature's name, or an output; and which detector told it."""

    name: str
    signal: str
    kind: Kind
    detector: DetectorRef


def finding(ranked: Ranked, verdict: Verdict, about: About, frame: Frame, row: int) -> Finding:
    """The verdict, told by the frame's row at `row`, with the ranks since the change point."""
    ranking = ranked.ranking
    stop = verdict.row + 1
    values, rows = ranked.values(verdict.split, stop)
    mean, error = mean_and_error(values, ranking.phi)
    codes = ranked.codes(verdict.split, stop)
    bins = ranking.bins
    current = np.bincount(codes[codes < CHANGED], minlength=len(bins.counts))
    since = int(ranked.history.of("ts", rows[0], rows[0] + 1)[0])
    changed = verdict.state == "changed"
    severity: Severity = "info"
    if changed:
        severity = severity_of_shift(bins.counts, current)
    interval = (max(0.0, mean - Z95 * error), min(1.0, mean + Z95 * error))
    name, moved = short(about.name, 60), shift_text(bins, current)
    how_sure = f"mean rank {mean:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
    told = f"reference {ranking.mean:.2f}"
    summary = f"{name} is as in the reference again: {moved}; {how_sure}, {told}"
    if changed:
        summary = f"{name} changed about {clock_text(since)}: {moved}; {how_sure}, {told}"
    return Finding(
        state=verdict.state,
        kind=about.kind,
        signal=about.signal,
        key=row_key(frame, row),
        arrival=int(frame.ints("arrival")[row]),
        ts=int(frame.ints("ts")[row]),
        change_point=since,
        severity=severity,
        detector=about.detector,
        statistic=Statistic(
            name="mean_rank",
            value=mean,
            threshold=ranking.mean + (TOLERANCE if mean >= ranking.mean else -TOLERANCE),
            baseline=ranking.mean,
            effect_size=(mean - ranking.mean) * 12**0.5,  # ranks are uniform: sd 1 / sqrt(12)
            sample_size=len(values),
            interval=interval,
        ),
        histogram=histogram(bins, current),
        summary=short(summary, 200),
    )
