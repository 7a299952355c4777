"""FHDDM: Hoeffding's bound on the accuracy of a sliding window."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from river.drift.binary import FHDDM

from detectors.api import SHARE, Setting
from detectors.river.river_errors import RiverErrors


class Fhddm(RiverErrors):
    """Fall of the share of right answers in a window below the best it had, which is its statistic.

    Takes errors as the others do and turns them round: River's FHDDM wants 1 = right.

    Source: Pesaranghader & Viktor 2016, "Fast Hoeffding Drift Detection Method for Evolving Data
        Streams", ECML PKDD 2016, pp. 96-111, doi:10.1007/978-3-319-46227-1_7.
    """

    name: ClassVar[str] = "fhddm"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "sliding_window_size": Setting(100, least=10, most=10_000),
            "confidence_level": SHARE(0.000001),
        }
    )
    quiet: ClassVar[float] = 25.0
    correct: ClassVar[bool] = True

    @staticmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        return FHDDM(**settings)

    def _shown(self) -> float:
        river = self._river
        held = len(river._sliding_window)  # noqa: SLF001  # not public
        full = held >= river.sliding_window_size - 1
        return float(river._u_max - river.n_one / held) if full and held else 0.0  # noqa: SLF001
