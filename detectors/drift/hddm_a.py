"""HDDM_A on errors."""

from __future__ import annotations

from typing import ClassVar

from river.drift.binary import HDDMA

from detectors.api import Floats
from detectors.river_detector import RiverDetector, unit


class HddmA(RiverDetector):
    """Rise of a mean, by Hoeffding's bound. Values in [0, 1], 1 = error.

    Source: Frias-Blanco, del Campo-Avila, Ramos-Jimenez, Morales-Bueno, Ortiz-Diaz &
        Caballero-Mota 2015, "Online and Non-Parametric Drift Detection Methods Based on
        Hoeffding's Bounds", IEEE TKDE 27(3), pp. 810-823, A-test; River's version.
    """

    name: ClassVar[str] = "hddm_a"

    def __init__(self, *, drift_confidence: float = 0.001, two_sided_test: bool = False) -> None:
        river = HDDMA(drift_confidence=drift_confidence, two_sided_test=two_sided_test)
        super().__init__(river, drift_confidence=drift_confidence, two_sided_test=two_sided_test)

    def _prepared(self, values: Floats) -> list[float]:
        return unit(values)

    @property
    def statistic(self) -> float:
        """The mean since it last began, minus that of the stretch it compares with."""
        lowest, whole = self._river._x_min, self._river._z  # noqa: SLF001  # not public
        return float(whole.get() - lowest.get())
