"""DDM on errors."""

from __future__ import annotations

from typing import ClassVar

from river.drift.binary import DDM

from detectors.api import Floats
from detectors.river_detector import RiverDetector, errors


class Ddm(RiverDetector):
    """Rise of an error rate above its own lowest point. Values: 1 = error; from .5 on is an error.

    Source: Gama, Medas, Castillo & Rodrigues 2004, "Learning with Drift Detection", SBIA, LNAI
        3171, pp. 286-295; River's version.
    """

    name: ClassVar[str] = "ddm"

    def __init__(self, *, warm_start: int = 30, drift_threshold: float = 3.0) -> None:
        river = DDM(warm_start=warm_start, drift_threshold=drift_threshold)
        super().__init__(river, warm_start=warm_start, drift_threshold=drift_threshold)

    def _prepared(self, values: Floats) -> list[int]:
        return errors(values)

    @property
    def statistic(self) -> float:
        """The error rate since it last began; 0 before the first value."""
        return float(self._river._p.get())  # noqa: SLF001  # River shows no statistic
