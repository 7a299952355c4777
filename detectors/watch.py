"""Where one signal stands: quiet, suspect since a detector's change, or drifted.

A detector says *that* a signal changed; it does not say from when, to what, or whether that is
worse than the reference. The watch looks at the values themselves: it estimates the change point,
and states a drift once the values since then lie beyond the tolerance around the reference, and a
recovery once so many of the latest lie within it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, sqrt
from typing import Any, Final, Literal, Protocol, Self

import numpy as np

from detectors.api import Floats

CHECK_EVERY: Final = 100
"""Rows between two looks at a suspect or drifted signal, counted since the signal began."""
FEWEST: Final = 20
"""Values since the change point below which nothing is stated."""
_EDGE = 5


class Signal(Protocol):
    """The values a watch looks at, by row number since the signal began."""

    @property
    def memory(self) -> int:
        """Rows a suspicion lives, and that a recovery takes."""
        ...

    def values(self, start: int, stop: int) -> tuple[Floats, Sequence[int] | range]:
        """Values of rows start to stop (exclusive) and their row numbers.

        They reach back from `stop` by a fixed number of rows, whatever else is still held.
        """
        ...

    def deviates(self, values: Floats) -> bool:
        """Whether these are surely beyond the tolerance around the reference."""
        ...

    def is_back(self, values: Floats) -> bool:
        """Whether these are within the tolerance around the reference."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """`row`: number of the row that told it; `split`: first row of the new level."""

    state: Literal["changed", "recovered"]
    row: int
    split: int


@dataclass(slots=True)
class Watch:
    """The state of one signal; all in row numbers since the signal began."""

    split: int = 0
    """First row of the present level, as estimated at the detector's last change."""
    suspect: int | None = None
    """The detector's last change, while it is neither stated nor given up."""
    drifted: int | None = None
    """When the present drift was stated."""

    @property
    def idle(self) -> bool:
        """Nothing to look at until the detector fires."""
        return self.suspect is None and self.drifted is None

    def follow(
        self, signal: Signal, begin: int, end: int, changes: Sequence[int]
    ) -> Iterator[Verdict]:
        """What rows begin to end (exclusive) tell; `changes`: rows at which the detector fired."""
        if self.idle and not changes:
            return
        looks = range((begin // CHECK_EVERY + 1) * CHECK_EVERY, end + 1, CHECK_EVERY)
        events = sorted([(row + 1, 0) for row in changes] + [(count, 1) for count in looks])
        for count, kind in events:  # count: rows seen, the last of them is row count - 1
            if kind == 0:
                self._suspect(signal, count)
            elif self.idle:
                continue
            yield from self._look(signal, count)

    def _suspect(self, signal: Signal, count: int) -> None:
        values, rows = signal.values(self.split, count)
        if len(values):
            self.split = rows[change_point(values)]
        self.suspect = count

    def _look(self, signal: Signal, count: int) -> Iterator[Verdict]:
        if self.suspect is not None:
            values, _ = signal.values(self.split, count)
            if len(values) >= FEWEST and signal.deviates(values):
                self.suspect, self.drifted = None, count
                yield Verdict("changed", count - 1, self.split)
                return
            if count - self.suspect >= signal.memory:
                self.suspect = None
        if self.drifted is not None and count - self.drifted >= signal.memory:
            values, _ = signal.values(count - signal.memory, count)
            if len(values) >= signal.memory // 10 and signal.is_back(values):
                self.drifted = None
                yield Verdict("recovered", count - 1, count - signal.memory)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return asdict(self)

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(**dumped)


def change_point(values: Floats) -> int:
    """Position of the first value of the second level, if the mean changed once, of n >= 1 values.

    Source: Hinkley 1970, "Inference about the change-point in a sequence of random variables",
        Biometrika 57 (1): the split that explains most variance, for normal means, both unknown.
    """
    n = len(values)
    if n <= 2 * _EDGE:
        return 0
    sums = np.cumsum(values)
    before = np.arange(1, n)
    gain = (sums[:-1] - before / n * sums[-1]) ** 2 / (before * (n - before))
    inner = gain[_EDGE - 1 : n - _EDGE]
    return int(np.argmax(inner)) + _EDGE


def mean_and_error(values: Floats, phi: float) -> tuple[float, float]:
    """(mean, standard error) of n >= 1 values with serial-correlation factor phi.

    Sums are exact (fsum), so nothing depends on how NumPy would have added.
    """
    n = len(values)
    listed = values.tolist()
    mean = fsum(listed) / n
    variance = fsum((x - mean) ** 2 for x in listed) / max(n - 1, 1)
    return mean, sqrt(variance * phi / n)
