"""DDM: an error rate above its own minimum."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from river.drift.binary import DDM

from detectors.api import Setting
from detectors.river.river_errors import RiverErrors


class Ddm(RiverErrors):
    """Rise of an error rate over the least it had since the last alarm; its statistic is the rate.

    Source: Gama et al. 2004, "Learning with Drift Detection", SBIA 2004, pp. 286-295,
        doi:10.1007/978-3-540-28645-5_29.
    """

    name: ClassVar[str] = "ddm"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "warm_start": Setting(30, least=1),
            "warning_threshold": Setting(2.0, inside=True),
            "drift_threshold": Setting(3.0, inside=True),
        }
    )
    quiet: ClassVar[float] = 1.0

    @staticmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        return DDM(**settings)

    def _shown(self) -> float:
        return float(self._river._p.get())  # noqa: SLF001  # not public
