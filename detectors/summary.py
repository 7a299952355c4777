"""Window summaries: a window's counts as the record on `driftline.windows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.api import Metric, Value
from detectors.classes import ClassTable, Decision
from detectors.feed import TICKS
from detectors.performance.confusion import Confusion, ConfusionView, view
from detectors.performance.regression import Residuals
from detectors.quality.missing import missing_rate
from detectors.registry import metrics_of
from detectors.scoring import Tally, empty_tally
from detectors.signals import Roster
from detectors.spec import MonitorSpec
from detectors.window import Window
from driftline.alerts import Confusion as ConfusionRecord
from driftline.alerts import WindowSummary
from driftline.rules import rfc3339
from driftline.subject import Subject


def measure(
    tally: Tally | None, decision: Decision | None, table: ClassTable, spec: MonitorSpec
) -> dict[str, Value]:
    """Every metric of the task with its value or the reason it has none; none while undecided."""
    if decision is None:
        return {}
    return _values(_base(tally, decision, table), decision, spec)


def _base(tally: Tally | None, decision: Decision, table: ClassTable) -> ConfusionView | Residuals:
    counted = empty_tally(decision.task) if tally is None else tally
    if isinstance(counted, Confusion):
        return view(counted, table.names, decision.positive)
    return counted


def _values(
    base: ConfusionView | Residuals, decision: Decision, spec: MonitorSpec
) -> dict[str, Value]:
    metrics: Sequence[Metric[Any]] = metrics_of(spec, decision.task)  # Any: of this task's tally
    return {metric.name: metric.measure(base) for metric in metrics}


def summarise(
    window: Window,
    at: int,
    *,
    subject: Subject,
    spec: MonitorSpec,
    decision: Decision | None,
    table: ClassTable,
    roster: Roster,
) -> WindowSummary:
    """The record of a window that is published at arrival `at`."""
    values: dict[str, Value] = {}
    confusion = None
    if decision is not None:
        base = _base(window.tally, decision, table)
        values = _values(base, decision, spec)
        if isinstance(base, ConfusionView) and base.n:
            confusion = ConfusionRecord(list(base.classes), base.matrix)
    return WindowSummary(
        model=subject.model,
        version=subject.version,
        start=rfc3339(window.start),
        end=rfc3339(window.start + spec.window_ms),
        size_ms=spec.window_ms,
        revision=window.revision,
        counts={
            "predictions": window.predictions,
            "outcomes": window.outcomes,
            "revisions": window.revisions,
        },
        metrics=numbers(values),
        confusion=confusion,
        signals=_signals(window, at, table, roster),
    )


def _signals(
    window: Window, at: int, table: ClassTable, roster: Roster
) -> dict[str, dict[str, float]]:
    """Statistics by signal: features, predicted classes, and what detectors found."""
    signals = _features(window, at, roster)
    if sum(window.classes.values()) == window.predictions:  # not so where the warm-up ended in it
        shown = sorted((table.names[code], n) for code, n in window.classes.items())
        if shown:
            signals["prediction"] = {f"class:{name}": float(n) for name, n in shown}
    for detector, found in sorted(window.detections.items()):
        for signal, n in sorted(found.items()):
            signals.setdefault(signal, {})[detector] = float(n)
    return signals


def _features(window: Window, at: int, roster: Roster) -> dict[str, dict[str, float]]:
    """Per feature: rows that had it and that did not, of another type, and the mean rank."""
    rows = window.predictions
    present, ranked = window.present.tolist(), window.ranked.tolist()
    changed, ticks = window.changed.tolist(), window.ticks.tolist()
    signals: dict[str, dict[str, float]] = {}
    for number in roster.in_name_order():
        if roster.since[number] >= at:
            continue
        n = present[number] if number < len(present) else 0
        statistics: dict[str, float] = {"n": n, "missing": rows - n}
        rate = missing_rate(rows, n).value
        if rate is not None:
            statistics["missing_rate"] = rate
        if number < len(ranked):
            statistics["type_changed"] = changed[number]
            if ranked[number]:
                statistics["mean_rank"] = ticks[number] / (ranked[number] * TICKS)
        signals[f"feature:{roster.names[number]}"] = statistics
    return signals


def numbers(values: Mapping[str, Value]) -> dict[str, float]:
    """The metrics that have a value."""
    return {name: v.value for name, v in values.items() if v.value is not None}
