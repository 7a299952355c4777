"""A confusion matrix, as metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.measures.estimate import Estimate

Ints: TypeAlias = NDArray[np.int64]

NO_OUTCOMES: Final = "no outcomes yet"
NO_POSITIVE_CLASS: Final = "no positive class: set `positive`"


class Matrix(Protocol):
    """A confusion matrix: `matrix[i][j]` outcomes of label i and prediction j."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class texts, sorted."""
        ...

    @property
    def matrix(self) -> Sequence[Sequence[int]]:
        """Counts, k rows of k; plain integers, as most matrices are small."""
        ...

    @property
    def positive(self) -> str | None:
        """The positive class, None where it is not known."""
        ...


Measured: TypeAlias = Callable[[Matrix], Estimate]
"""Computes one metric of a matrix."""


def cells_of(m: Matrix) -> Ints:
    """The counts as an array, shape (k, k), k = 0 included."""
    k = len(m.classes)
    return np.array(m.matrix, np.int64).reshape(k, k)
