"""Window summaries: a window's counts as the record on `driftline.windows`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.api import Value
from detectors.classes import ClassTable, Decision
from detectors.feed import TICKS
from detectors.measures.cells import CellCounts
from detectors.measures.decompose import CellErrors, Split, split
from detectors.measures.estimate import Estimate
from detectors.measures.percentiles import percentiles
from detectors.performance.confusion import PAIR_SHIFT, view
from detectors.quality.missing import missing_rate
from detectors.registry import AnyMetric, metrics_of
from detectors.signals import Roster
from detectors.spec import MonitorSpec
from detectors.windows import estimated as expected
from detectors.windows.estimated import Calibration, surprise
from detectors.windows.expectation import Expectation
from detectors.windows.measured import measure
from detectors.windows.tallies import ClassTally
from detectors.windows.window import Window
from driftline.alerts import CameTrue, ErrorSplit, Estimated, LabelCoverage, WindowSummary
from driftline.alerts import Confusion as ConfusionRecord
from driftline.rules import rfc3339
from driftline.subject import Subject

COVERED: Final = 0.9
"""Share of the final coverage at which a window's labels stop being provisional."""
_SHOWN: Final = 30  # predictions a cell needs for its coverage to be quoted


def estimates(
    calibration: Calibration, n: NDArray[np.int64], scores_of: str | None
) -> dict[str, Estimate]:
    """What performance is expected of predictions by cell; with many classes accuracy alone."""
    found = expected.estimate(calibration, n)
    return found if scores_of is not None else {"accuracy": found["accuracy"]}


FEWEST_EXPECTED: Final = 30
"""Predictions of a window below which nothing is estimated: the band would be most of [0, 1]."""


def summarise(
    window: Window,
    at: int,
    *,
    subject: Subject,
    spec: MonitorSpec,
    decision: Decision | None,
    table: ClassTable,
    roster: Roster,
    catalog: Mapping[str, AnyMetric],
    scores_of: str | None,
    expectation: Expectation | None,
    final_coverage: float | None,
) -> WindowSummary:
    """The record of a window that is published at arrival `at`."""
    values: dict[str, Value] = {}
    confusion = None
    tally = window.tally
    if decision is not None:
        metrics = metrics_of(spec, decision.task, catalog)
        matrix = None
        if isinstance(tally, ClassTally):
            matrix = view(tally.confusion, table.names, decision.positive)
            if tally.n:
                confusion = ConfusionRecord(list(matrix.classes), matrix.matrix)
        values = measure(tally, decision, table, metrics, scores_of, matrix=matrix)
    calibration = None if expectation is None else expectation.at(at)
    guesses, came_true, parts = _expected(window, calibration, scores_of)
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
        errors=errors_of(values),
        reasons={name: v.reason for name, v in values.items() if v.value is None},
        labels=_labels(window, final_coverage),
        estimated=guesses,
        came_true=came_true,
        split=parts,
        confusion=confusion,
        signals=_signals(window, at, table, roster),
    )


def _expected(
    window: Window, calibration: Calibration | None, scores_of: str | None
) -> tuple[dict[str, Estimated], dict[str, CameTrue], ErrorSplit | None]:
    """What was expected of a window, how it turned out, and why the error changed."""
    if calibration is None or window.predictions < FEWEST_EXPECTED or not _whole(window):
        return {}, {}, None
    guesses = bands(estimates(calibration, window.expected, scores_of))
    cells = _labelled(window)
    if cells is None:
        return guesses, {}, None
    came_true = {
        name: CameTrue(seen.realised, seen.expected.value, seen.z)
        for name, seen in surprise(calibration, cells).items()
        if name in guesses and seen.expected.value is not None
    }
    errors = CellErrors.of_rates(calibration.counts), CellErrors.of_rates(cells)
    return guesses, came_true, _record(split(*errors))


def bands(found: Mapping[str, Estimate]) -> dict[str, Estimated]:
    """Estimates that have a value and a band, as records."""
    return {
        name: Estimated(e.value, *e.interval)
        for name, e in found.items()
        if e.value is not None and e.interval is not None
    }


def _record(parts: Split | None) -> ErrorSplit | None:
    if parts is None:
        return None
    mix, within = parts.mix, parts.within
    return ErrorSplit(
        parts.reference,
        parts.current,
        mix.value,
        mix.standard_error,
        within.value,
        within.standard_error,
        parts.new,
    )


def _whole(window: Window) -> bool:
    """All predictions were counted by cell: none of them is older than the cells."""
    return 0 < window.predictions == int(window.expected.sum())


def _labelled(window: Window) -> CellCounts | None:
    """The outcomes by cell, where all of them were counted so."""
    if not isinstance(window.tally, ClassTally) or window.tally.cells is None:
        return None
    cells = window.tally.cells
    return cells if 0 < window.tally.n == int(cells.n.sum()) else None


def _labels(window: Window, final_coverage: float | None) -> LabelCoverage | None:
    """How far the labels have come; None for a window without predictions."""
    n = window.predictions
    if not n:
        return None
    coverage = window.outcomes / n
    needed = COVERED * (1.0 if final_coverage is None else final_coverage)
    low = high = least = most = reweighted = None
    if isinstance(window.tally, ClassTally):
        pairs = window.tally.confusion.counts.items()
        mask = (1 << PAIR_SHIFT) - 1
        wrong = sum(count for pair, count in pairs if pair >> PAIR_SHIFT != pair & mask)
        low, high = wrong / n, min((wrong + max(n - window.tally.n, 0)) / n, 1.0)
        cells = _labelled(window)
        if cells is not None and _whole(window):
            least, most, reweighted = _selection(window.expected, cells)
    return LabelCoverage(coverage, coverage < needed, low, high, least, most, reweighted)


def _selection(
    predictions: NDArray[np.int64], cells: CellCounts
) -> tuple[float | None, float | None, float | None]:
    """(least and greatest coverage of a cell, error rate reweighted to all predictions)."""
    shown, held = predictions >= _SHOWN, (cells.n > 0) & (predictions > 0)
    coverage = (cells.n[shown] / predictions[shown]).tolist()
    reweighted = None
    if held.any():
        rates = cells.errors[held] / cells.n[held]
        reweighted = float((predictions[held] * rates).sum()) / int(predictions[held].sum())
    return min(coverage, default=None), max(coverage, default=None), reweighted


def _signals(
    window: Window, at: int, table: ClassTable, roster: Roster
) -> dict[str, dict[str, float]]:
    """Statistics by signal: features, predicted classes, and what detectors found."""
    signals = _features(window, at, roster)
    if sum(window.classes.values()) == window.predictions:  # not so where the warm-up ended in it
        shown = sorted((table.names[code], n) for code, n in window.classes.items())
        if shown:
            signals["prediction"] = {f"class:{name}": float(n) for name, n in shown}
    served = int(window.latency.sum())
    if served:
        signals["latency"] = {"n": float(served), **percentiles(window.latency)}
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


def errors_of(values: Mapping[str, Value]) -> dict[str, float]:
    """The standard errors that are known, of metrics that have a value."""
    return {
        name: v.standard_error
        for name, v in values.items()
        if isinstance(v, Estimate) and v.value is not None and v.standard_error is not None
    }
