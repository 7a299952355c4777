"""Which ids a slice's database may hold, in about a byte and a half per id.

Nearly every id that join asks for lies in one slice or in none, and asking RocksDB costs as much
where there is nothing. A filter answers "no" for a whole column of ids at once, and is wrong only
on the other side, for about one id in fifty.

Source of the form: F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
filters", 2007 (one word of memory per id).
"""

from __future__ import annotations

import numpy as np

from detectors.flow.id_table import words_of
from detectors.frame import ID, Array

FILTER_BYTES = 8 << 20
"""Memory of one store's filters: enough for five million ids. Slices beyond have none."""

_BITS = 4  # of a word that an id sets
_IDS_PER_WORD = 5
_FIRST_WORDS = 1 << 10
_GROWTH = 4
_SHIFTS = tuple(np.uint64(6 * i) for i in range(_BITS))
_LOW = np.uint64(63)
_ONE = np.uint64(1)
_ABOVE = np.uint64(6 * _BITS)


class SliceFilter:
    """The ids that were added, and some that look like them."""

    def __init__(self) -> None:
        self._tables: list[Array] = []
        self._left = 0

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(table.nbytes for table in self._tables)

    def add(self, words: Array) -> None:
        """Adds ids.

        Args:
            words: each as two integers, uint64, shape (n, 2), as `id_table.words_of` gives them.
        """
        while len(words):
            if not self._left:
                size = _FIRST_WORDS * _GROWTH ** len(self._tables)
                self._tables.append(np.zeros(size, np.uint64))
                self._left = size * _IDS_PER_WORD
            now, words = words[: self._left], words[self._left :]
            table = self._tables[-1]
            np.bitwise_or.at(table, _places(now, table), _bits(now))
            self._left -= len(now)

    def may_hold(self, words: Array) -> Array:
        """Which of these ids may have been added; the others were not. Shape (n,)."""
        bits = _bits(words)
        found = np.zeros(len(words), bool)
        for table in self._tables:
            found |= (table[_places(words, table)] & bits) == bits
        return found


def _places(words: Array, table: Array) -> Array:
    """Ids are hashes, so any bits of theirs serve; those of one shard share low ones of the first.

    The bits that choose the word are others than those that are set in it.
    """
    places: Array = ((words[:, 1] >> _ABOVE) & np.uint64(len(table) - 1)).astype(np.int64)
    return places


def _bits(words: Array) -> Array:
    bits = np.zeros(len(words), np.uint64)
    for shift in _SHIFTS:
        bits |= _ONE << ((words[:, 1] >> shift) & _LOW)
    return bits


class Filters:
    """The filters of a store's slices, as many as the memory for them allows."""

    def __init__(self) -> None:
        self._filters: dict[int, SliceFilter] = {}

    def begin(self, number: int) -> None:
        """A slice's database is empty."""
        self._filters[number] = SliceFilter()

    def add(self, number: int, ids: bytes) -> None:
        """A slice's database gets ids, of 16 bytes each."""
        known = self._filters.get(number)
        if known is None:
            return
        words = words_of(np.frombuffer(ids, ID))
        known.add(words[~known.may_hold(words)])
        if sum(each.nbytes for each in self._filters.values()) > FILTER_BYTES:
            self.drop(number)

    def drop(self, number: int) -> None:
        """A slice is gone, or is asked for every id from now on."""
        self._filters.pop(number, None)

    def may_hold(self, number: int, words: Array) -> Array:
        """Which ids a slice's database may hold, shape (n,)."""
        known = self._filters.get(number)
        return np.ones(len(words), bool) if known is None else known.may_hold(words)
