"""What the bank found, as findings: how far a distribution moved, and what moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank import Signal, expected_counts
from detectors.banked.episodes import Moment
from detectors.banked.levels import Move
from detectors.classes import Key
from detectors.distances import PSEUDO_COUNT, excess_psi
from detectors.findings import (
    Finding,
    clock_text,
    histogram,
    number,
    short,
)
from detectors.reference.profile import CHANGED, Bins, Codes, NumericProfile
from detectors.served import ATTRIBUTION, LATENCY
from detectors.texts import LENGTH, TOKENS
from driftline.alerts import Contributor, DetectorRef, Kind, Severity, Statistic

Ints: TypeAlias = NDArray[np.int64]

SLIGHT, STRONG = 0.06, 0.25
"""Excess PSI of a normal signal that shifts by a quarter and by half a standard deviation."""
_CONTRIBUTORS: Final = 3


@dataclass(frozen=True)
class Moved:
    """Recent codes of a signal against its reference; `hours`: of day, where it has such."""

    bins: Bins
    signal: Signal
    codes: Codes
    hours: Ints | None = None

    @property
    def n(self) -> int:
        """Recent rows."""
        return len(self.codes)

    @cached_property
    def current(self) -> Ints:
        """Recent rows per label of the signal, the last label those without a value."""
        return np.bincount(self.signal.label_of[self.codes], minlength=len(self.signal.names))

    @cached_property
    def reference(self) -> Floats:
        """Rows of the reference per label, at the hours of the recent rows."""
        return expected_counts(self.signal.counts, self.hours)

    @cached_property
    def excess(self) -> float:
        """PSI beyond noise."""
        return excess_psi(self.reference, self.current, phi=self.signal.phi)

    @property
    def severity(self) -> Severity:
        """By effect: from a quarter sd warning, from half an sd critical."""
        return (
            "critical" if self.excess > STRONG else "warning" if self.excess >= SLIGHT else "info"
        )

    @property
    def shares(self) -> tuple[Floats, Floats]:
        """(reference, current) share of each label."""
        before = self.reference / max(int(self.reference.sum()), 1)
        return before, self.current / max(self.n, 1)

    def contributors(self) -> tuple[Contributor, ...]:
        """The labels that add most to the PSI, with their share of it."""
        p, q = self.reference + PSEUDO_COUNT, self.current + PSEUDO_COUNT
        p, q = p / p.sum(), q / q.sum()
        terms = (q - p) * np.log(q / p)
        whole = float(terms.sum())
        best = np.argsort(-terms, kind="stable")[:_CONTRIBUTORS]
        return tuple(
            Contributor(
                f"{self.signal.name}={self.signal.names[at]}",
                round(float(terms[at]) / whole, 4),
                "up" if q[at] > p[at] else "down",
            )
            for at in best.tolist()
            if whole > 0 and terms[at] > 0
        )

    def histogram_codes(self) -> Ints:
        """Recent rows with a value, per bin."""
        return np.bincount(self.codes[self.codes < CHANGED], minlength=len(self.bins.counts))

    def text(self) -> tuple[str, str]:
        """What moved most, as "41 % of values above 200", and its share of the reference."""
        before, now = self.shares
        gap = np.abs(now - before)
        at = int(np.argmax(gap))
        profile = self.bins.profile
        if at == len(gap) - 1 or not isinstance(profile, NumericProfile):
            return f"{now[at]:.0%} {_named(self.signal.names[at])}", f"{before[at]:.0%}"
        above = np.cumsum((now - before)[:-1])  # how much more lies up to each bin's upper edge
        cut = int(np.argmax(np.abs(above[:-1])))
        if abs(above[cut]) <= gap[at]:
            return f"{now[at]:.0%} of values {self.signal.names[at]}", f"{before[at]:.0%}"
        edge = number((profile.low, *profile.edges)[cut])
        if above[cut] < 0:
            return f"{now[cut + 1 : -1].sum():.0%} of values above {edge}", (
                f"{before[cut + 1 : -1].sum():.0%}"
            )
        return f"{now[: cut + 1].sum():.0%} of values up to {edge}", (
            f"{before[: cut + 1].sum():.0%}"
        )


def _named(label: str) -> str:
    if label in ("missing", "other values", "new values"):
        return label
    return f"of values {short(label, 40)}"


def kind_of(signal: str) -> Kind:
    """The kind of alert that a binned signal's change is."""
    if signal == LATENCY:
        return "latency"
    if signal.startswith(ATTRIBUTION):
        return "attribution_drift"
    if signal == "label":
        return "label_drift"
    if signal == "residual":
        return "performance"
    features = ("feature:", LENGTH, TOKENS)
    return "feature_drift" if signal.startswith(features) else "prediction_drift"


def _called(signal: str) -> str:
    """A signal as a person would call it."""
    if signal == LATENCY:
        return "latency in ms"
    if signal.startswith(ATTRIBUTION):
        return f"influence of {short(signal.removeprefix(ATTRIBUTION), 50)}"
    if signal.startswith(LENGTH):
        return f"length of {short(signal.removeprefix(LENGTH), 50)}"
    if signal.startswith(TOKENS):
        return f"share of known words in {short(signal.removeprefix(TOKENS), 50)}"
    return short(signal.removeprefix("feature:"), 50)


def shift_finding(
    moment: Moment,
    moved: Moved,
    threshold: float,
    weak: int | None,
    influence: float | None = None,
    *,
    key: Key,
    arrival: int,
    ts: int,
) -> Finding:
    """A change of distribution, or its end, as a finding.

    Args:
        moment: what the bank told.
        moved: the rows that are the evidence.
        threshold: log-evidence that opens an episode of the signal.
        weak: rows of its reference, if those are few.
        influence: the feature's share of all attribution in the reference, if it is known.
        key: order key of the row that told it; `arrival` and `ts` are its times, ms.
        arrival: see `key`.
        ts: see `key`.
    """
    over = moment.state == "closed"
    name = _called(moment.signal)
    what, before = moved.text()
    if over:
        summary = f"{name} is as in the reference again: {what}, reference {before}"
    else:
        summary = (
            f"{name}: {what} since {clock_text(moment.since)}, reference {before}; "
            f"excess PSI {moved.excess:.2f}"
        )
        summary += sureness(moment)
    if influence is not None and not over:
        summary += f"; {influence:.0%} of the influence"
    if weak is not None:
        summary += f"; weak reference ({weak:,} rows)"
    return Finding(
        state="recovered" if over else "changed",
        kind=kind_of(moment.signal),
        signal=moment.signal,
        key=key,
        arrival=arrival,
        ts=ts,
        change_point=moment.since,
        severity="info" if over else moved.severity,
        detector=DetectorRef("srbins", {"log_threshold": round(threshold, 6)}),
        statistic=_statistic(moment, moved),
        histogram=histogram(moved.bins, moved.histogram_codes()),
        contributors=moved.contributors(),
        summary=short(summary, 200),
    )


def moved_finding(
    move: Move, to_level: Moved, to_reference: Moved, since: int, *, key: Key, arrival: int, ts: int
) -> Finding:
    """A signal that had changed and changed once more.

    Args:
        move: what the bank of its level told.
        to_level: the rows that are the evidence, against the level.
        to_reference: the same rows against the pinned reference, which decides severity.
        since: event time of the first row of the new level, ms.
        key: as in `shift_finding`, and so are `arrival` and `ts`.
        arrival: see `key`.
        ts: see `key`.
    """
    signal, turn = to_level.signal.name, move.turn
    what, before = to_level.text()
    summary = (
        f"{_called(signal)} moved again: {what} since {clock_text(since)}, before that {before}; "
        f"excess PSI {to_reference.excess:.2f} to the reference"
    )
    return Finding(
        state="moved",
        kind=kind_of(signal),
        signal=signal,
        key=key,
        arrival=arrival,
        ts=ts,
        change_point=since,
        severity=to_reference.severity,
        detector=DetectorRef("srbins", {"log_threshold": round(turn.log_threshold, 6)}),
        statistic=Statistic(
            name="log_evidence",
            value=turn.log_evidence,
            threshold=turn.log_threshold,
            baseline=0.0,
            effect_size=to_reference.excess,
            sample_size=to_reference.n,
        ),
        histogram=histogram(to_reference.bins, to_reference.histogram_codes()),
        contributors=to_level.contributors(),
        summary=short(summary, 200),
    )


def sureness(moment: Moment) -> str:
    """How sure an opening is, in words; what is open is not told again."""
    if moment.turn is None or moment.state != "opened":
        return ""
    evidence, threshold = moment.turn.log_evidence, moment.turn.log_threshold
    return f"; beyond chance (log evidence {evidence:.0f}, threshold {threshold:.1f})"


def _statistic(moment: Moment, moved: Moved) -> Statistic:
    """What the finding stands on: evidence at a turn, the effect where an open episode grew."""
    value, threshold = moved.excess, STRONG if moved.excess > STRONG else SLIGHT
    if moment.turn is not None:
        value, threshold = moment.turn.log_evidence, moment.turn.log_threshold
    return Statistic(
        name="excess_psi" if moment.turn is None else "log_evidence",
        value=value,
        threshold=threshold,
        baseline=0.0,
        effect_size=moved.excess,
        sample_size=moved.n,
    )
