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
    counted = empty_tally(decision.task) if tally is None else tally
    base: ConfusionView | Residuals
    if isinstance(counted, Confusion):
        base = view(counted, table.names, decision.positive)
    else:
        base = counted
    metrics: Sequence[Metric[Any]] = metrics_of(spec, decision.task)  # Any: of this task's tally
    return {metric.name: metric.measure(base) for metric in metrics}


def summarise(
    window: Window,
    at: int,
    subject: Subject,
    spec: MonitorSpec,
    decision: Decision | None,
    table: ClassTable,
    roster: Roster,
) -> WindowSummary:
    """The record of a window that is published at arrival `at`."""
    values = measure(window.tally, decision, table, spec)
    confusion = None
    if isinstance(window.tally, Confusion) and decision is not None:
        seen = view(window.tally, table.names, decision.positive)
        confusion = ConfusionRecord(list(seen.classes), seen.matrix.tolist())
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
        metrics={name: v.value for name, v in values.items() if v.value is not None},
        confusion=confusion,
        signals=_signals(window, at, table, roster),
    )


def _signals(
    window: Window, at: int, table: ClassTable, roster: Roster
) -> dict[str, dict[str, float]]:
    """Statistics by signal: features, predicted classes, and what detectors found."""
    signals: dict[str, dict[str, float]] = {}
    for name in sorted(
        n for n, since in zip(roster.names, roster.since, strict=True) if since < at
    ):
        signals[f"feature:{name}"] = _feature(window, roster.index[name])
    if sum(window.classes.values()) == window.predictions:  # not so where the warm-up ended in it
        shown = sorted((table.names[code], n) for code, n in window.classes.items())
        if shown:
            signals["prediction"] = {f"class:{name}": float(n) for name, n in shown}
    for detector, found in sorted(window.detections.items()):
        for signal, n in sorted(found.items()):
            signals.setdefault(signal, {})[detector] = float(n)
    return signals


def _feature(window: Window, at: int) -> dict[str, float]:
    present = int(window.present[at]) if at < len(window.present) else 0
    statistics: dict[str, float] = {"n": present, "missing": window.predictions - present}
    rate = missing_rate(window.predictions, present).value
    if rate is not None:
        statistics["missing_rate"] = rate
    if at < len(window.ranked):
        ranked = int(window.ranked[at])
        statistics["type_changed"] = int(window.changed[at])
        if ranked:
            statistics["mean_rank"] = int(window.ticks[at]) / (ranked * TICKS)
    return statistics


def numbers(values: Mapping[str, Value]) -> dict[str, float]:
    """The metrics that have a value."""
    return {name: v.value for name, v in values.items() if v.value is not None}
