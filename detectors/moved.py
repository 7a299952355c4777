"""What the bank found, as findings: how far a distribution or a rate moved, and what moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank import Rate, Signal
from detectors.classes import Key
from detectors.distances import PSEUDO_COUNT, excess_psi
from detectors.episodes import Moment
from detectors.findings import (
    Finding,
    clock_text,
    histogram,
    number,
    short,
)
from detectors.reference import CHANGED, Bins, Codes, NumericProfile
from driftline.alerts import Contributor, DetectorRef, Kind, Severity, Statistic

Ints: TypeAlias = NDArray[np.int64]

SLIGHT, STRONG = 0.06, 0.25
"""Excess PSI of a normal signal that shifts by a quarter and by half a standard deviation."""
_CONTRIBUTORS: Final = 3
_SEVERE_RATE: Final = 0.1
"""A share of rows amiss beyond the reference's that is critical."""


@dataclass(frozen=True)
class Moved:
    """Recent codes of a signal against its reference."""

    bins: Bins
    signal: Signal
    codes: Codes

    @property
    def n(self) -> int:
        """Recent rows."""
        return len(self.codes)

    @cached_property
    def current(self) -> Ints:
        """Recent rows per label of the signal, the last label those without a value."""
        return np.bincount(self.signal.label_of[self.codes], minlength=len(self.signal.names))

    @cached_property
    def reference(self) -> Ints:
        """Rows of the reference per label."""
        whole: Ints = self.signal.counts.sum(axis=0)
        return whole

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
    kinds: Mapping[str, Kind] = {"label": "label_drift", "residual": "performance"}
    return (
        "feature_drift" if signal.startswith("feature:") else kinds.get(signal, "prediction_drift")
    )


def shift_finding(
    moment: Moment,
    moved: Moved,
    level: tuple[float, float],
    weak: int | None,
    *,
    key: Key,
    arrival: int,
    ts: int,
) -> Finding:
    """A change of distribution, or its end, as a finding.

    Args:
        moment: what the bank told.
        moved: the rows that are the evidence.
        level: (log-evidence, threshold) of the signal now.
        weak: rows of its reference, if those are few.
        key: order key of the row that told it; `arrival` and `ts` are its times, ms.
        arrival: see `key`.
        ts: see `key`.
    """
    over = moment.state == "closed"
    evidence, threshold = level
    if moment.turn is not None:
        evidence, threshold = moment.turn.log_evidence, moment.turn.log_threshold
    name = short(moment.signal.removeprefix("feature:"), 50)
    what, before = moved.text()
    if over:
        summary = f"{name} is as in the reference again: {what}, reference {before}"
    else:
        summary = (
            f"{name}: {what} since {clock_text(moment.since)}, reference {before}; "
            f"excess PSI {moved.excess:.2f}"
        )
        if moment.state == "opened":
            summary += f"; beyond chance (log evidence {evidence:.0f}, threshold {threshold:.1f})"
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
        statistic=Statistic(
            name="log_evidence",
            value=evidence,
            threshold=threshold,
            baseline=0.0,
            effect_size=moved.excess,
            sample_size=moved.n,
        ),
        histogram=histogram(moved.bins, moved.histogram_codes()),
        contributors=moved.contributors(),
        summary=short(summary, 200),
    )


def rate_finding(
    moment: Moment,
    rate: Rate,
    hits: tuple[int, int],
    level: tuple[float, float],
    *,
    key: Key,
    arrival: int,
    ts: int,
) -> Finding:
    """A rate that left its tolerance, or is back; arguments as of `shift_finding`.

    `hits`: (rows amiss, rows) of the evidence. It is critical where a tenth of the rows more than
    in the reference are amiss, which no model was trained for.
    """
    over = moment.state == "closed"
    evidence, threshold = level
    if moment.turn is not None:
        evidence, threshold = moment.turn.log_evidence, moment.turn.log_threshold
    now, before = hits[0] / max(hits[1], 1), rate.hits / max(rate.n, 1)
    kind, _, feature = moment.signal.partition(":")
    words = {"missing": "missing", "type_changed": "of another type", "unseen": "never seen before"}
    what = f"{short(feature, 50)}: {now:.1%} of values {words[kind]}"
    summary = f"{what}, as in the reference again ({before:.1%})"
    if not over:
        summary = (
            f"{what} since {clock_text(moment.since)}, reference {before:.1%}; "
            f"beyond chance (log evidence {evidence:.0f}, threshold {threshold:.1f})"
        )
    low, high = rate.limits
    severity: Severity = "critical" if now - before >= _SEVERE_RATE else "warning"
    return Finding(
        state="recovered" if over else "changed",
        kind="data_quality",
        signal=moment.signal,
        key=key,
        arrival=arrival,
        ts=ts,
        change_point=moment.since,
        severity="info" if over else severity,
        detector=DetectorRef("srbinary", {"log_threshold": round(threshold, 6)}),
        statistic=Statistic(
            name="rate",
            value=now,
            threshold=low if now < before else high,
            baseline=before,
            effect_size=now - before,
            sample_size=hits[1],
        ),
        summary=short(summary, 200),
    )
