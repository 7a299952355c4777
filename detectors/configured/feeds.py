"""Detectors that a monitor adds by configuration: each fed as it wants, counted, and dated."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Detector
from detectors.feed import TICKS
from detectors.registry import DETECTORS
from detectors.spec import DetectorSpec
from detectors.watch import Signal, Verdict, Watch
from driftline.alerts import DetectorRef

Ints: TypeAlias = NDArray[np.int64]

EVERY_FEATURE: Final = "feature:*"
FEATURE: Final = "feature:"
BUILT_IN: Final[Mapping[str, Collection[str]]] = {
    "error": ("adwin", "page_hinkley"),
    "residual": ("page_hinkley",),
    "score": ("page_hinkley",),
    FEATURE: ("adwin",),
}
"""Family of signals -> detectors that always run on them, whatever is configured."""

_INDEPENDENT = 2.0
"""Up to this phi every value is fed, as ADWIN is."""


def chosen(configured: Sequence[DetectorSpec], signal: str) -> list[DetectorSpec]:
    """The detectors of a signal; one that names it goes before the same one on all features."""
    found = [each for each in configured if signal in each.on]
    if signal.startswith(FEATURE):
        named = {each.name for each in found}
        found += [c for c in configured if EVERY_FEATURE in c.on and c.name not in named]
    return sorted(found, key=lambda each: each.name)


class Configured:
    """One configured detector on one signal, whose values lie in [0, 1].

    Like ADWIN, a detector of numbers is fed the means of ceil(phi) values in a row, whose memory
    is gone; one of errors takes each as it comes.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        signal: str,
        *,
        phi: float = 1.0,
        center: float = 0.5,
        scale: float = 1.0,
    ) -> None:
        kind = DETECTORS[spec.name]
        self.spec, self.signal = spec, signal
        self.size = ceil(phi) if kind.takes != "errors" and phi > _INDEPENDENT else 1
        about = {"center": center, "scale": scale} if kind.takes == "standardised" else {}
        self.detector: Detector = kind(**spec.params, **about)
        self.watch = Watch()
        self._sum = 0
        self._held = 0

    @property
    def label(self) -> str:
        """Its name among the detectors that run on the signal, for counters and statistics."""
        family = FEATURE if self.signal.startswith(FEATURE) else self.signal
        built_in = self.spec.name in BUILT_IN.get(family, ())
        return f"{self.spec.name}_configured" if built_in else self.spec.name

    @property
    def reference(self) -> DetectorRef:
        """How alerts quote it."""
        blocks = {"mean_of": self.size} if self.size > 1 else {}
        return DetectorRef(self.spec.name, {**self.detector.params, **blocks})

    def update(self, ticks: Ints) -> list[int]:
        """Takes the next values, in ticks, and returns the positions at which it fired."""
        if self.size == 1:
            return [change.index for change in self.detector.update(ticks / TICKS)]
        ends = np.arange(self.size - self._held, len(ticks) + 1, self.size)  # behind each block
        sums = np.concatenate([[0], np.cumsum(ticks)])
        if not len(ends):
            self._sum += int(sums[-1])
            self._held += len(ticks)
            return []
        totals = np.diff(sums[ends], prepend=0)
        totals[0] += self._sum
        self._sum = int(sums[-1] - sums[ends[-1]])
        self._held = len(ticks) - int(ends[-1])
        changes = self.detector.update(totals / (self.size * TICKS))
        return [int(ends[change.index]) - 1 for change in changes]

    def follow(
        self, signal: Signal, begin: int, end: int, changes: Sequence[int]
    ) -> Iterator[Verdict]:
        """What rows begin to end (exclusive) tell, if it may open alerts."""
        if self.spec.opens:
            yield from self.watch.follow(signal, begin, end, changes)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "of": self._identity,
            "size": self.size,
            "detector": self.detector.dump(),
            "watch": self.watch.dump(),
            "sum": self._sum,
            "held": self._held,
        }

    def _restore(self, dumped: Mapping[str, Any]) -> None:
        self.size = dumped["size"]
        self.detector = DETECTORS[self.spec.name].load(dumped["detector"])
        self.watch = Watch.load(dumped["watch"])
        self._sum, self._held = dumped["sum"], dumped["held"]

    @property
    def _identity(self) -> list[Any]:
        """What must be the same for it to go on where another stood."""
        params = sorted(self.spec.params.items())
        return [self.signal, self.spec.name, [list(param) for param in params]]


def restore(detectors: Sequence[Configured], dumped: Sequence[Mapping[str, Any]]) -> None:
    """Has each detector go on where the same one stood; those that are new begin anew."""
    old = {repr(each["of"]): each for each in dumped}
    for detector in detectors:
        if (found := old.get(repr(detector._identity))) is not None:  # noqa: SLF001  # one module
            detector._restore(found)  # noqa: SLF001
