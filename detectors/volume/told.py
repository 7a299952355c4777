"""What is said of traffic, and what stays open of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["silence", "drop", "rise"]


@dataclass(frozen=True, slots=True)
class Told:
    """Traffic changed, or is back.

    Attributes:
        at: end of the unit that told it, ms on the arrival clock.
        since: when it began, as estimated, ms.
        rule: what was seen; of a recovery, what had been (or, after three days, is the level now).
        count, expected: events of the last unit, and what it should have had.
        value, limit: the statistic and what it passed.
        unit_ms: length of a unit.
        days: days that are remembered.
    """

    state: Literal["changed", "recovered"]
    at: int
    since: int
    rule: Rule
    count: int
    expected: float
    value: float
    limit: float
    unit_ms: int
    days: int


@dataclass(slots=True)
class Episode:
    """What was told and is not over.

    `sure`: it was told by evidence, so that it has to wane; `calm`: units in a row as expected.
    """

    rule: Rule
    since: int
    told: int
    sure: bool = False
    calm: int = 0
