"""Bin codes of many numeric columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.reference.profile import Codes

Places: TypeAlias = Sequence[int]

MOST_BOUNDS: Final = 48
"""Bounds of a column up to which comparing with each is faster than searching among them."""
_BLOCK: Final = 32_768
"""Values compared at once: they stay in the second cache, and calls of NumPy are few."""


class NumberBins:
    """The bounds of numeric columns as a matrix; a code is how many bounds a value is above.

    That is what `Bins.of_numbers` searches for, NaN included (it is above all). A search among 20
    bounds mispredicts its branches, so that 20 comparisons of many values at once cost a third.
    """

    def __init__(self, bounds: Sequence[Floats]) -> None:
        """Takes the rising bounds of each column, at most `MOST_BOUNDS`."""
        most = max((len(each) for each in bounds), default=0)
        self._bounds = np.full((len(bounds), most, 1), np.nan)  # nothing is at most NaN
        self._codes = np.array([len(each) for each in bounds], dtype=np.uint8)
        for row, each in enumerate(bounds):
            self._bounds[row, : len(each), 0] = each

    def fill(self, codes: Codes, at: Places, which: Places, columns: Sequence[Floats]) -> None:
        """Writes the codes of some columns into rows of `codes`, shape (k, n).

        Args:
            codes: where to write.
            at: row of `codes` of each column.
            which: number of each column among the bounds.
            columns: the values, shape (n,) each.
        """
        n = codes.shape[1]
        together = max(_BLOCK // max(n, 1), 1)
        for first in range(0, len(at), together):
            some = slice(first, first + together)
            for begin in range(0, n, _BLOCK):
                rows = slice(begin, begin + _BLOCK)
                values = np.stack([column[rows] for column in columns[some]])
                codes[at[some], rows] = self._of(values, np.asarray(which[some]))

    def _of(self, values: Floats, which: NDArray[np.intp]) -> Codes:
        found = np.repeat(self._codes[which, None], values.shape[1], axis=1)
        at_most = np.empty(values.shape, bool)
        ones = at_most.view(np.uint8)
        for bound in self._bounds[which].transpose(1, 0, 2):
            np.less_equal(values, bound, out=at_most)
            np.subtract(found, ones, out=found)
        return found
