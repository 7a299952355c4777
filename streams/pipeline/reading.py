"""A monitor in numbers, for /metrics and the summary of a replay."""

from __future__ import annotations

from typing import Final

from detectors.state import MonitorState
from detectors.windows.summary import bands, errors_of, numbers
from streams.telemetry.readings import Reading

ALL_TIME: Final = "all"
LATEST: Final = "last_1000"
"""The stretches of outcomes that /metrics shows performance over."""


def reading_of(state: MonitorState) -> Reading:
    """A monitor's numbers at this moment, for /metrics and the summary of a replay."""
    metrics: dict[tuple[str, str], float] = {}
    errors: dict[tuple[str, str], float] = {}
    for over in (ALL_TIME, LATEST):
        values = state.values(over)
        metrics |= {(name, over): value for name, value in numbers(values).items()}
        errors |= {(name, over): error for name, error in errors_of(values).items()}
    expected = {
        (name, LATEST, bound): getattr(band, bound)
        for name, band in bands(state.estimated()).items()
        for bound in ("value", "low", "high")
    }
    tallies = ((ALL_TIME, state.total), (LATEST, state.recent.tally()))
    predictions, joined = state.counters["predictions"], state.counters["joined"]
    return Reading(
        counters=dict(state.counters),
        metrics=metrics,
        errors=errors,
        estimated=expected,
        samples={over: tally.n for over, tally in tallies if tally is not None},
        statistics=state.statistics(),
        detections=dict(state.detections),
        active=state.policy.active(),
        transitions=dict(state.policy.transitions),
        coverage=joined / predictions if predictions else None,
        task=state.task,
    )
