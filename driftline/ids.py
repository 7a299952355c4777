"""Prediction ids: UUIDv7 text, ordered by time within a process."""

from __future__ import annotations

import os
import threading
import time

_LOW_BITS = 48  # the last group of the text, which counts; all before it is drawn once per ms
_LOW_END = 1 << _LOW_BITS


class _Generator:
    """Draws ids; one per process."""

    __slots__ = ("_lock", "_low", "_ms", "_prefix")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may log a prediction, too
        self._ms = 0
        self._low = 0  # of the last id
        self._prefix = ""

    def draw(self) -> str:
        """The next id."""
        with self._lock:
            ms = time.time_ns() // 1_000_000
            low = self._low + 1
            if ms > self._ms or low >= _LOW_END:
                low = self._seed(max(ms, self._ms + 1))
            self._low = low
            return f"{self._prefix}{low:012x}"

    def draw_many(self, n: int) -> list[str]:
        """The next `n` ids, ascending."""
        with self._lock:
            ms = time.time_ns() // 1_000_000
            low = self._low + 1
            if ms > self._ms or low + n > _LOW_END:
                low = self._seed(max(ms, self._ms + 1))
            self._low = low + n - 1
            prefix = self._prefix
        return [f"{prefix}{at:012x}" for at in range(low, low + n)]

    def _seed(self, ms: int) -> int:
        """Draws the random part anew for `ms`; the first value of the counting part."""
        drawn = int.from_bytes(os.urandom(10), "big")
        a, b, self._ms = drawn >> 68, drawn >> 54 & 0x3FFF, ms
        self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{a:03x}-{0x8000 | b:04x}-"
        return drawn & 0x7FFF_FFFF_FFFF  # the top bit stays clear: room to count


_generator = _Generator()


def uuid7() -> str:
    """A new UUIDv7 as text: greater than every id this process drew before, whatever the clock did.

    Source: RFC 9562, sections 5.7 and 6.2, method 1 (a counter seeded at random each millisecond).
    """
    return _generator.draw()


def uuid7_many(n: int) -> list[str]:
    """`n` new UUIDv7 as text, ascending; none for `n` <= 0. Their time is that of the first."""
    return _generator.draw_many(n) if n > 0 else []


def _forget_the_parent() -> None:
    """Lets a forked child draw randomness of its own, and not wait for a lock nobody holds."""
    global _generator  # noqa: PLW0603  the child's own generator takes the parent's place
    _generator = _Generator()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parent)
