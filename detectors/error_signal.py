"""Errors as a signal to watch, and what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detectors.api import Floats
from detectors.classes import Key
from detectors.findings import Z95, Finding, clock_text, number, short
from detectors.reference.profile import ErrorReference
from detectors.ring import History
from detectors.watch import Verdict, mean_and_error
from driftline.alerts import DetectorRef, Severity, Statistic

SIGNAL: Final = "error"
MEMORY: Final = 1_000
"""Labels that a recovery takes."""
HELD: Final = 2_000
"""Labels that evidence looks back over."""
TOLERANCE: Final = 0.10
"""Share of the reference's error by which it may be worse, and is still as good as ever."""
LEAST_TOLERANCE: Final = 0.002
"""The same in error rate, for a reference that hardly errs."""
SEVERE: Final = 1.5
"""An error this many times the reference's is critical."""


@dataclass(frozen=True, slots=True)
class ErrorSignal:
    """Errors in the rows held, for the watch."""

    history: History
    reference: ErrorReference
    memory: int = MEMORY

    def values(self, start: int, stop: int) -> tuple[Floats, Sequence[int] | range]:
        """Errors and row numbers, reaching back at most `HELD` rows."""
        first = self.history.held_from(max(start, stop - HELD))
        return self.history.of("error", first, stop), range(first, stop)

    @property
    def limit(self) -> float:
        """The worst mean error that is still as good as the reference's."""
        least = LEAST_TOLERANCE if self.reference.absolute is None else 0.0
        return self.reference.mean + max(TOLERANCE * self.reference.mean, least)

    def deviates(self, values: Floats) -> bool:
        """Worse than the limit by at least one standard error."""
        mean, error = mean_and_error(values, self.reference.phi)
        return mean - error > self.limit

    def is_back(self, values: Floats) -> bool:
        """Within the limit."""
        mean, _ = mean_and_error(values, self.reference.phi)
        return mean <= self.limit


@dataclass(frozen=True, slots=True)
class Place:
    """The row that told a verdict: its order key, arrival and event time in ms."""

    key: Key
    arrival: int
    ts: int


def finding(
    errors: ErrorSignal,
    verdict: Verdict,
    detector: DetectorRef,
    place: Place,
    *,
    since: int | None = None,
    beyond: str = "",
) -> Finding:
    """The verdict as a finding, with the error since the change point or over the recovery.

    It is critical from 1.5 times the reference's error. `since`: event time of the change point,
    where it is known better than by the verdict, ms; `beyond`: how sure it is, in words.
    """
    reference = errors.reference
    values, rows = errors.values(verdict.split, verdict.row + 1)
    mean, error = mean_and_error(values, reference.phi)
    if since is None:
        since = int(errors.history.of("ts", rows[0], rows[0] + 1)[0])
    low, high = max(0.0, mean - Z95 * error), mean + Z95 * error
    rate = reference.absolute is None
    show = (lambda x: f"{x:.1%}") if rate else number
    measure, name = ("error rate", "error_rate") if rate else ("mean absolute error", "mae")
    told = f"{len(values)} labels, 95 % sure of {show(low)} to {show(high)}"
    if verdict.state == "changed":
        summary = (
            f"worse since about {clock_text(since)}: {measure} {show(mean)}, "
            f"reference {show(reference.mean)} ({told}){beyond}"
        )
        severity: Severity = "critical" if mean >= SEVERE * reference.mean else "warning"
    else:
        summary = (
            f"as good as the reference again: {measure} {show(mean)}, "
            f"reference {show(reference.mean)} ({told})"
        )
        severity = "info"
    return Finding(
        state=verdict.state,
        kind="concept_drift" if rate else "performance",
        signal=SIGNAL,
        key=place.key,
        arrival=place.arrival,
        ts=place.ts,
        change_point=since,
        severity=severity,
        detector=detector,
        statistic=Statistic(
            name=name,
            value=mean,
            threshold=errors.limit,
            baseline=reference.mean,
            effect_size=(mean - reference.mean) / reference.sd if reference.sd else None,
            sample_size=len(values),
            interval=(low, high),
        ),
        summary=short(summary, 200),
    )
