"""What a plan says of detectors outside the budget: nobody proved how often they cry wolf.

Their alarms where nothing changes were measured, once, on independent values at their defaults
(`Detector.quiet`). An alarm is counted and shown; it becomes an alert only where the detector may
open one and the values since the change lie beyond the tolerance, so alerts are fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from detectors.configured.feeds import Configured
from detectors.registry import DETECTORS, SHORT
from detectors.spec import DetectorSpec, MonitorSpec
from detectors.state import MonitorState

WEEK_S: Final = 7 * 86_400
EVERYWHERE: Final = "every feature and the error"
_HARMLESS: Final = {"seed"}
"""Settings that do not change how often it alarms."""


@dataclass(frozen=True, slots=True)
class Unbounded:
    """One entry of `drift: {detectors: [...]}`.

    Attributes:
        on: its signals as the file names them.
        signals: how many there are; None: not known before the warm-up.
        alarms: a week, where nothing changes and every prediction gets a label; None: not measured
            at these settings, or its signals or the traffic are not known.
    """

    detector: str
    on: str
    opens: bool
    signals: int | None
    alarms: float | None


def unbounded(
    spec: MonitorSpec, state: MonitorState | None, rate: float | None
) -> tuple[Unbounded, ...]:
    """One per entry, in the file's order; `rate`: predictions a second."""
    return tuple(_entries(spec, state, rate))


def _entries(
    spec: MonitorSpec, state: MonitorState | None, rate: float | None
) -> Iterator[Unbounded]:
    values = None if rate is None else rate * WEEK_S
    for name in spec.detectors:
        sizes = None if state is None else _adwins(state)
        quiet = DETECTORS[name].quiet if name in SHORT else None
        yield Unbounded(name, EVERYWHERE, True, _count(sizes), _alarms(quiet, sizes, values))
    for each in spec.configured:
        sizes = None if state is None else [d.size for d in _built(state) if d.spec == each]
        on = ", ".join(each.on)
        alarms = _alarms(_quiet(each), sizes, values)
        yield Unbounded(each.name, on, each.opens, _count(sizes), alarms)


def _count(sizes: list[int] | None) -> int | None:
    return None if sizes is None else len(sizes)


def _quiet(each: DetectorSpec) -> float | None:
    """Alarms per million values; None where it is set otherwise than it was measured."""
    settings = DETECTORS[each.name].settings
    changed = {name for name, value in each.params.items() if value != settings[name].default}
    return DETECTORS[each.name].quiet if changed <= _HARMLESS else None


def _alarms(quiet: float | None, sizes: list[int] | None, values: float | None) -> float | None:
    """A week, for detectors that are fed the means of so many values each."""
    if quiet is None or sizes is None or values is None:
        return None
    return quiet / 1e6 * sum(values / size for size in sizes)


def _built(state: MonitorState) -> list[Configured]:
    """The configured detectors that run."""
    rows = [] if state.features is None else [d for _, d in state.features.configured.detectors]
    errors = state.concept.configured
    return rows + ([] if errors is None else errors.detectors)


def _adwins(state: MonitorState) -> list[int]:
    """How many values in a row each ADWIN that always runs is fed the mean of."""
    features = [] if state.features is None else state.features.watched
    error = state.concept.detectors
    return [f.feed.size for _, f in features] + ([] if error is None else [error.feed.size])
