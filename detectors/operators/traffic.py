"""How much of a model's traffic each version has, by whole hours of arrival.

Whole hours, because then a share at some moment counts rows that arrived before it and no others,
however the rows were cut into steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

HOUR_MS: Final = 3_600_000
HOURS: Final = 24
"""Whole hours that a share looks back over."""


@dataclass(slots=True)
class Traffic:
    """Predictions of each version by hour; `first`: the hour in which a version was first seen."""

    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def take(self, version: str, arrivals: NDArray[np.int64]) -> None:
        """Counts predictions that arrived at these times, ms."""
        if not len(arrivals):
            return
        hours, counts = np.unique(arrivals // HOUR_MS, return_counts=True)
        held = self.counts.setdefault(version, {})
        for hour, count in zip(hours.tolist(), counts.tolist(), strict=True):
            held[hour] = held.get(hour, 0) + count
        self.first.setdefault(version, min(held))

    def forget(self, at: int) -> None:
        """Drops hours that no share from `at`, ms, on looks back to."""
        for held in self.counts.values():
            for hour in [hour for hour in held if hour < at // HOUR_MS - HOURS]:
                del held[hour]

    def rows(self, version: str, at: int, hours: int = HOURS) -> int:
        """Predictions in the so many whole hours before the hour of `at`, ms."""
        now = at // HOUR_MS
        held = self.counts.get(version, {})
        return sum(n for hour, n in held.items() if now - hours <= hour < now)

    def share(self, version: str, at: int) -> float | None:
        """This version's part of all predictions, 0 to 1; None before the first whole hour."""
        every = sum(self.rows(name, at) for name in self.counts)
        return self.rows(version, at) / every if every else None

    def before(self, version: str, at: int) -> list[str]:
        """Versions seen earlier than this one and in a whole hour since, the latest first."""
        own = self.first.get(version, at // HOUR_MS)
        earlier = [name for name, hour in self.first.items() if name != version and hour <= own]
        return sorted(earlier, key=lambda name: (self.first[name], name), reverse=True)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        counts = {name: [list(item) for item in held.items()] for name, held in self.counts.items()}
        return {"counts": counts, "first": self.first}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        counts = {name: dict(map(tuple, held)) for name, held in dumped["counts"].items()}
        return cls(counts, dict(dumped["first"]))
