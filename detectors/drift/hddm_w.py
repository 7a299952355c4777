"""HDDM_W: McDiarmid's bound on weighted means of errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from river.drift.binary import HDDMW

from detectors.api import SHARE, Setting
from detectors.river.river_errors import RiverErrors


class HddmW(RiverErrors):
    """Rise of the exponentially weighted error since the cut point; its statistic is that rise.

    Source: Frias-Blanco et al. 2015, "Online and Non-Parametric Drift Detection Methods Based on
        Hoeffding's Bounds", IEEE TKDE 27 (3), pp. 810-823, doi:10.1109/TKDE.2014.2345382.
    """

    name: ClassVar[str] = "hddm_w"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "drift_confidence": SHARE(0.001),
            "warning_confidence": SHARE(0.005),
            "lambda_val": SHARE(0.05),
            "two_sided_test": Setting(default=False),
        }
    )
    quiet: ClassVar[float] = 79.0

    @staticmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        return HDDMW(**settings)

    def _shown(self) -> float:
        before, after = self._river._s1_incr, self._river._s2_incr  # noqa: SLF001  # not public
        known = before._is_init and after._is_init  # noqa: SLF001
        return float(after.ewma - before.ewma) if known else 0.0
