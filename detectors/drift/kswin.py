"""KSWIN: the last values of a window against a sample of those before."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from river.drift import KSWIN
from scipy.stats import ks_2samp

from detectors.api import SHARE, Change, Floats, Setting, Takes, finite
from detectors.river.riverstate import dump_river, load_river

_LEAST_DISTANCE = 0.1  # River's


class Kswin:
    """Change of a distribution: a Kolmogorov-Smirnov test at every value, so many false alarms.

    Exactly River's `KSWIN`, whose state it keeps: only its test is done here, since the p-value
    of two samples of one size depends on their distance alone and so comes from a table instead of
    a call of SciPy per value. A test compares the two. Its sampling is seeded with a constant: the
    same values give the same alarms. After an alarm River empties the window and seeds anew.

    Source: Raab, Heusinger & Schleif 2020, "Reactive Soft Prototype Computing for Concept Drift
        Streams", Neurocomputing 416, pp. 340-351, doi:10.1016/j.neucom.2019.11.111.
    """

    name: ClassVar[str] = "kswin"
    takes: ClassVar[Takes] = "shape"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "alpha": SHARE(0.005),
            "window_size": Setting(100, least=10, most=1_000),
            "stat_size": Setting(30, least=2, most=500),
            "seed": Setting(1),
        }
    )
    quiet: ClassVar[float] = 1_400.0

    def __init__(
        self, *, alpha: float = 0.005, window_size: int = 100, stat_size: int = 30, seed: int = 1
    ) -> None:
        if not 0 < stat_size <= window_size // 2:
            raise ValueError(f"stat_size {stat_size} is not within half of window {window_size}")
        self.alpha, self.seed = alpha, seed
        self.window_size, self.stat_size = window_size, stat_size
        self.cold = False
        self._river = KSWIN(alpha=alpha, window_size=window_size, stat_size=stat_size, seed=seed)

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        return [
            Change(at)
            for at, x in zip(usable.nonzero()[0].tolist(), values[usable].tolist(), strict=True)
            if self._fires(x)
        ]

    def _fires(self, x: float) -> bool:
        river, size = self._river, self.stat_size
        if river.drift_detected:
            river._reset()  # noqa: SLF001  # as its own update begins
        river.n += 1
        river.window.append(x)
        if len(river.window) < self.window_size:
            return False
        held = np.array(river.window)
        picked = river._rng.sample(range(self.window_size - size), size)  # noqa: SLF001
        before, recent = np.sort(held[picked]), np.sort(held[-size:])
        both = np.concatenate([before, recent])
        apart = np.searchsorted(before, both, "right") - np.searchsorted(recent, both, "right")
        steps = int(np.abs(apart).max())
        river.p_value = _p_values(size)[steps]
        fires = river.p_value <= self.alpha and steps / size > _LEAST_DISTANCE
        if fires:
            river.window = deque(list(river.window)[-size:], maxlen=self.window_size)
        river._drift_detected = fires  # noqa: SLF001
        return fires

    @property
    def statistic(self) -> float:
        """The last test's p-value; alarm at `alpha`. 1 before there was a test."""
        return float(self._river.p_value) if self._river.n >= self.window_size else 1.0

    @property
    def params(self) -> dict[str, str | bool | int | float]:
        """Significance, sizes and the seed of its sampling."""
        sizes = {"window_size": self.window_size, "stat_size": self.stat_size}
        return {"alpha": self.alpha, **sizes, "seed": self.seed}

    def dump(self) -> dict[str, Any]:
        """Settings as numbers, the detector as River's pickle."""
        return {**self.params, "river": dump_river(self._river)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold where River's part does not load."""
        names = ("alpha", "window_size", "stat_size", "seed")
        detector = cls(**{name: dumped[name] for name in names})
        restored = load_river(dumped["river"])
        detector.cold = restored is None
        if restored is not None:
            detector._river = restored
        return detector


@cache
def _p_values(size: int) -> tuple[float, ...]:
    """p-values of two samples of `size`, by how many steps of 1/size they are apart."""
    first = np.arange(size)
    with warnings.catch_warnings():  # where SciPy falls back to the asymptotic value, as in River
        warnings.simplefilter("ignore", category=RuntimeWarning)
        return tuple(float(ks_2samp(first, first + steps).pvalue) for steps in range(size + 1))
