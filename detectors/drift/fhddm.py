"""FHDDM on errors."""

from __future__ import annotations

from typing import ClassVar

from river.drift.binary import FHDDM

from detectors.api import Floats
from detectors.river_detector import RiverDetector, errors


class Fhddm(RiverDetector):
    """Rise of the error rate of the last 100 values. Values: 1 = error; from .5 on is an error.

    River's documentation says that its input is 1 for an error; its code, as the paper, looks for a
    fall, so that it wants 1 for a correct prediction. This gives it what the code wants.

    Source: Pesaranghader & Viktor 2016, "Fast Hoeffding Drift Detection Method for Evolving Data
        Streams", ECML PKDD, LNCS 9852, pp. 96-111; River's version.
    """

    name: ClassVar[str] = "fhddm"

    def __init__(self, *, sliding_window_size: int = 100, confidence_level: float = 1e-6) -> None:
        river = FHDDM(sliding_window_size=sliding_window_size, confidence_level=confidence_level)
        super().__init__(
            river, sliding_window_size=sliding_window_size, confidence_level=confidence_level
        )

    def _prepared(self, values: Floats) -> list[int]:
        return [1 - error for error in errors(values)]

    @property
    def statistic(self) -> float:
        """Fall of the share correct among the values it holds below the highest such share seen."""
        held = len(self._river._sliding_window)  # noqa: SLF001  # River shows no statistic
        share = self._river.n_one / held if held else 0.0
        return float(max(self._river._u_max - share, 0.0))  # noqa: SLF001
