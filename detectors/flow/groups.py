"""Rows by a number of theirs, such as the slab they lie in or their id's place in a table."""

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


_DIGIT = 16


def by_digits(numbers: Array) -> Array:
    """`np.argsort(numbers, kind="stable")` of integers that are not negative, mostly below 2**32.

    NumPy sorts 16-bit integers by their digits, which takes a fraction of comparing them.
    """
    most = int(numbers.max(initial=0))
    if most >> 2 * _DIGIT:
        return numbers.argsort(kind="stable")
    order = numbers.astype(np.uint16).argsort(kind="stable")
    high = most >> _DIGIT
    if high:
        order = order[(numbers >> _DIGIT).astype(np.uint16)[order].argsort(kind="stable")]
    return order
