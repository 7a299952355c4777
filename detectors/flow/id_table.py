"""A table of ids in arrays, looked up for a whole column of ids at once.

Open addressing with linear probing. Ids are 16 bytes of BLAKE2b, so their second word is as good a
hash as any; the first says which shard they belong to, and its low bits are the same for all here.
"""

from __future__ import annotations

import numpy as np

from detectors.frame import Array

EMPTY = -4
"""No id was ever here."""
GONE = -3
"""An id of which nothing is known (any more)."""
ODD = -2
"""More is known of the id than fits in two numbers: it lies in dictionaries."""
NONE = -1
"""Of a prediction or a label: there is none."""
PAST = -2
"""Of a label: there was one, and it waits no more."""

_SMALLEST = 1 << 10
_ROOM = 4  # a new table has at least so many places per id


def words_of(ids: Array) -> Array:
    """Ids of dtype V16 as two integers each: uint64, shape (n, 2)."""
    return np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)


class IdTable:
    """Id -> (ref of its prediction or one of the words above, ref of its waiting label or one)."""

    def __init__(self) -> None:
        self._clear(_SMALLEST)

    def _clear(self, size: int) -> None:
        self.prediction = np.full(size, EMPTY, np.int64)
        self.label = np.full(size, NONE, np.int64)
        self._words = np.zeros((size, 2), np.uint64)
        self._used = 0

    def places(self, words: Array) -> Array:
        """The place of each id, shape (n,); a new one has one from now on, where it is `GONE`.

        Good until the next call.
        """
        self._make_room(len(words))
        return self._probe(words, add=True)

    def find(self, words: Array) -> Array:
        """The place of each id, -1 where there is none; shape (n,)."""
        return self._probe(words, add=False)

    def _probe(self, words: Array, *, add: bool) -> Array:
        last = np.uint64(len(self.label) - 1)
        at = (words[:, 1] & last).astype(np.int64)
        todo, wanted, here = np.arange(len(words)), np.ascontiguousarray(words), at.copy()
        while len(todo):
            free = self.prediction.take(here) == EMPTY
            if free.any():
                if add:
                    some = free.nonzero()[0]
                    self._claim(here[some], wanted.take(some, axis=0))
                else:
                    at[todo[free]] = -1
            apart = self._words.take(here, axis=0)
            apart ^= wanted
            other = (apart[:, 0] | apart[:, 1]) != 0
            if not add:
                other &= ~free
            other = other.nonzero()[0]
            if not len(other):
                break
            todo, wanted = todo[other], wanted.take(other, axis=0)
            here = (here[other] + 1) & int(last)
            at[todo] = here
        return at

    def _claim(self, places: Array, words: Array) -> None:
        """Gives free places to ids; of several ids that want one, the last has it."""
        own = np.arange(len(places))
        self.label[places] = own
        won = self.label[places] == own
        if not won.all():
            places, words = places[won], words[won]
        self._words[places] = words
        self.prediction[places] = GONE
        self.label[places] = NONE
        self._used += len(places)

    def _make_room(self, n: int) -> None:
        """Room for so many more ids; ids of which nothing is known are left behind."""
        if 2 * (self._used + n) <= len(self.label):
            return
        held = np.flatnonzero(self.prediction > GONE)
        words, prediction, label = self._words[held], self.prediction[held], self.label[held]
        self._clear(max(_SMALLEST, 1 << (_ROOM * (len(held) + n) - 1).bit_length()))
        places = self._probe(words, add=True)
        self.prediction[places], self.label[places] = prediction, label
