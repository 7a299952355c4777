"""Blocks: a state that mostly grows, cut so that a checkpoint need not encode what it had before.

Entries are added at the end. Those that came since the last time make a block, together with the
blocks before it that are not larger, up to `BLOCK` entries: so an entry is encoded a few times, and
there are few blocks. A block never changes, so whoever stores it keeps in `keys` under which names,
and does not ask for its bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

BLOCK = 4_096
"""Entries of a full block: of predictions about 300 KB."""

_LENGTH = 4  # bytes that say how many follow, little-endian

K = TypeVar("K")


@dataclass(slots=True, eq=False)
class Block:
    """Some entries, as bytes when they are wanted."""

    encode: Callable[[], bytes]
    """The bytes, which say themselves how many they are: `split` takes several apart."""
    keys: tuple[bytes, ...] = ()
    """Under which names its bytes lie where they were stored; empty: they never were."""
    size: int = 0
    """Bytes, once they were encoded."""


class Series:
    """The blocks of entries of which there are ever more."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._starts: list[int] = []
        self._n = 0

    def cut(self, n: int, encode: Callable[[int, int], Any]) -> list[Block]:
        """The blocks of the first `n` entries; of those there were, most are as they were.

        Args:
            n: entries there are, at least as many as the last time.
            encode: the entries from one to before another, as builtins.
        """
        start = self._n
        if n > start:
            while self._starts and start - self._starts[-1] <= min(n - start, BLOCK - 1):
                start = self._starts.pop()
                self._blocks.pop()
            self._starts += range(start, n, BLOCK)
            for first in range(start, n, BLOCK):
                self._blocks.append(Block(partial(_encoded, encode, first, min(first + BLOCK, n))))
            self._n = n
        return list(self._blocks)

    def clear(self) -> None:
        """Forgets the blocks.

        They know whose entries they encode, and it knows them: a circle that only the cycle
        collector would end, minutes later.
        """
        self._blocks, self._starts, self._n = [], [], 0

    def adopt(
        self, lengths: Iterable[int], stored: Iterable[Block], encode: Callable[[int, int], Any]
    ) -> None:
        """There were none yet, and these are the first: entries of blocks that lie somewhere."""
        for length, known in zip(lengths, stored, strict=True):
            start, self._n = self._n, self._n + length
            self._starts.append(start)
            self._blocks.append(
                Block(partial(_encoded, encode, start, self._n), known.keys, known.size)
            )


class Touched(Generic[K]):
    """Keys in the order in which what they stand for was set; the last time counts."""

    def __init__(self) -> None:
        self.keys: list[K] = []
        self.series = Series()
        self._fresh: set[K] = set()
        self._distinct = 0

    def touch(self, key: K) -> None:
        """What the key stands for is another now."""
        if key not in self._fresh:
            self._fresh.add(key)
            self.keys.append(key)

    def cut(self, encode: Callable[[int, int], Any]) -> list[Block]:
        """The blocks of `keys`; without those said again once they are the half of them."""
        self._fresh = set()
        if len(self.keys) > 2 * self._distinct + BLOCK:
            distinct = list(dict.fromkeys(self.keys))
            self._distinct = len(distinct)
            if len(distinct) < len(self.keys):
                self.keys, self.series = distinct, Series()
        return self.series.cut(len(self.keys), encode)


def _encoded(encode: Callable[[int, int], Any], start: int, stop: int) -> bytes:
    payload = msgspec.msgpack.encode(encode(start, stop))
    return len(payload).to_bytes(_LENGTH, "little") + payload


def split(data: bytes) -> Iterator[bytes]:
    """The bytes of each block, with what says how many they are."""
    at = 0
    while at < len(data):
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "little")
        yield data[at:end]
        at = end


def decoded(block: Block) -> Any:
    """The builtins of a block."""
    return msgspec.msgpack.decode(memoryview(block.encode())[_LENGTH:])
