"""The smaller simulation suite; `make calibrate` runs the whole one."""

from math import log

import numpy as np
import pytest

from tests.detection import laws
from tests.detection.calibrate import CASES, TICK, WEEK_OF_200
from tests.detection.simulation import bank_alarms, bank_delays, rate_alarms, rate_delays

SIGNALS, EVENTS = 20, 65_536


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_false_alarms_keep_the_bound(case):
    """Of threshold c in n ticks, E[alarms] <= n/c for each signal: here c = n, at most 1 each."""
    alarms = bank_alarms(
        case.make,
        signals=5 if case.season or case.n0 > 50_000 else SIGNALS,
        n0=case.n0,
        n=EVENTS,
        log_c=log(EVENTS / TICK),
        shift=case.shift * case.unit,
        season=case.season,
    )
    assert alarms <= 1, case.name


def test_a_low_threshold_keeps_its_bound_too():
    """c = 20: at most 102 alarms a signal in theory; those that come are far fewer, not none."""
    alarms = bank_alarms(laws.normal, signals=SIGNALS, n0=10_000, n=EVENTS, log_c=log(20), seed=3)
    assert alarms / SIGNALS <= EVENTS / TICK / 20


@pytest.mark.parametrize("n0", [10_000, 100_000])
def test_false_alarms_of_a_rate_keep_the_bound(n0):
    alarms = rate_alarms(0.05, signals=50, n0=n0, n=EVENTS, log_c=log(EVENTS / TICK))
    assert alarms <= 2


def test_serial_correlation_would_break_the_bound_without_phi(monkeypatch):
    """So the factor is what holds it, not luck."""
    settings = {"signals": 10, "n0": 20_000, "n": EVENTS, "log_c": log(EVENTS / TICK)}
    law = laws.autocorrelated(0.9)
    assert bank_alarms(law, **settings) == 0
    monkeypatch.setattr("detectors.reference.profiling.phi", lambda scores: (1.0, 0))
    assert bank_alarms(law, **settings) > 100


@pytest.mark.parametrize(
    ("moved", "median"),
    [
        (lambda x: x + 0.25, (1_056, 200)),
        (lambda x: x + 0.5, (224, 64)),
        (lambda x: x + 1.0, (64, 32)),
        (lambda x: x * 1.5, (224, 64)),
    ],
    ids=["+0.25 sd", "+0.5 sd", "+1 sd", "scale x1.5"],
)
def test_delays_are_those_that_were_published_for_the_design(moved, median):
    delays = bank_delays(
        laws.normal, moved, signals=60, n0=10_000, log_c=WEEK_OF_200, quiet=10_016, after=6_000
    )
    assert (delays > 0).all()
    assert np.median(delays) == pytest.approx(median[0], abs=median[1])


def test_a_doubled_error_rate_is_found_as_soon_as_published():
    delays = rate_delays(
        0.05, 0.1, signals=200, n0=100_000, log_c=WEEK_OF_200, quiet=9_984, n=10_000
    )
    assert (delays > 0).all()
    assert np.median(delays) == pytest.approx(1_104, abs=150)
