"""ADWIN over whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from operator import length_hint
from types import MappingProxyType
from typing import Any, ClassVar, Self

import river
from river._river_rust.drift import AdaptiveWindowing

from detectors.api import SHARE, Change, Floats, Setting, Takes, finite
from detectors.river.adwin_state import pack, unpack
from detectors.river.riverstate import dump_river, load_river

_CLOCK, _MAX_BUCKETS, _MIN_LENGTH, _GRACE = 32, 5, 5, 10  # River's defaults


class Adwin:
    """Change of the mean of one signal with values in [0, 1].

    Exactly River's `ADWIN`, whose Python wrapper costs more than its Rust core: this loop calls the
    core and starts it afresh after a change, as the wrapper does. A test compares the two, because
    the core is no public API. Values should lie in [0, 1] (reference ranks, 0/1 errors): the test
    assumes it, and on raw values the false-alarm rate depends on their unit. `width` at a change is
    not a count of new values, nor is the mean of what it holds then the new mean.

    Source: Bifet & Gavalda 2007, "Learning from Time-Changing Data with Adaptive Windowing", SIAM
        International Conference on Data Mining, algorithm ADWIN2, doi:10.1137/1.9781611972771.42.
    """

    name: ClassVar[str] = "adwin"
    takes: ClassVar[Takes] = "ranks"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({"delta": SHARE(0.002)})
    quiet: ClassVar[float] = 0.12

    def __init__(self, *, delta: float = 0.002) -> None:
        self.delta = delta
        self.cold = False
        self._core = _core(delta)

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values and returns the changes; values that are not finite are skipped."""
        usable = finite(values)
        if usable.all():
            return self.take(values.tolist())
        positions = usable.nonzero()[0].tolist()
        found = self.take(values[usable].tolist())
        return [Change(positions[change.index], change.width) for change in found]

    def take(self, values: list[float]) -> list[Change]:
        """As `update`, for values known to be finite."""
        changes: list[Change] = []
        rest = iter(values)
        while any(map(self._core.update, rest)):  # stops right behind the value that fired
            at = len(values) - length_hint(rest) - 1
            changes.append(Change(at, int(self._core.get_width())))
            self._core = _core(self.delta)
        return changes

    @property
    def statistic(self) -> float:
        """Mean of the window it holds; 0 while that is empty."""
        width = self._core.get_width()
        return float(self._core.get_total() / width) if width else 0.0

    @property
    def params(self) -> dict[str, str | bool | int | float]:
        """Its confidence parameter."""
        return {"delta": self.delta}

    @property
    def core_state(self) -> bytes:
        """The core's state as it hands it out: about the memory it takes."""
        state: bytes = self._core.__getstate__()
        return state

    def dump(self) -> dict[str, Any]:
        """Delta as a number, the core's own state without what is constant or 0 in it."""
        state = self.core_state
        packed = pack(state)
        if unpack(packed, _core(self.delta).__getstate__()) != state:  # an unknown layout
            return {"delta": self.delta, "core": dump_river(self._core)}
        return {"delta": self.delta, "river": river.__version__, "state": packed}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`; cold where River's part does not load."""
        detector = cls(delta=float(dumped["delta"]))
        if "core" in dumped:
            core = load_river(dumped["core"])
            detector.cold = core is None
            detector._core = core or detector._core
        elif dumped["river"] == river.__version__:
            empty = detector._core.__getstate__()
            detector._core.__setstate__(unpack(dumped["state"], empty))
        else:
            detector.cold = True
        return detector


def _core(delta: float) -> AdaptiveWindowing:
    return AdaptiveWindowing(
        delta=delta,
        clock=_CLOCK,
        max_buckets=_MAX_BUCKETS,
        min_window_length=_MIN_LENGTH,
        grace_period=_GRACE,
    )
