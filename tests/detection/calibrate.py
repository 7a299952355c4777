"""`python -m tests.detection.calibrate`: what the detectors cost in false alarms, and in delay.

Prints, per kind of stream, false alarms per million events with nothing changing, and the events
it takes to find a shift by half a standard deviation; the bank beside River's ADWIN and
Page-Hinkley at their defaults. Fails where the bank breaks its bound.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import log

import numpy as np

from tests.detection import laws
from tests.detection.simulation import (
    bank_alarms,
    bank_delays,
    rate_alarms,
    rate_delays,
    river_alarms,
    river_delays,
)

WEEK_OF_200 = 17.6
"""Threshold of one false alarm a week at 200 signals of a million events a day."""
TICK = 32
RATE_RUNS = 400
"""Error streams whose delay is measured: with 40 the median's standard error is a tenth of it."""


@dataclass(frozen=True)
class Case:
    """A law without change. `proved`: the bound is a theorem here, not a heuristic."""

    name: str
    make: object
    n0: int = 10_000
    shift: float = 0.0
    unit: float = 1.0
    season: bool = False
    proved: bool = True
    delay: bool = True
    rivals: bool = True


CASES = (
    Case("normal, n0 1k", laws.normal, n0=1_000, delay=False, rivals=False),
    Case("normal", laws.normal),
    Case("normal, n0 100k", laws.normal, n0=100_000, rivals=False),
    Case("normal, moved by 0.04 sd", laws.normal, n0=100_000, shift=0.04, delay=False),
    Case("normal times 100", laws.scaled, unit=100.0),
    Case("lognormal", laws.lognormal, unit=2.16),
    Case("counts (Poisson 2)", laws.tied, unit=2**0.5),
    Case("AR(1) 0.5", laws.autocorrelated(0.5), n0=100_000, proved=False),
    Case("AR(1) 0.9", laws.autocorrelated(0.9), n0=100_000, proved=False),
    Case("daily cycle 0.3 sd", laws.seasonal(0.3), n0=20 * laws.PER_DAY, season=True),
    Case("daily cycle 0.6 sd", laws.seasonal(0.6), n0=20 * laws.PER_DAY, season=True),
)


def main(signals: int = 100, n: int = 1_000_000) -> int:
    """Runs all cases; returns the exit code."""
    broken = []
    log_c = log(n / TICK)
    print(f"False alarms per million events, {signals} signals of {n:,} events each; the bank at")
    print(f"log c {log_c:.1f}, where its bound is {1e6 / n:.2g}; delays at log c {WEEK_OF_200}\n")
    print(f"{'stream':26}{'bank':>8}{'ADWIN':>10}{'P-H':>10}   delay of +0.5 sd, median (90 %)")
    for case in CASES:
        alarms = _alarms(case, signals, n, log_c)
        if case.proved and alarms > 1e6 / n:
            broken.append(case.name)
        print(f"{case.name:26}{alarms:8.3g}{_rivals(case, n)}{_delays(case)}", flush=True)
    broken += _rates(signals, n, log_c)
    for name in broken:
        print(f"BROKEN: {name}: more false alarms than the bound allows")
    if not broken:
        print(
            f"\nThe bound, {1e6 / n:.2g} per million, holds in each of the cases it is proved for."
        )
    return 1 if broken else 0


def _alarms(case: Case, signals: int, n: int, log_c: float) -> float:
    found = bank_alarms(
        case.make,
        signals=signals // 5 if case.season else signals,
        n0=case.n0,
        n=n,
        log_c=log_c,
        shift=case.shift * case.unit,
        season=case.season,
    )
    return found / (signals // 5 if case.season else signals) / n * 1e6


def _rivals(case: Case, n: int) -> str:
    if not case.rivals:
        return " " * 20
    values = laws.Stream(case.make, (1,)).draw(n)
    each = [len(river_alarms(name, values)) / n * 1e6 for name in ("adwin", "page_hinkley")]
    return "".join(f"{alarms:10,.0f}" for alarms in each)


def _delays(case: Case) -> str:
    if not case.delay:
        return ""

    def moved(values):
        return values + case.unit / 2

    ours = bank_delays(
        case.make,
        moved,
        signals=40,
        n0=case.n0,
        log_c=WEEK_OF_200,
        quiet=10_000,
        after=20_000,
        season=case.season,
    )
    parts = [f"bank {_spread(ours)}"]
    for name, short in (("adwin", "ADWIN"), ("page_hinkley", "P-H")) if case.rivals else ():
        theirs = river_delays(name, case.make, moved, streams=20, quiet=10_000, after=5_000)
        parts.append(f"{short} {_spread(theirs)}")
    return "   " + ", ".join(parts)


def _spread(delays: np.ndarray) -> str:
    return f"{np.median(delays):,.0f} ({np.quantile(delays, 0.9, method='higher'):,.0f})"


def _median(delays: np.ndarray) -> str:
    """Median with its standard error from order statistics, which needs no law of the delays.

    The ranks n/2 +- sqrt(n)/2 lie one standard error of a binomial around the median's.
    """
    ordered = np.sort(delays)
    low, high = (int(len(ordered) / 2 + sign * len(ordered) ** 0.5 / 2) for sign in (-1, 1))
    error = (ordered[min(high, len(ordered) - 1)] - ordered[low]) / 2
    ninth = np.quantile(delays, 0.9, method="higher")
    return f"{np.median(delays):,.0f} +- {error:,.0f} ({ninth:,.0f})"


def _rates(signals: int, n: int, log_c: float) -> list[str]:
    broken = []
    for n0 in (10_000, 100_000):
        alarms = rate_alarms(0.05, signals=signals, n0=n0, n=n, log_c=log_c) / signals / n * 1e6
        name = f"errors 5 %, n0 {n0 // 1000}k"
        values = (np.random.default_rng(1).random(n) < 0.05).astype(float)
        each = [len(river_alarms(rival, values)) / n * 1e6 for rival in ("adwin", "page_hinkley")]
        delays = rate_delays(
            0.05, 0.1, signals=RATE_RUNS, n0=n0, log_c=WEEK_OF_200, quiet=10_000, n=50_000
        )
        rivals = "".join(f"{found:10,.0f}" for found in each)
        print(f"{name:26}{alarms:8.3g}{rivals}   5 to 10 %: bank {_median(delays)}", flush=True)
        if alarms > 1e6 / n:
            broken.append(name)
    return broken


if __name__ == "__main__":
    sys.exit(main(*(int(text) for text in sys.argv[1:])))
