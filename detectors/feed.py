"""Feeds ADWIN with ranks: the mean of so many in a row that their memory is gone."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.drift.adwin import Adwin

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

TICKS: Final = 1 << 20
"""Ranks are whole numbers of 1/TICKS, so their sums are exact and know no order."""

_INDEPENDENT = 2.0
"""Up to this phi every value is fed: of 5,000 independent rows, phi is measured as 1 to 1.8."""


def to_ticks(ranks: NDArray[np.float64]) -> Ints:
    """Ranks in [0, 1] as whole numbers of 1/TICKS; NaN as 0."""
    ticks: Ints = np.rint(np.nan_to_num(ranks) * TICKS).astype(np.int64)
    return ticks


def boxed(ticks: Ints) -> NDArray[np.object_]:
    """The ranks of ticks as Python's floats, made once: looking one up is faster than boxing."""
    return np.array([tick / TICKS for tick in ticks.tolist()], dtype=object)


class RankFeed:
    """ADWIN on the means of `size` consecutive ranks of one signal.

    Its cut assumes independent values; of an autocorrelated signal, means of ceil(phi) values are
    nearly so, and single values make it fire for ever.
    """

    def __init__(self, phi: float) -> None:
        self.size = ceil(phi) if phi > _INDEPENDENT else 1
        self.adwin = Adwin()
        self._sum = 0
        self._held = 0

    def of_codes(self, codes: Codes, ticks: Ints, ranks: NDArray[np.object_]) -> list[int]:
        """As `update`, for codes of values and the tick of each code, `ranks` being `boxed`."""
        if self.size == 1:
            return [change.index for change in self.adwin.take(ranks.take(codes).tolist())]
        return self.update(ticks[codes])

    def update(self, ticks: Ints) -> list[int]:
        """Takes the next ranks, in ticks, and returns the positions at which ADWIN fired."""
        if self.size == 1:
            return [change.index for change in self.adwin.take((ticks / TICKS).tolist())]
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
        changes = self.adwin.take((totals / (self.size * TICKS)).tolist())
        return [int(ends[change.index]) - 1 for change in changes]

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "size": self.size,
            "adwin": self.adwin.dump(),
            "sum": self._sum,
            "held": self._held,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        feed = cls(1.0)
        feed.size, feed.adwin = dumped["size"], Adwin.load(dumped["adwin"])
        feed._sum, feed._held = dumped["sum"], dumped["held"]
        return feed
