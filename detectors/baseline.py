"""Performance in the reference period, for what is relative to it: measured, or learned first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from detectors.reference.profile import ReferenceProfile
from detectors.windows.scoring import Outcomes
from detectors.windows.tallies import TOTAL_CAP, Tally, empty_tally, load_tally

Measured = Callable[[Tally], Mapping[str, float]]
"""Every metric of a tally that has a value."""

_NOT_YET: Final = 1 << 62


@dataclass(slots=True)
class Baseline:
    """Metrics of the first `warmup` labels, where no reference was built over outcomes.

    Attributes:
        metrics: by name; empty until it is complete.
        since: arrival of the label that completed it, ms.
    """

    warmup: int
    metrics: dict[str, float] = field(default_factory=dict)
    since: int = _NOT_YET
    _tally: Tally | None = None
    _n: int = 0

    def take(self, outcomes: Outcomes, measured: Measured) -> None:
        """Takes the outcomes of on-time predictions, in key order; revisions of earlier ones, too.

        `measured` is asked once, when the last label that counts is there.
        """
        if self.since != _NOT_YET or not len(outcomes):
            return
        usable = np.flatnonzero(outcomes.first & ~np.isnan(outcomes.error))
        needed = max(self.warmup, 1) - self._n
        last = len(outcomes) - 1
        if len(usable) >= needed:
            last = int(usable[needed - 1])
        if self._tally is None:
            self._tally = empty_tally(outcomes.entries, TOTAL_CAP)
        self._tally.add(outcomes.entries.of_rows(np.arange(last + 1)))
        self._n += min(len(usable), needed)
        if len(usable) >= needed:
            self.metrics = dict(measured(self._tally))
            self.since, self._tally = int(outcomes.arrival[last]), None

    def at(self, arrival: int, profile: ReferenceProfile | None) -> dict[str, float] | None:
        """The reference's metrics as they were known before this arrival; None: they were not.

        Those of the profile where it was built over outcomes; a profile of an early format tells
        the error alone.
        """
        if profile is not None and profile.metrics:
            return profile.metrics
        learned = self.metrics if self.since < arrival else None
        told = {} if profile is None else of_error(profile)
        return (learned or {}) | told if told or learned is not None else None

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "metrics": self.metrics,
            "since": self.since,
            "tally": None if self._tally is None else self._tally.dump(),
            "n": self._n,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any] | None, warmup: int) -> Self:
        """Goes on from `dump`; None, from a snapshot before there were any: begins to learn."""
        if dumped is None:
            return cls(warmup)
        tally = load_tally(dumped["tally"])
        return cls(warmup, dict(dumped["metrics"]), dumped["since"], tally, dumped["n"])


def of_error(profile: ReferenceProfile) -> dict[str, float]:
    """The metrics that follow from the reference's error alone."""
    error = profile.error
    if error is None:
        return {}
    if profile.task != "regression":
        return {"accuracy": 1 - error.mean}
    known = {"mae": error.mean, "rmse": error.rmse, "bias": error.bias}
    return {name: value for name, value in known.items() if value is not None}
