"""EDDM: errors that come closer together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from river.drift.binary import EDDM

from detectors.api import SHARE, Setting
from detectors.river.river_errors import RiverErrors


class Eddm(RiverErrors):
    """Fall of the distance between errors below the greatest it had; alarm below `beta`.

    It alarms every few hundred values on streams where nothing changes (measured; see the oracles
    of the sets with known quiet): to be shown, not to be woken by.

    Source: Baena-Garcia et al. 2006, "Early Drift Detection Method", Fourth International Workshop
        on Knowledge Discovery from Data Streams.
    """

    name: ClassVar[str] = "eddm"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "warm_start": Setting(30, least=1),
            "alpha": SHARE(0.95),
            "beta": SHARE(0.9),
        }
    )
    quiet: ClassVar[float] = 103.0

    @staticmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        return EDDM(**settings)

    def _shown(self) -> float:
        river, distances = self._river, self._river._error_distances  # noqa: SLF001  # not public
        greatest = river._p2s_prime_max  # noqa: SLF001
        level = distances.mean.get() + 2 * distances.get() ** 0.5
        return float(level / greatest) if greatest > 0 else 0.0
