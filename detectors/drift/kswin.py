"""KSWIN on one signal."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections import deque
from functools import cache
from itertools import islice
from typing import ClassVar

import numpy as np
from river import drift
from scipy import stats

from detectors.api import Floats
from detectors.river_detector import RiverDetector

_SEED = 1
"""River draws the older sample at random; a constant seed makes replays agree."""

_LEAST = 0.1
"""River calls no smaller distance a change, however certain."""


class Kswin(RiverDetector):
    """Change of a distribution: the last values against a draw of those before, by Kolmogorov.

    Fires where River's does with the same seed, which a test compares. It tests at every value
    without paying for it: expect an alarm in about a thousand values where nothing changes.

    Source: Raab, Heusinger & Schleif 2020, "Reactive Soft Prototype Computing for Concept Drift
        Streams", Neurocomputing 416, pp. 340-351; River's version.
    """

    name: ClassVar[str] = "kswin"

    def __init__(
        self, *, alpha: float = 0.005, window_size: int = 100, stat_size: int = 30
    ) -> None:
        river = _Kswin(alpha=alpha, window_size=window_size, stat_size=stat_size, seed=_SEED)
        super().__init__(river, alpha=alpha, window_size=window_size, stat_size=stat_size)

    def _prepared(self, values: Floats) -> list[float]:
        kept: list[float] = values.tolist()
        return kept

    @property
    def statistic(self) -> float:
        """Kolmogorov-Smirnov distance at the last value; 0 until the window is full."""
        return float(self._river.distance)


class _Kswin(drift.KSWIN):
    """River's KSWIN without its call of SciPy at each value, which costs most of its time.

    Of two samples of one size the p-value follows from the distance alone, so that it is compared
    with the smallest distance that fires.
    """

    _drift_detected: bool
    window: deque[float]
    distance = 0.0

    def update(self, x: float) -> None:
        """Takes one value; `_drift_detected` and `distance` say what came of it."""
        if self._drift_detected:
            self._reset()
        self.n += 1
        self.window.append(x)
        if len(self.window) < self.window_size:
            self.distance = 0.0
            return
        held, size = list(self.window), self.stat_size
        older = self.window_size - size
        drawn = sorted(held[r] for r in self._rng.sample(range(older), size))
        steps = _steps(drawn, sorted(held[older:]))
        self.distance = steps / size
        if steps >= _firing(size, self.alpha):
            self._drift_detected = True
            self.window = deque(islice(held, older, None), maxlen=self.window_size)


def _steps(one: list[float], other: list[float]) -> int:
    """Largest difference between the counts of values up to x of two sorted samples, over all x."""
    at_one = (abs(bisect_right(one, x) - bisect_right(other, x)) for x in one)
    at_other = (abs(bisect_right(one, x) - bisect_right(other, x)) for x in other)
    return max(*at_one, *at_other)


@cache
def _firing(size: int, alpha: float) -> int:
    """The smallest difference in counts that River calls a change; `size` + 1 where none is."""
    samples = np.arange(size, dtype=np.float64)
    with warnings.catch_warnings():
        # Where no exact p-value is to be had, SciPy says so and approximates; so does River's.
        warnings.simplefilter("ignore", category=RuntimeWarning)
        for steps in range(size, 0, -1):
            found = stats.ks_2samp(samples, samples + steps - 0.5, method="auto")
            if found.pvalue > alpha or found.statistic <= _LEAST:
                return steps + 1
    return 1
