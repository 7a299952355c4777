"""What the adapters of River's Python detectors share: guarded input, reset, snapshots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from detectors.api import Change, Floats, finite
from detectors.riverstate import dump_river, load_river

Setting: TypeAlias = str | bool | int | float


def errors(values: Floats) -> list[int]:
    """1 where a value is at least .5, else 0: an error as it is, a rank by its reference median."""
    wrong: list[int] = (values >= 0.5).astype(np.int64).tolist()  # noqa: PLR2004  # the middle
    return wrong


def unit(values: Floats) -> list[float]:
    """The values cut to [0, 1], where Hoeffding's and McDiarmid's bounds are stated."""
    clipped: list[float] = np.clip(values, 0.0, 1.0).tolist()
    return clipped


class RiverDetector(ABC):
    """A detector that is River's own, value by value; see `detectors.api.Detector`.

    A subclass gives River's object with the settings it was built of, which are also its own
    constructor's arguments, and says what of a value River gets and what is shown.
    """

    name: ClassVar[str]

    def __init__(self, river: Any, **params: Setting) -> None:  # Any: River is untyped
        self._river = river
        self._params = params
        self.cold = False

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        positions = None if usable.all() else usable.nonzero()[0].tolist()
        kept = self._prepared(values if positions is None else values[usable])
        detector, update = self._river, self._river.update
        changes = []
        for at, x in enumerate(kept):
            update(x)  # which begins anew where the value before fired
            if detector._drift_detected:  # noqa: SLF001  # its property costs a call
                changes.append(Change(at if positions is None else positions[at]))
        return changes

    @abstractmethod
    def _prepared(self, values: Floats) -> list[int] | list[float]:
        """What River is given of finite values: as many, each from its own value alone."""

    @property
    @abstractmethod
    def statistic(self) -> float:
        """The detector's own statistic after the last value, for display; finite."""

    @property
    def params(self) -> dict[str, Setting]:
        """How it was set, under River's names."""
        return dict(self._params)

    def dump(self) -> dict[str, Any]:
        """Settings as they are, the detector as River's pickle."""
        return {"params": self.params, "river": dump_river(self._river)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold where River's part does not load."""
        detector = cls(**dumped["params"])
        restored = load_river(dumped["river"])
        detector.cold = restored is None
        if restored is not None:
            detector._river = restored
        return detector
