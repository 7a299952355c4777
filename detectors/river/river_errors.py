"""What the adapters of River's detectors of rising error rates share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar, Self

from detectors.api import Change, Floats, Setting, Takes, finite
from detectors.river.riverstate import dump_river, load_river

_ERROR = 0.5
"""A value from here on is an error (1), below it is none (0)."""


class RiverErrors(ABC):
    """A River detector fed with a model's errors: 1 wrong, 0 right.

    River's detectors keep their alarm up until the next value and forget everything when that comes
    (`_reset` at the start of `update`), so an alarm is told once, at the value that raised it, and
    the value after it is the first of the new stretch. A subclass names River's class, its settings
    and the statistic to show; `correct` says that River wants 1 = right.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes] = "errors"
    settings: ClassVar[Mapping[str, Setting]]
    quiet: ClassVar[float]
    correct: ClassVar[bool] = False

    def __init__(self, **settings: Any) -> None:  # Any: numbers and flags, as `settings` says
        unknown = sorted(settings.keys() - self.settings.keys())
        if unknown:
            raise TypeError(f"{self.name} has no setting {unknown[0]}; it has {[*self.settings]}")
        self._settings = {name: each.default for name, each in self.settings.items()} | settings
        self.cold = False
        self._river = self._new(self._settings)

    @staticmethod
    @abstractmethod
    def _new(settings: Mapping[str, Any]) -> Any:  # Any: River is untyped
        """River's detector."""

    @abstractmethod
    def _shown(self) -> float:
        """The statistic; may be anything before the first values."""

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        positions = None if usable.all() else usable.nonzero()[0].tolist()
        errors = (values if positions is None else values[usable]) >= _ERROR
        fed = (~errors if self.correct else errors).astype(int).tolist()
        detector, update = self._river, self._river.update
        changes = []
        for at, x in enumerate(fed):
            update(x)
            if detector._drift_detected:  # noqa: SLF001  # its property costs as much as the update
                changes.append(Change(at if positions is None else positions[at]))
        return changes

    @property
    def statistic(self) -> float:
        """The detector's own statistic; 0 before there is one."""
        shown = float(self._shown())
        return shown if isfinite(shown) else 0.0

    @property
    def params(self) -> dict[str, str | bool | int | float]:
        """River's settings by River's names."""
        return dict(self._settings)

    def dump(self) -> dict[str, Any]:
        """Settings as numbers, the detector as River's pickle."""
        return {**self._settings, "river": dump_river(self._river)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold where River's part does not load."""
        detector = cls(**{name: dumped[name] for name in cls.settings})
        restored = load_river(dumped["river"])
        detector.cold = restored is None
        if restored is not None:
            detector._river = restored
        return detector
