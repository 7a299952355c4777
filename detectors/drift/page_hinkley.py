"""Page-Hinkley on standardised input."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from river.drift import PageHinkley as RiverPageHinkley

from detectors.api import Change, Floats, Setting, Takes, finite
from detectors.riverstate import dump_river, load_river

_CLIP_SD = 1e6
"""Values further out than this many standard deviations count as that far: sums stay finite."""


class PageHinkley:
    """Change of a signal's mean in units of its reference's spread; `mode`: up, down or both.

    Values are standardised by `center` and `scale`: River's defaults take them raw, and alarmed in
    the quiet part of 11 of 13 real streams. Shown and counted; it opens no alert.

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
        self.center, self.scale = center, scale
        self.delta, self.threshold = delta, threshold
        self.mode = mode
        self.cold = False
        self._river = RiverPageHinkley(delta=delta, threshold=threshold, mode=mode)

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        positions = None if usable.all() else usable.nonzero()[0].tolist()
        kept = values if positions is None else values[usable]
        scaled = np.clip((kept - self.center) / self.scale, -_CLIP_SD, _CLIP_SD)
        detector, update = self._river, self._river.update
        changes = []
        for at, x in enumerate(scaled.tolist()):
            update(x)
            if detector._drift_detected:  # noqa: SLF001  # its property costs as much as the update
                changes.append(Change(at if positions is None else positions[at]))
        return changes

    @property
    def statistic(self) -> float:
        """The greater of the two one-sided sums, in standard deviations, whatever the mode."""
        up = self._river._sum_increase - self._river._min_increase  # noqa: SLF001  # not public
        down = self._river._max_decrease - self._river._sum_decrease  # noqa: SLF001
        return float(max(up, down, 0.0))

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

    def dump(self) -> dict[str, Any]:
        """Settings as numbers, the detector as River's pickle."""
        return {**self.params, "river": dump_river(self._river)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold where River's part does not load."""
        names = ("center", "scale", "delta", "threshold")
        mode = dumped.get("mode", "both")
        detector = cls(**{name: float(dumped[name]) for name in names}, mode=mode)
        restored = load_river(dumped["river"])
        detector.cold = restored is None
        if restored is not None:
            detector._river = restored
        return detector
