"""Findings: facts about a signal, with the evidence. Whether a person hears, policy decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.classes import Key
from detectors.reference.profile import Bins, NumericProfile
from driftline.alerts import Contributor, DetectorRef, Histogram, Kind, Severity, Statistic
from driftline.rules import rfc3339

Ints: TypeAlias = NDArray[np.int64]

RULE: Final = "drift"
"""The rule of all that detectors find; a threshold's is its name."""

Z95: Final = 1.96

_LARGEST: Final = float(np.finfo(np.float64).max)
_SLIGHT, _STRONG = 0.06, 0.25
"""Excess PSI of a normal signal that shifts by a quarter and by half a standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A signal changed, or is back.

    Attributes:
        state: "moved": it changed once more while it was not back; "retracted": revised labels
            say that it never was.
        key: order key of the row that told it.
        ts: event time of that row, ms.
        change_point: event time of the first row of the new level, ms, as estimated.
        summary: one sentence for a person, at most 200 characters.
        configured: told by a detector that the monitor's file adds.
    """

    state: Literal["changed", "moved", "recovered", "retracted"]
    kind: Kind
    signal: str
    key: Key
    arrival: int
    ts: int
    change_point: int
    severity: Severity
    detector: DetectorRef
    statistic: Statistic
    histogram: Histogram | None = None
    contributors: tuple[Contributor, ...] = ()
    rule: str = RULE
    summary: str
    configured: bool = False

    @property
    def holder(self) -> str:
        """Who sees the change; a configured detector is not the one that runs anyway."""
        return f"{self.detector.name}, configured" if self.configured else self.detector.name


def clock_text(ms: int) -> str:
    """A time for people: `2026-11-01 10:30 UTC`."""
    text = rfc3339(ms)
    return f"{text[:10]} {text[11:16]} UTC"


def short(text: str, limit: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float) -> str:
    """A number for people: three significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"  # noqa: PLR2004


def excess_psi(reference: Ints, current: Ints) -> float:
    """Population stability index of bin counts beyond what sampling alone would give; may be < 0.

    Half a row is added to each bin. Source: Kullback & Leibler 1951 (the J divergence); its null,
    (1/n + 1/m) chi-squared with K - 1 degrees of freedom, Yurdakul & Naranjo 2020, "Statistical
    properties of the population stability index", J. Risk Model Validation 14 (4).
    """
    p, q = reference + 0.5, current + 0.5
    p, q = p / p.sum(), q / q.sum()
    psi = float(np.sum((q - p) * np.log(q / p)))
    bins = int(np.count_nonzero((reference > 0) | (current > 0)))
    n, m = max(int(reference.sum()), 1), max(int(current.sum()), 1)
    return psi - max(bins - 1, 0) * (1 / n + 1 / m)


def severity_of_shift(reference: Ints, current: Ints) -> Severity:
    """How far a distribution moved: info, from a quarter sd warning, from half an sd critical."""
    psi = excess_psi(reference, current)
    return "critical" if psi > _STRONG else "warning" if psi >= _SLIGHT else "info"


def shift_text(bins: Bins, current: Ints) -> str:
    """What moved, in the feature's own terms."""
    reference = bins.counts
    if isinstance(bins.profile, NumericProfile):
        outside = int(current[0] + current[-1]) / max(int(current.sum()), 1)
        if outside > 0.5:  # noqa: PLR2004  # the typical value lies where the reference had none
            where = "below" if current[0] > current[-1] else "above"
            limit = bins.profile.low if where == "below" else bins.profile.edges[-1]
            return f"{outside:.0%} of values lie {where} {number(limit)}, the reference's limit"
        return f"median {_median(bins, current)}, before {_median(bins, reference)}"
    before, now = _shares(reference), _shares(current)
    at = int(np.argmax(np.abs(now - before)))
    return f"{short(bins.label(at), 40)} {now[at]:.0%} of values, before {before[at]:.0%}"


def _median(bins: Bins, counts: Ints) -> str:
    """The median by linear interpolation within its bin."""
    assert isinstance(bins.profile, NumericProfile)
    inner = counts[1:-1]
    target = counts.sum() / 2 - counts[0]
    below = np.cumsum(inner) - inner
    at = int(np.clip(np.searchsorted(below, target, "right") - 1, 0, len(inner) - 1))
    edges = (bins.profile.low, *bins.profile.edges)
    share = float(np.clip((target - below[at]) / max(int(inner[at]), 1), 0, 1))
    return number(edges[at] + share * (edges[at + 1] - edges[at]))


def _shares(counts: Ints) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / max(int(counts.sum()), 1)
    return shares


def histogram(bins: Bins, current: Ints) -> Histogram | None:
    """Reference and current shares per bin of a numeric feature, outer bins closed at its range.

    None for categories: the contract's histogram has numeric edges.
    """
    if not isinstance(bins.profile, NumericProfile):
        return None
    low, edges = bins.profile.low, bins.profile.edges
    margin = (edges[-1] / 10 - low / 10) or abs(low) or 1.0
    outer = [max(low - margin, -_LARGEST), min(edges[-1] + margin, _LARGEST)]
    return Histogram(
        edges=[outer[0], low, *edges, outer[1]],
        reference=_shares(bins.counts).tolist(),
        current=_shares(current).tolist(),
    )
