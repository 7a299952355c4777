"""Thresholds: windows held against fixed limits, the reference, or the same hour last week.

A window is judged when it is published, and again when revised labels have it published anew: an
alert whose windows turn out not to have violated is retracted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Literal, Self, TypeAlias

from detectors.findings import Finding, clock_text, number, short
from detectors.reference.profile import ReferenceProfile, missing_rate
from detectors.spec import MonitorSpec, Threshold
from detectors.windows.windows import MAX_OPEN
from driftline.alerts import DetectorRef, Kind, Statistic, WindowSummary
from driftline.rules import iso_ms

WEEK_MS: Final = 7 * 24 * 3_600_000
_MISSING: Final = "missing_rate:"
_LEARNING: Final = "the reference is still being learned"

UNKNOWN: Final = "threshold:"
"""What the rule of a threshold follows in a window's reasons, where its baseline is not known."""

Verdict: TypeAlias = Literal["violates", "clear", "between", "none"]


@dataclass(frozen=True, slots=True)
class Known:
    """The reference as a window may know it; `metrics` None: still being learned."""

    profile: ReferenceProfile | None = None
    metrics: Mapping[str, float] | None = None

    def of(self, metric: str) -> float | None:
        """The metric's value in the reference, where there is one."""
        if metric.startswith(_MISSING):
            features = {} if self.profile is None else self.profile.features
            feature = features.get(metric.removeprefix(_MISSING))
            return None if feature is None else missing_rate(feature)
        return None if self.metrics is None else self.metrics.get(metric)

    def why_not(self, metric: str) -> str:
        """Why there is none."""
        if metric.startswith(_MISSING):
            learning = self.profile is None
            return _LEARNING if learning else "the reference has no such feature"
        if self.metrics is None:
            return _LEARNING
        return (
            f"the labels of the reference gave no {metric}; with numbers of its own, as cost "
            "has them, build the reference with this monitor file (--config)"
        )


@dataclass(slots=True)
class Judged:
    """One threshold on the windows so far. All keyed by window start, ms.

    Attributes:
        values: (value, samples) of the windows of the last two weeks and a horizon.
        verdicts: what each said of those it could say something of.
        opened: start of the first window of the violation that is told, None while there is none.
        told: the window that told it.
        over: the window that ended the last violation; those up to it were told of.
    """

    values: dict[int, tuple[float, int]] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    opened: int | None = None
    told: int = 0
    over: int | None = None


class Thresholds:
    """The thresholds of one subject."""

    def __init__(self, spec: MonitorSpec) -> None:
        self.spec = spec
        self.judged = [Judged() for _ in spec.thresholds]
        revised = min(spec.horizon_ms, MAX_OPEN * spec.window_ms)
        self.kept_ms = 2 * WEEK_MS + revised  # a window is judged anew as long as labels come

    def take(self, window: WindowSummary, at: int, known: Known) -> list[Finding]:
        """What a window says that is published at arrival `at`."""
        found = []
        for threshold, judged in zip(self.spec.thresholds, self.judged, strict=True):
            start = iso_ms(window.start) or 0
            reading = _reading(threshold, window)
            if reading is not None:
                judged.values[start] = reading
            judged.verdicts[start] = self._verdict(threshold, judged, start, known)
            self._forget(judged, start)
            finding = self._tell(threshold, judged, start, at, known)
            if finding is not None:
                found.append(finding)
        return found

    def _forget(self, judged: Judged, start: int) -> None:
        oldest = start - self.kept_ms
        keep = {judged.opened, judged.told}
        for stale in [s for s in judged.verdicts if s < oldest and s not in keep]:
            judged.values.pop(stale, None)
            del judged.verdicts[stale]

    def _baseline(
        self, threshold: Threshold, judged: Judged, start: int, known: Known
    ) -> float | None:
        """What the limits are relative to; None: nothing, or it is not known."""
        if threshold.relative == "last_week":
            then = judged.values.get(start - WEEK_MS)
            enough = then is not None and then[1] >= threshold.min_samples
            return then[0] if then is not None and enough else None
        return known.of(threshold.metric) if threshold.relative == "reference" else None

    def unknown(self, window: WindowSummary, known: Known) -> dict[str, str]:
        """Why thresholds cannot say anything of a window that was taken, by `UNKNOWN` and rule."""
        start = iso_ms(window.start) or 0
        told = {}
        for threshold, judged in zip(self.spec.thresholds, self.judged, strict=True):
            relative = threshold.relative
            if relative is None or self._baseline(threshold, judged, start, known) is not None:
                continue
            reason = f"no window a week before with {threshold.min_samples:,} samples"
            if relative == "last_week" and WEEK_MS % self.spec.window_ms:
                reason = "windows of this size do not begin again after a week"
            elif relative == "reference":
                reason = known.why_not(threshold.metric)
            told[UNKNOWN + threshold.rule] = reason
        return told

    def _verdict(self, threshold: Threshold, judged: Judged, start: int, known: Known) -> Verdict:
        value, samples = judged.values.get(start, (0.0, 0))
        baseline = self._baseline(threshold, judged, start, known)
        if samples < threshold.min_samples or (threshold.relative and baseline is None):
            return "none"
        high, low = _high(threshold.above, baseline), _low(threshold.below, baseline)
        if value > high or value < low:
            return "violates"
        if threshold.clear is None:
            return "clear"
        if threshold.above is not None:
            back = value <= _high(threshold.clear, baseline)
        else:
            back = value >= _low(threshold.clear, baseline)
        return "clear" if back else "between"

    def _tell(
        self,
        threshold: Threshold,
        judged: Judged,
        start: int,
        at: int,
        known: Known,
    ) -> Finding | None:
        said = sorted(s for s, verdict in judged.verdicts.items() if verdict != "none")
        n = threshold.for_windows
        if judged.opened is not None:
            run = [s for s in said if judged.opened <= s <= judged.told]
            if any(judged.verdicts[s] != "violates" for s in run) or not run:
                return self._finding(threshold, judged, start, at, "retracted", known)
            after = [s for s in said if s > judged.told][-n:]
            if len(after) == n and all(judged.verdicts[s] == "clear" for s in after):
                judged.over = after[-1]
                return self._finding(threshold, judged, after[-1], at, "recovered", known)
            return None
        at_most = bisect_right(said, start) + n - 1
        for last in range(max(n, at_most - n + 1), min(at_most, len(said)) + 1):
            run = said[last - n : last]  # n windows in a row, this one among them
            if judged.over is not None and run[-1] <= judged.over:
                continue
            if start in run and all(judged.verdicts[s] == "violates" for s in run):
                judged.opened, judged.told = run[0], run[-1]
                return self._finding(threshold, judged, run[-1], at, "changed", known)
        return None

    def _finding(  # noqa: PLR0917  # each is another part of one sentence
        self,
        threshold: Threshold,
        judged: Judged,
        start: int,
        at: int,
        state: Literal["changed", "recovered", "retracted"],
        known: Known,
    ) -> Finding:
        opened = start if judged.opened is None else judged.opened
        if state != "changed":
            judged.opened = None
        value, samples = judged.values.get(start, (0.0, 0))
        baseline = self._baseline(threshold, judged, start, known)
        high, low = _high(threshold.above, baseline), _low(threshold.below, baseline)
        side, limit = ("below", low) if value < low or high == inf else ("above", high)
        end = start + self.spec.window_ms
        what = f"{short(threshold.metric, 60)} {number(value)}"
        told = f"limit {side} {number(limit)}, {samples:,} rows, window from {clock_text(start)}"
        words = {
            "changed": f"{what} is {side} its limit for {threshold.for_windows} windows",
            "recovered": f"{what} is within its limit again",
            "retracted": f"{what}: with revised labels the limit was not passed",
        }
        kind: Kind = "data_quality" if threshold.metric.startswith(_MISSING) else "performance"
        return Finding(
            state=state,
            kind=kind,
            signal=_signal(threshold),
            key=(at,),
            arrival=at,
            ts=end - 1,
            change_point=opened,
            severity="info" if state != "changed" else threshold.severity,
            detector=DetectorRef("threshold", _params(threshold)),
            statistic=Statistic(
                name=threshold.metric,
                value=value,
                threshold=limit,
                baseline=baseline,
                effect_size=None if baseline is None else value - baseline,
                sample_size=samples,
            ),
            rule=threshold.rule,
            summary=short(f"{words[state]} ({told})", 200),
        )

    def dump(self) -> list[dict[str, Any]]:
        """As builtins."""
        return [
            {
                "threshold": repr(threshold),
                "values": [[start, *reading] for start, reading in judged.values.items()],
                "verdicts": [[start, verdict] for start, verdict in judged.verdicts.items()],
                "opened": judged.opened,
                "told": judged.told,
                "over": judged.over,
            }
            for threshold, judged in zip(self.spec.thresholds, self.judged, strict=True)
        ]

    @classmethod
    def load(cls, dumped: Sequence[Mapping[str, Any]], spec: MonitorSpec) -> Self:
        """Goes on from `dump`, with each threshold that is still the same."""
        thresholds = cls(spec)
        old = {each["threshold"]: each for each in dumped}
        for at, threshold in enumerate(spec.thresholds):
            if (each := old.get(repr(threshold))) is not None:
                thresholds.judged[at] = Judged(
                    {start: (value, n) for start, value, n in each["values"]},
                    dict(each["verdicts"]),
                    each["opened"],
                    each["told"],
                    each["over"],
                )
        return thresholds


def _high(above: float | None, baseline: float | None) -> float:
    """The upper limit, infinite where there is none; with a baseline `above` is a share of it."""
    if above is None:
        return inf
    return above if baseline is None else baseline + above * abs(baseline)


def _low(below: float | None, baseline: float | None) -> float:
    """The lower limit, likewise."""
    if below is None:
        return -inf
    return below if baseline is None else baseline - below * abs(baseline)


def _signal(threshold: Threshold) -> str:
    if threshold.metric.startswith(_MISSING):
        return "missing:" + threshold.metric.removeprefix(_MISSING)
    return f"metric:{threshold.metric}"


def _params(threshold: Threshold) -> dict[str, str | bool | int | float]:
    settings = {
        "above": threshold.above,
        "below": threshold.below,
        "clear": threshold.clear,
        "relative": threshold.relative,
        "for_windows": threshold.for_windows,
        "min_samples": threshold.min_samples,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _reading(threshold: Threshold, window: WindowSummary) -> tuple[float, int] | None:
    """(value, samples) of the threshold's metric, None where the window has none."""
    if threshold.metric.startswith(_MISSING):
        feature = threshold.metric.removeprefix(_MISSING)
        value = window.signals.get(f"feature:{feature}", {}).get("missing_rate")
        return None if value is None else (value, window.counts.get("predictions", 0))
    value = window.metrics.get(threshold.metric)
    return None if value is None else (value, window.counts.get("outcomes", 0))
