"""EDDM on errors."""

from __future__ import annotations

import math
from typing import ClassVar

from river.drift.binary import EDDM

from detectors.api import Floats
from detectors.river_detector import RiverDetector, errors


class Eddm(RiverDetector):
    """Errors coming closer together. Values: 1 = error; from .5 on is an error.

    At River's defaults it is the loudest of all where nothing changes: tens of alarms per set.

    Source: Baena-Garcia, del Campo-Avila, Fidalgo, Bifet, Gavalda & Morales-Bueno 2006, "Early
        Drift Detection Method", Fourth International Workshop on Knowledge Discovery from Data
        Streams; River's version.
    """

    name: ClassVar[str] = "eddm"

    def __init__(self, *, warm_start: int = 30, alpha: float = 0.95, beta: float = 0.9) -> None:
        river = EDDM(warm_start=warm_start, alpha=alpha, beta=beta)
        super().__init__(river, warm_start=warm_start, alpha=alpha, beta=beta)

    def _prepared(self, values: Floats) -> list[int]:
        return errors(values)

    @property
    def statistic(self) -> float:
        """Distance between errors (mean + 2 sd) over its largest, alarm below `beta`; 1 at first.

        As of the last value, of which River looks at errors only.
        """
        largest = self._river._p2s_prime_max  # noqa: SLF001  # River shows no statistic
        if largest <= 0:
            return 1.0
        distances = self._river._error_distances  # noqa: SLF001
        return float((distances.mean.get() + 2 * math.sqrt(distances.get())) / largest)
