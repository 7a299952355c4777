"""What the bank found of rates, as findings: values missing, mistyped or never seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from detectors.bank import Rate
from detectors.banked.episodes import Moment
from detectors.banked.moved import sureness
from detectors.classes import Key
from detectors.findings import Finding, clock_text, short
from driftline.alerts import DetectorRef, Severity, Statistic

_SEVERE_RATE: Final = 0.1
"""A share of rows amiss beyond the reference's that is critical."""


def rate_finding(
    moment: Moment,
    rate: Rate,
    hits: tuple[int, int],
    threshold: float,
    new: Sequence[str] = (),
    *,
    key: Key,
    arrival: int,
    ts: int,
) -> Finding:
    """A rate that left its tolerance, or is back; arguments as of `moved.shift_finding`.

    `hits`: (rows amiss, rows) of the evidence; `new`: names of features that are new, some. It is
    critical where a tenth of the rows more than in the reference are amiss, which no model was
    trained for.
    """
    over = moment.state == "closed"
    now, before = hits[0] / max(hits[1], 1), rate.hits / max(rate.n, 1)
    kind, _, feature = moment.signal.partition(":")
    words = {"missing": "missing", "type_changed": "of another type", "unseen": "never seen before"}
    what = f"{now:.1%} of rows with features that the reference does not have"
    if feature:
        what = f"{short(feature, 50)}: {now:.1%} of values {words[kind]}"
    elif new:
        what += f" ({', '.join(short(name, 20) for name in new)})"
    summary = f"{what}, as in the reference again ({before:.1%})"
    if not over:
        summary = f"{what} since {clock_text(moment.since)}, reference {before:.1%}"
        summary += sureness(moment)
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
