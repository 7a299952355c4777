"""HDDM_W on errors."""

from __future__ import annotations

from typing import ClassVar

from river.drift.binary import HDDMW

from detectors.api import Floats
from detectors.river_detector import RiverDetector, unit


class HddmW(RiverDetector):
    """Rise of a weighted moving mean, by McDiarmid's bound. Values in [0, 1], 1 = error.

    Source: Frias-Blanco, del Campo-Avila, Ramos-Jimenez, Morales-Bueno, Ortiz-Diaz &
        Caballero-Mota 2015, "Online and Non-Parametric Drift Detection Methods Based on
        Hoeffding's Bounds", IEEE TKDE 27(3), pp. 810-823, W-test; River's version.
    """

    name: ClassVar[str] = "hddm_w"

    def __init__(
        self,
        *,
        drift_confidence: float = 0.001,
        lambda_val: float = 0.05,
        two_sided_test: bool = False,
    ) -> None:
        river = HDDMW(
            drift_confidence=drift_confidence, lambda_val=lambda_val, two_sided_test=two_sided_test
        )
        super().__init__(
            river,
            drift_confidence=drift_confidence,
            lambda_val=lambda_val,
            two_sided_test=two_sided_test,
        )

    def _prepared(self, values: Floats) -> list[float]:
        return unit(values)

    @property
    def statistic(self) -> float:
        """The moving mean behind the cut it compares at, minus that before; 0 without a cut."""
        before, behind = self._river._s1_incr, self._river._s2_incr  # noqa: SLF001  # not public
        return float(behind.ewma - before.ewma) if before.is_init and behind.is_init else 0.0
