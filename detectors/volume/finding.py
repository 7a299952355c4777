"""What the traffic of a subject tells, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from detectors.findings import Finding, clock_text, number, short
from detectors.volume.told import Told
from detectors.volume.watch import MINUTE_MS
from driftline.alerts import DetectorRef, Severity, Statistic

SIGNAL: Final = "volume"
_HALF: Final = 0.5
_WEEK_DAYS: Final = 7


def findings(told: Sequence[Told]) -> Iterator[Finding]:
    """Each change as a finding; its times are arrivals, for what did not come has no `ts`.

    Silence and a fall below half of what is expected are critical.
    """
    for each in told:
        over = each.state == "recovered"
        severity: Severity = "warning"
        if each.rule == "silence" or each.count < _HALF * each.expected:
            severity = "critical"
        yield Finding(
            state=each.state,
            kind="volume",
            signal=SIGNAL,
            key=(each.at,),
            arrival=each.at,
            ts=each.at - 1,
            change_point=each.since,
            severity="info" if over else severity,
            detector=DetectorRef(SIGNAL, {"rule": each.rule, "limit": round(each.limit, 6)}),
            statistic=Statistic(
                name="predictions_per_minute",
                value=each.count * MINUTE_MS / each.unit_ms,
                threshold=None,
                baseline=each.expected * MINUTE_MS / each.unit_ms,
                effect_size=each.value,
                sample_size=each.count,
            ),
            summary=short(_summary(each), 200),
        )


def _summary(told: Told) -> str:
    minute = MINUTE_MS / told.unit_ms
    rate = f"{number(told.count * minute)} predictions a minute"
    usual = f"{number(told.expected * minute)} are usual then"
    if told.state == "recovered":
        return f"traffic is as it was, or has been as it is for days: {rate}, {usual}"
    since = f"since {clock_text(told.since)}"
    known = "" if told.days > _WEEK_DAYS else f"; only {told.days} days are known"
    if told.rule == "silence":
        return f"no predictions {since}; {usual}{known}"
    way = "fewer" if told.rule == "drop" else "more"
    return f"{way} predictions {since}: {rate}, {usual}{known}"
