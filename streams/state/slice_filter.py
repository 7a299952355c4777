"""Which ids a slice's database may hold, in about a byte and a half per id.

Nearly every id that join asks for lies in one slice or in none, and asking RocksDB costs as much
where there is nothing. A filter answers "no" for a whole column of ids at once, and is wrong only
on the other side, for about one id in fifty.

Source of the form: F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
filters", 2007 (one word of memory per id).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from detectors.flow.id_table import words_of
from detectors.frame import ID, Array

Asked: TypeAlias = tuple[Array, Array]
"""Of each id what chooses a word of a filter, and the bits that it sets there."""

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

    def add(self, asked: Asked) -> None:
        """Adds ids."""
        high, bits = asked
        while len(high):
            if not self._left:
                size = _FIRST_WORDS * _GROWTH ** len(self._tables)
                self._tables.append(np.zeros(size, np.uint64))
                self._left = size * _IDS_PER_WORD
            table, n = self._tables[-1], min(self._left, len(high))
            np.bitwise_or.at(table, _places(high[:n], table), bits[:n])
            high, bits = high[n:], bits[n:]
            self._left -= n

    def may_hold(self, asked: Asked) -> Array:
        """Which of these ids may have been added; the others were not. Shape (n,)."""
        high, bits = asked
        found = np.zeros(len(bits), bool)
        for table in self._tables:
            found |= (table[_places(high, table)] & bits) == bits
        return found


def asked_for(ids: Array) -> Asked:
    """What filters need of ids of dtype V16.

    Ids are hashes, so any bits of theirs serve; those of one shard share low ones of their first
    word. The bits that choose a word of the filter are others than those that are set in it.
    """
    second = words_of(ids)[:, 1]
    bits = np.zeros(len(second), np.uint64)
    for shift in _SHIFTS:
        bits |= _ONE << ((second >> shift) & _LOW)
    return (second >> _ABOVE).astype(np.int64), bits


def _places(high: Array, table: Array) -> Array:
    places: Array = high & (len(table) - 1)
    return places


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
        high, bits = asked = asked_for(np.frombuffer(ids, ID))
        new = ~known.may_hold(asked)
        known.add((high[new], bits[new]))
        if sum(each.nbytes for each in self._filters.values()) > FILTER_BYTES:
            self.drop(number)

    def drop(self, number: int) -> None:
        """A slice is gone, or is asked for every id from now on."""
        self._filters.pop(number, None)

    def may_hold(self, number: int, asked: Asked) -> Array | None:
        """Which ids a slice's database may hold, shape (n,); None: it may be any."""
        known = self._filters.get(number)
        return None if known is None else known.may_hold(asked)
