"""Page-Hinkley on standardised input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from operator import length_hint
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import numpy as np

from detectors.api import Change, Floats, Setting, Takes, finite

_CLIP_SD = 1e6
"""Values further out than this many standard deviations count as that far: sums stay finite."""
_ALPHA: Final = 1 - 0.0001  # River's defaults
_FEWEST: Final = 30
_UP, _DOWN, _BOTH = "up", "down", "both"


class PageHinkley:
    """Change of a signal's mean in units of its reference's spread; `mode`: up, down or both.

    Values are standardised by `center` and `scale`: River's defaults take them raw, and alarmed in
    the quiet part of 11 of 13 real streams. Shown and counted; it opens no alert.

    River's `PageHinkley` bit by bit, in a third of the time: a test compares the two, alarms and
    statistics. Its state is six numbers, so it survives upgrades of River.

    Source: Page 1954, "Continuous Inspection Schemes", Biometrika 41 (1/2), pp. 100-115, in
        River's version with forgetting (alpha .9999) and two sides.
    """

    name: ClassVar[str] = "page_hinkley"
    takes: ClassVar[Takes] = "standardised"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "delta": Setting(0.1),
            "threshold": Setting(100.0, inside=True),
            "mode": Setting("both", words=("up", "down", "both")),
        }
    )
    quiet: ClassVar[float] = 36.0

    def __init__(
        self,
        *,
        center: float = 0.0,
        scale: float = 1.0,
        delta: float = 0.1,
        threshold: float = 100.0,
        mode: str = "both",
    ) -> None:
        if mode not in (_UP, _DOWN, _BOTH):
            raise ValueError(f"the mode of Page-Hinkley is up, down or both, not {mode!r}")
        self.center, self.scale = center, scale
        self.delta, self.threshold = delta, threshold
        self.mode = mode
        self.cold = False
        self._fired = False
        self._reset()

    def _reset(self) -> None:
        self._n = self._mean = 0.0
        self._increase = self._decrease = 0.0
        self._least, self._greatest = inf, -1.0

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        positions = None if usable.all() else usable.nonzero()[0].tolist()
        kept = values if positions is None else values[usable]
        scaled = np.minimum(np.maximum((kept - self.center) / self.scale, -_CLIP_SD), _CLIP_SD)
        rest = iter(scaled.tolist())
        changes = []
        while length_hint(rest):
            if self._fired:
                self._reset()
            self._fired = self._advance(rest)
            if self._fired:
                at = len(scaled) - length_hint(rest) - 1
                changes.append(Change(at if positions is None else positions[at]))
        return changes

    def _advance(self, values: Iterator[float]) -> bool:
        """Takes values up to one that tells a change, which it says, or to the end.

        The order of River's operations, in local names: nothing here may be rearranged.
        """
        n, mean, delta = self._n, self._mean, self.delta
        increase, decrease = self._increase, self._decrease
        least, greatest = self._least, self._greatest
        most_up = inf if self.mode == _DOWN else self.threshold
        most_down = inf if self.mode == _UP else self.threshold
        fired = False
        for x in values:
            n += 1.0
            mean += (1.0 / n) * (x - mean)
            deviation = x - mean
            increase = _ALPHA * increase + deviation - delta
            decrease = _ALPHA * decrease + deviation + delta
            if increase < least:  # noqa: PLR1730  # min() costs twice as much
                least = increase
            if decrease > greatest:  # noqa: PLR1730
                greatest = decrease
            if (increase - least > most_up or greatest - decrease > most_down) and n >= _FEWEST:
                fired = True
                break
        self._n, self._mean = n, mean
        self._increase, self._decrease = increase, decrease
        self._least, self._greatest = least, greatest
        return fired

    @property
    def statistic(self) -> float:
        """The greater of the two one-sided sums, in standard deviations, whatever the mode."""
        up, down = self._increase - self._least, self._greatest - self._decrease
        return max(up, down, 0.0)

    @property
    def params(self) -> dict[str, str | bool | int | float]:
        """Slack and threshold in standard deviations, and the standardisation."""
        return {
            "delta": self.delta,
            "threshold": self.threshold,
            "center": self.center,
            "scale": self.scale,
            "mode": self.mode,
        }

    _STATE: ClassVar = ("_n", "_mean", "_increase", "_decrease", "_least", "_greatest", "_fired")

    def dump(self) -> dict[str, Any]:
        """Settings and state as numbers."""
        return {**self.params, "state": self._state()}

    def _state(self) -> list[float | bool]:
        return [getattr(self, name) for name in self._STATE]

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold from that of a build that kept River's object."""
        names = ("center", "scale", "delta", "threshold")
        detector = cls(**{name: float(dumped[name]) for name in names}, mode=dumped["mode"])
        detector.cold = "state" not in dumped
        for name, value in zip(cls._STATE, dumped.get("state", detector._state()), strict=True):
            setattr(detector, name, value)
        return detector
