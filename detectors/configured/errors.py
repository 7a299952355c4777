"""Configured detectors of outcomes: the error, and a regression's residual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from detectors.api import Floats
from detectors.classes import Key
from detectors.configured.feeds import Configured, chosen, restore
from detectors.error_signal import HELD, MEMORY, SIGNAL, ErrorSignal, Place, finding
from detectors.feed import to_ticks
from detectors.findings import Z95, Finding, clock_text, number, short
from detectors.ranked import Ranking
from detectors.reference.profile import Bins, ErrorReference
from detectors.ring import History
from detectors.spec import MonitorSpec
from detectors.watch import Verdict, mean_and_error
from detectors.windows.windows import Detection
from driftline.alerts import DetectorRef, Statistic

Ints: TypeAlias = NDArray[np.int64]

RESIDUAL: Final = "residual"
TOLERANCE_SD: Final = 0.2
"""How far a mean residual may be from the reference's, in its standard deviations."""
_SEVERE_SD: Final = 0.5
_LEAST_SD: Final = 0.1


class ConfiguredErrors:
    """The configured detectors of one subject's outcomes.

    An error of a class is 0 or 1. A residual's size counts by its reference rank, so to a detector
    of errors it is one where it is larger than the reference's median; the residual itself counts
    by its place in a normal law with the reference's bias and spread.
    """

    def __init__(self, spec: MonitorSpec, reference: ErrorReference) -> None:
        self.reference = reference
        self.bins = None if reference.absolute is None else Bins(reference.absolute)
        center, scale = reference.mean, max(reference.sd, _LEAST_SD)
        signals = [SIGNAL]
        if self.bins is not None:
            ranking = Ranking(0, self.bins, reference.phi)
            center, scale = ranking.mean, ranking.sd
            signals.append(RESIDUAL)
        self.detectors = [
            Configured(
                each,
                signal,
                phi=reference.phi,
                center=center if signal == SIGNAL else 0.5,
                scale=scale if signal == SIGNAL else 12**-0.5,  # of uniform ranks
            )
            for signal in signals
            for each in chosen(spec.configured, signal)
        ]

    def prime(self, errors: Floats, residuals: NDArray[Any]) -> None:
        """Shows them the outcomes the reference was learned from, as a past without news."""
        for detector in self.detectors:
            detector.update(self._ticks(detector.signal, errors, residuals))

    def _ticks(self, signal: str, errors: Floats, residuals: NDArray[Any]) -> Ints:
        if self.bins is None:
            return to_ticks(errors)
        if signal == SIGNAL:
            return to_ticks(self.bins.ranks[self.bins.of_numbers(errors)])
        bias, sd = self.reference.bias or 0.0, self.reference.bias_sd or 1.0
        return to_ticks(ndtr((residuals - bias) / sd))

    def step(
        self,
        history: History,
        times: tuple[Ints, Ints],
        begin: int,
        key_of: Callable[[int], Key],
        detections: list[Detection],
    ) -> Iterator[Finding]:
        """Takes the last rows of `history`; adds to `detections`, and yields what was found.

        Args:
            history: the rows held, of which the last ones are new.
            times: event time and arrival of the new rows, ms.
            begin: number of the first new row.
            key_of: order key of a new row, by position.
            detections: where alarms are counted.
        """
        if not self.detectors:
            return
        ts, arrival = times
        n = len(ts)
        errors, residuals = (history.columns[name][-n:] for name in ("error", "a"))
        for detector in self.detectors:
            fired = detector.update(self._ticks(detector.signal, errors, residuals))
            signal, label = detector.signal, detector.label
            detections += [Detection(int(arrival[at]), int(ts[at]), signal, label) for at in fired]
            held: ErrorSignal | ResidualSignal = ErrorSignal(history, self.reference)
            if signal == RESIDUAL:
                held = ResidualSignal(history, self.reference)
            changes = [begin + at for at in fired]
            for verdict in detector.follow(held, begin, begin + n, changes):
                row = verdict.row - begin
                place = Place(key_of(row), int(arrival[row]), int(ts[row]))
                if isinstance(held, ResidualSignal):
                    found = residual_finding(held, verdict, detector.reference, place)
                else:
                    found = finding(held, verdict, detector.reference, place)
                yield replace(found, configured=True)

    @property
    def cold_starts(self) -> int:
        """Detectors that could not go on where they stood."""
        return sum(detector.detector.cold for detector in self.detectors)

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> the detector's statistic."""
        return {(d.signal, d.label): d.detector.statistic for d in self.detectors}

    def dump(self) -> list[dict[str, Any]]:
        """As builtins."""
        return [detector.dump() for detector in self.detectors]

    def restore(self, dumped: list[dict[str, Any]]) -> None:
        """Each goes on where the same one stood."""
        restore(self.detectors, dumped)


@dataclass(frozen=True, slots=True)
class ResidualSignal:
    """Residuals (prediction - label) in the rows held, for the watch: both sides are news."""

    history: History
    reference: ErrorReference
    memory: int = MEMORY

    def values(self, start: int, stop: int) -> tuple[Floats, Sequence[int] | range]:
        """Residuals and row numbers, reaching back at most `HELD` rows."""
        first = self.history.held_from(max(start, stop - HELD))
        return self.history.of("a", first, stop), range(first, stop)

    @property
    def tolerance(self) -> float:
        """How far the mean may be from the reference's."""
        return TOLERANCE_SD * (self.reference.bias_sd or 0.0)

    def deviates(self, values: Floats) -> bool:
        """Beyond the tolerance by at least one standard error."""
        mean, error = mean_and_error(values, self.reference.phi)
        return abs(mean - (self.reference.bias or 0.0)) - error > self.tolerance

    def is_back(self, values: Floats) -> bool:
        """Within the tolerance."""
        mean, _ = mean_and_error(values, self.reference.phi)
        return abs(mean - (self.reference.bias or 0.0)) <= self.tolerance


def residual_finding(
    held: ResidualSignal, verdict: Verdict, detector: DetectorRef, place: Place
) -> Finding:
    """The verdict as a finding, with the mean residual since the change point."""
    reference = held.reference
    values, rows = held.values(verdict.split, verdict.row + 1)
    mean, error = mean_and_error(values, reference.phi)
    since = int(held.history.of("ts", rows[0], rows[0] + 1)[0])
    bias, sd = reference.bias or 0.0, reference.bias_sd or 0.0
    changed = verdict.state == "changed"
    began = f"bias changed about {clock_text(since)}" if changed else "bias is as before again"
    interval = (mean - Z95 * error, mean + Z95 * error)
    effect = (mean - bias) / sd if sd else None
    severe = effect is not None and abs(effect) >= _SEVERE_SD
    told = f"{len(values)} labels, 95 % sure of {number(interval[0])} to {number(interval[1])}"
    return Finding(
        state=verdict.state,
        kind="performance",
        signal=RESIDUAL,
        key=place.key,
        arrival=place.arrival,
        ts=place.ts,
        change_point=since,
        severity="info" if not changed else "critical" if severe else "warning",
        detector=detector,
        statistic=Statistic(
            name="bias",
            value=mean,
            threshold=bias + (held.tolerance if mean >= bias else -held.tolerance),
            baseline=bias,
            effect_size=effect,
            sample_size=len(values),
            interval=interval,
        ),
        summary=short(f"{began}: {number(mean)}, reference {number(bias)} ({told})", 200),
    )
