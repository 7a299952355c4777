"""HDDM_A: Hoeffding's bound on the mean of errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from river.drift.binary import HDDMA

from detectors.api import SHARE, Setting
from detectors.river.river_errors import RiverErrors


class HddmA(RiverErrors):
    """Rise of the mean error over its lowest cut point; its statistic is that rise.

    Source: Frias-Blanco et al. 2015, "Online and Non-Parametric Drift Detection Methods Based on
        Hoeffding's Bounds", IEEE TKDE 27 (3), pp. 810-823, doi:10.1109/TKDE.2014.2345382.
    """

    name: ClassVar[str] = "hddm_a"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "drift_confidence": SHARE(0.001),
            "warning_confidence": SHARE(0.005),
            "two_sided_test": Setting(default=False),
        }
    )
    quiet: ClassVar[float] = 4.0

    @staticmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        return HDDMA(**settings)

    def _shown(self) -> float:
        river = self._river
        return float(river._z.get() - river._x_min.get())  # noqa: SLF001  # not public
