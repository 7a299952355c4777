"""What speaks for a change of traffic: missing events, minutes far off, evidence that adds up."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log
from typing import Final

SILENCE, DOWN, UP, LESS, MORE = range(5)
"""The signs, as positions in `Signs.values`: nothing comes; a few units far below or above; a
lasting, smaller change."""
FALLS: Final = (SILENCE, DOWN, LESS)

_MISSED: Final = 16.0
"""Events that must be missing: four standard deviations of a Poisson count of so many."""
_FAR: Final = 5.0
_RUN: Final = 3
_TOLERANCE: Final = 0.5
_THETAS: Final = (0.5, 1.0, 2.0)
_BETS: Final = len(_THETAS)
_LOG_C: Final = log(7 * 24 * 60) + log(_BETS)
"""One false alarm a week of minutes, for the mean of the three bets."""

LIMITS: Final = (_MISSED, _FAR, _FAR, _LOG_C, _LOG_C)
"""Of each sign, what it must pass to be news."""
UNSTEADY: Final = (_MISSED, 2 * _FAR, 2 * _FAR, inf, inf)
"""Where signs go further than this day after day, time does not say when traffic comes."""


@dataclass(slots=True)
class Signs:
    """The signs as they stand.

    Attributes:
        missed: events that the present silence should at least have had.
        last: z of the last three units.
        sums: CUSUMs of the bets that there is less, then of those that there is more.
        starts: when each of them last stood at 0, ms.
    """

    missed: float = 0.0
    last: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=lambda: [0.0] * (2 * _BETS))
    starts: list[int] = field(default_factory=lambda: [0] * (2 * _BETS))

    def add(self, missed: float | None, z: float, clipped: float, phi: float, begin: int) -> None:
        """Takes a unit.

        Args:
            missed: events it should at least have had, if it had none; None if it had some.
            z: scales that it lies from what was expected; `clipped` is the same within +-4.
            clipped: see `z`.
            phi: by how much neighbouring units repeat each other.
            begin: ms.
        """
        self.missed = 0.0 if missed is None else self.missed + missed
        self.last = [*self.last, z][-_RUN:]
        for at in range(2 * _BETS):
            theta, signed = _THETAS[at % _BETS], (-clipped if at < _BETS else clipped)
            if self.sums[at] <= 0:
                self.sums[at], self.starts[at] = 0.0, begin
            self.sums[at] += (theta * (signed - _TOLERANCE) - theta * theta / 2) / phi

    def values(self) -> tuple[float, ...]:
        """How far each sign is; 0 at least."""
        down = up = 0.0
        if len(self.last) == _RUN:
            down, up = max(-max(self.last), 0.0), max(min(self.last), 0.0)
        less, more = max(0.0, *self.sums[:_BETS]), max(0.0, *self.sums[_BETS:])
        return self.missed, down, up, less, more

    def since(self, sign: int, now: int, unit_ms: int) -> int:
        """When what a sign says began, ms."""
        if sign not in (LESS, MORE):
            return now - _RUN * unit_ms
        first = 0 if sign == LESS else _BETS
        sums = self.sums[first : first + _BETS]
        return self.starts[first + sums.index(max(sums))]

    def cap(self, limit: float) -> None:
        """Holds evidence at a limit, so that it can wane."""
        self.sums = [min(each, limit) for each in self.sums]
