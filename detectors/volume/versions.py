"""Traffic that went from one version of a model to another, which is a rollout and no outage.

Each version's volume is held against its own past; here is what the model had in all, so that a
version that loses what another one gains pages nobody. Minutes are those of arrival and are asked
for once they are over, so the answer is the same however rows were cut into steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.findings import Finding
from detectors.volume.finding import SIGNAL
from detectors.volume.past import DAY_MS, SLOT_MS

MINUTE_MS: Final = 60_000
_LOOK_MS: Final = SLOT_MS
"""Longest stretch, up to when a change was told, that is looked at."""
_MINUTES_MS: Final = 4 * SLOT_MS
_SLOTS_MS: Final = DAY_MS + 4 * SLOT_MS
_SHARE: Final = 0.5
"""Of what a version lost or gained, the part that other versions must have had."""
_MISSING: Final = 0.65
"""Of what a version lost or gained, what may be missing in all: a few events are far from exact."""
_NOISE: Final = 2.5
"""Standard deviations of a Poisson count."""


@dataclass(slots=True)
class ModelTraffic:
    """Predictions of all versions of one model: lately by minute, and a day by slot of 15 minutes.

    Keys are minutes and slots since the epoch.
    """

    minutes: dict[int, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)

    def take(self, arrival: NDArray[np.int64]) -> None:
        """Counts predictions that arrived at these times, ms, rising."""
        if not len(arrival):
            return
        minutes = arrival // MINUTE_MS
        if minutes[0] == minutes[-1]:
            self._add(int(minutes[0]), len(minutes))
            return
        found, counts = np.unique(minutes, return_counts=True)
        for minute, n in zip(found.tolist(), counts.tolist(), strict=True):
            self._add(minute, n)

    def _add(self, minute: int, n: int) -> None:
        slot = minute * MINUTE_MS // SLOT_MS
        self.minutes[minute] = self.minutes.get(minute, 0) + n
        self.slots[slot] = self.slots.get(slot, 0) + n

    def forget(self, clock: int) -> None:
        """Drops what no change that is told after `clock`, ms, is held against."""
        for held, unit, kept in (
            (self.minutes, MINUTE_MS, _MINUTES_MS),
            (self.slots, SLOT_MS, _SLOTS_MS),
        ):
            first = (clock - kept) // unit
            for at in [at for at in held if at < first]:
                del held[at]

    def news(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings of one version without the changes of volume that others make up for."""
        return [found for found in findings if not self._is_rollout(found)]

    def _is_rollout(self, found: Finding) -> bool:
        """Whether traffic only went from one version to another.

        Then other versions had half of what this one lost (or gained), and the model as much in all
        as the day before, give or take a part; less than the noise shows nothing.
        """
        usual, value = found.statistic.baseline, found.statistic.value
        if found.signal != SIGNAL or found.state != "changed" or usual is None or value is None:
            return False
        end = found.arrival // MINUTE_MS
        begin = min(max(found.change_point, found.arrival - _LOOK_MS) // MINUTE_MS, end - 1)
        now = sum(self.minutes.get(minute, 0) for minute in range(begin, end)) / (end - begin)
        before = self._before(begin * MINUTE_MS - DAY_MS, end * MINUTE_MS - DAY_MS)
        lost = usual - value
        noise = _NOISE * (before / (end - begin)) ** 0.5
        margin = noise if abs(lost) < noise else _MISSING * abs(lost)
        if lost > 0:
            return now - value >= _SHARE * lost and now >= before - margin
        return before - usual >= _SHARE * -lost and now <= before + margin

    def _before(self, begin: int, end: int) -> float:
        """Predictions a minute in the slots that these times, ms, touch, and the next ones."""
        slots = range(begin // SLOT_MS - 1, (end - 1) // SLOT_MS + 2)
        total = sum(self.slots.get(slot, 0) for slot in slots)
        return total * MINUTE_MS / (len(slots) * SLOT_MS)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        named = {"minutes": self.minutes, "slots": self.slots}
        return {name: [list(item) for item in sorted(held.items())] for name, held in named.items()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(dict(map(tuple, dumped["minutes"])), dict(map(tuple, dumped["slots"])))
