"""From one number a person sets, false alarms per week and model version, to every threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Final

TICK: Final = 32
"""Events of a signal between two looks at its evidence."""
WIDE_TICK: Final = 128
MANY_SIGNALS: Final = 500
"""Above so many signals ticks are wide, or their arrays fall out of the processor's cache."""

LEAST_LOG_THRESHOLD: Final = 6.9
"""Evidence of 1000 to 1, however slow the traffic: what is rare is not therefore convincing."""
SUSPECTED: Final = 2.3
"""Log-evidence below the threshold at which a signal is suspected: ten times the budget."""
FALSE_PER_WEEK: Final = 1.0

SHARES: Final[Mapping[str, float]] = {
    "performance": 0.4,
    "scores": 0.2,
    "features": 0.2,
    "groups": 0.1,
    "operations": 0.1,
}
"""How the budget is split over families of signals; of absent families the others take over."""


def tick_size(signals: int) -> int:
    """Events per tick for a bank of so many signals."""
    return WIDE_TICK if signals > MANY_SIGNALS else TICK


def ticks_per_day(events: int, span_ms: int, tick: int = TICK) -> float:
    """How many ticks a day of such traffic has; at least one, so a still signal has a threshold."""
    day_ms = 86_400_000
    return max(events / tick * day_ms / max(span_ms, 1), 1.0)


def weights(families: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Each signal's share of the budget; they add up to 1.

    Args:
        families: signal names by family, whose names are those of `SHARES`.
    """
    present = {family: names for family, names in families.items() if names}
    whole = sum(SHARES[family] for family in present)
    return {
        name: SHARES[family] / whole / len(names)
        for family, names in present.items()
        for name in names
    }


def log_threshold(daily_ticks: float, weight: float, per_week: float = FALSE_PER_WEEK) -> float:
    """The log-evidence at which a signal alarms.

    With E[alarms in n ticks] <= n/c for each signal, c = ticks a day / (budget a day * weight)
    makes all signals together cost at most the budget, whatever their dependence.

    Args:
        daily_ticks: ticks of the signal a day.
        weight: its share of the budget, in (0, 1].
        per_week: false alarms a week that the model version may cost; > 0.
    """
    return max(log(daily_ticks) - log(per_week / 7 * weight), LEAST_LOG_THRESHOLD)


def expected_per_week(thresholds: Sequence[float], daily_ticks: Sequence[float]) -> float:
    """The most false alarms a week, in the mean, that these thresholds allow in all."""
    pairs = zip(thresholds, daily_ticks, strict=True)
    return sum(7 * daily * exp(-threshold) for threshold, daily in pairs)


def also_moved(
    log_evidence: Mapping[str, float], daily_ticks: float, per_week: float = FALSE_PER_WEEK
) -> list[str]:
    """Which signals moved, strongest first, when several may have: those to name together.

    The k strongest, for the greatest k whose weakest still has evidence of J/k times the whole
    budget's threshold; valid under any dependence between the J signals.

    Source: Wang & Ramdas 2022, "False discovery rate control with e-values", J. R. Stat. Soc. B
        84 (3); for e-detectors Dandapanthula & Ramdas 2025, arXiv 2501.04130.
    """
    ranked = sorted(log_evidence, key=lambda name: (-log_evidence[name], name))
    least = log(daily_ticks) - log(per_week / 7) + log(max(len(ranked), 1))
    reached = [k for k, name in enumerate(ranked, 1) if log_evidence[name] >= least - log(k)]
    return ranked[: max(reached, default=0)]
