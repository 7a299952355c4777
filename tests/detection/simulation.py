"""False alarms and delays of the bank and of River's detectors, by simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from river import drift

from detectors.bank import Bank, Rate, Rates, Signal, signal_of
from detectors.bank.season import hourly_counts, phi_within_hours
from detectors.reference import profiling
from detectors.reference.profile import Bins
from tests.detection.laws import Stream, hours

CHUNK = 4_096


@dataclass(frozen=True)
class Reference:
    """A signal with its bins and how its hours are to be read."""

    signal: Signal
    bins: Bins


def reference(stream: Stream, n0: int, at: int, *, season: bool) -> Reference:
    """The signal of the next n0 values; `season`: with hour-of-day profiles."""
    start = stream.at
    values = stream.draw(n0)
    profile = profiling.numeric(values)
    bins = Bins(profile)
    signal = None
    if season:
        codes, of_hour = bins.of_numbers(values), hours(start, n0)
        counts = hourly_counts(codes, of_hour, len(bins.counts))
        factor, _ = phi_within_hours(np.stack([values, values**2], axis=1), of_hour)
        signal = signal_of(f"s{at}", profile, at, hourly=counts, phi=factor)
    else:
        signal = signal_of(f"s{at}", profile, at)
    assert signal is not None
    return Reference(signal, bins)


def bank_alarms(make, *, signals, n0, n, log_c, shift=0.0, season=False, seed=0) -> int:
    """Alarms of `signals` streams of n events; each starts anew after an alarm, without a gate."""
    streams = [Stream(make, (seed, at)) for at in range(signals)]
    known = [reference(s, n0, at, season=season) for at, s in enumerate(streams)]
    bank = Bank([r.signal for r in known], {r.signal.name: log_c for r in known}, gate=-np.inf)
    held = np.zeros((signals, 0), np.uint8)
    alarms, begin = 0, streams[0].at
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        fresh = [
            r.bins.of_numbers(s.draw(size) + shift) for r, s in zip(known, streams, strict=True)
        ]
        held = np.concatenate([held[:, -bank.held :], fresh], axis=1)
        of_row = hours(begin + start + size - held.shape[1], held.shape[1]) if season else None
        for turn in bank.step(held, size, of_row):
            alarms += turn.state == "opened"
            bank.close(turn.signal)
    return alarms


def bank_delays(make, moved, *, signals, n0, log_c, quiet, after, season=False, seed=0):
    """Events from the change to the alarm of each stream, gate included; infinite: not found."""
    streams = [Stream(make, (seed, at)) for at in range(signals)]
    known = [reference(s, n0, at, season=season) for at, s in enumerate(streams)]
    bank = Bank([r.signal for r in known], {r.signal.name: log_c for r in known})
    begin = streams[0].at
    rows = []
    for r, s in zip(known, streams, strict=True):
        before, then = s.draw(quiet), s.draw(after)
        rows.append(r.bins.of_numbers(np.concatenate([before, moved(then)])))
    codes = np.stack(rows)
    first: dict[str, int] = {}
    for start in range(0, codes.shape[1], CHUNK):
        stop = min(start + CHUNK, codes.shape[1])
        low = max(start - bank.held, 0)
        of_row = hours(begin + low, stop - low) if season else None
        for turn in bank.step(codes[:, low:stop], stop - start, of_row):
            if turn.state == "opened":
                first.setdefault(turn.signal, turn.row + 1 - quiet)
    return np.array([first.get(r.signal.name, np.inf) for r in known])


def rates(n0: int, p: float, signals: int, rng: np.random.Generator) -> list[Rate]:
    """0/1 signals of true rate p whose references are samples of n0."""
    return [Rate(f"r{at}", int(rng.binomial(n0, p)), n0) for at in range(signals)]


def rate_alarms(p, *, signals, n0, n, log_c, seed=0) -> int:
    """Alarms of 0/1 streams of n events each."""
    rng = np.random.default_rng(seed)
    known = rates(n0, p, signals, rng)
    bank = Rates(known, {rate.name: log_c for rate in known})
    alarms = 0
    for start in range(0, n, CHUNK):
        for turn in bank.step(rng.random((signals, min(CHUNK, n - start))) < p):
            alarms += turn.state == "opened"
            bank.close(turn.signal)
    return alarms


def rate_delays(before, after, *, signals, n0, log_c, quiet, n, seed=0):
    """Events from a rate's change to the alarm of each stream."""
    rng = np.random.default_rng(seed)
    known = rates(n0, before, signals, rng)
    bank = Rates(known, {rate.name: log_c for rate in known})
    first: dict[str, int] = {}
    p = np.where(np.arange(quiet + n) < quiet, before, after)
    for start in range(0, quiet + n, CHUNK):
        part = p[start : start + CHUNK]
        for turn in bank.step(rng.random((signals, len(part))) < part):
            if turn.state == "opened":
                first.setdefault(turn.signal, turn.row + 1 - quiet)
    return np.array([first.get(rate.name, np.inf) for rate in known])


def river_alarms(name: str, values: np.ndarray) -> list[int]:
    """Where River's detector at its defaults says that the values changed."""
    detector = {"adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley}[name]()
    found = []
    for at, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
    return found


def river_delays(name, make, moved, *, streams, quiet, after, seed=0):
    """Events from the change to the first alarm after it, of fresh detectors."""
    delays = []
    for at in range(streams):
        stream = Stream(make, (seed, at))
        before, then = stream.draw(quiet), stream.draw(after)
        found = river_alarms(name, np.concatenate([before, moved(then)]))
        later = [position - quiet + 1 for position in found if position >= quiet]
        delays.append(min(later, default=np.inf))
    return np.array(delays)
