"""Rows by a number of theirs, such as the slab they lie in: mostly few numbers, often just one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.frame import Array

_DENSE = 1 << 10


def groups(numbers: Array) -> Iterator[tuple[int, Array]]:
    """(number, positions of it, rising) for each number, rising; positions of shape (n,)."""
    if not len(numbers):
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least == most:
        yield least, np.arange(len(numbers))
        return
    if most - least < _DENSE:
        present = np.flatnonzero(np.bincount(numbers - least)) + least
    else:
        present = np.unique(numbers)
    for number in present.tolist():
        yield number, (numbers == number).nonzero()[0]
