"""Every metric of what outcomes added up to, or the reason it has none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

import numpy as np

from detectors.api import Value
from detectors.classes import ClassTable, Decision
from detectors.measures.estimate import undefined
from detectors.performance.confusion import ConfusionView, view
from detectors.performance.deviations import Deviations
from detectors.performance.scores import ScoreTally
from detectors.registry import METRICS, AnyMetric
from detectors.windows.tallies import TOTAL_CAP, ClassTally, NumberTally, Tally

_FEW: Final = 4
"""Classes up to which a matrix is likely to come again."""
_ONE_SCORE: Final = "one score a row, but more than two classes: `scores` needs one for each class"


def measure(
    tally: Tally | None,
    decision: Decision,
    table: ClassTable,
    metrics: Sequence[AnyMetric],
    scores_of: str | None,
    *,
    matrix: ConfusionView | None = None,
) -> dict[str, Value]:
    """Every one of the metrics with its value or the reason it has none.

    Args:
        tally: what outcomes added up; None: there are none.
        decision: task and positive class.
        table: the subject's classes.
        metrics: of the task.
        scores_of: the class that scores are probabilities of, if it is one.
        matrix: of the tally, where it is at hand.
    """
    with np.errstate(divide="raise", invalid="raise", over="raise"):  # as Python's own floats do
        if decision.task == "regression":
            sums = tally.deviations if isinstance(tally, NumberTally) else Deviations()
            return {m.name: _measured(m, sums) for m in metrics if m.of == "deviations"}
        counted = tally if isinstance(tally, ClassTally) else ClassTally.empty(TOTAL_CAP)
        if matrix is None:
            matrix = view(counted.confusion, table.names, decision.positive)
        values = _of_matrix(metrics, matrix)
        scores = None
        for metric in metrics:
            if metric.of != "scores":
                continue
            scores = counted.scores if scores is None else scores
            if decision.task == "multiclass" and scores_of is not None:
                values[metric.name] = undefined(_ONE_SCORE)
            elif tally is None and METRICS.get(metric.name) is metric:
                values[metric.name] = _of_no_scores(metric.name)
            else:
                values[metric.name] = _measured(metric, scores)
        return {metric.name: values[metric.name] for metric in metrics if metric.name in values}


def _of_matrix(metrics: Sequence[AnyMetric], matrix: ConfusionView) -> dict[str, Value]:
    """The metrics of a confusion matrix; ours are looked up where the matrix is a usual one."""
    chosen = [metric for metric in metrics if metric.of == "matrix"]
    values: dict[str, Value] = {}
    if len(matrix.classes) <= _FEW:
        ours = tuple(metric.name for metric in chosen if METRICS.get(metric.name) is metric)
        rows = tuple(map(tuple, matrix.matrix))
        values |= zip(ours, _known(ours, matrix.classes, rows, matrix.positive), strict=True)
    for metric in chosen:
        if metric.name not in values:
            values[metric.name] = _measured(metric, matrix)
    return values


@lru_cache(maxsize=2_048)
def _known(
    names: tuple[str, ...],
    classes: tuple[str, ...],
    rows: tuple[tuple[int, ...], ...],
    positive: str | None,
) -> tuple[Value, ...]:
    """Metrics by name of a small matrix: windows of few outcomes have the same ones for ever."""
    matrix = ConfusionView(classes, [list(row) for row in rows], positive)
    return tuple(_measured(METRICS[name], matrix) for name in names)


@cache
def _of_no_scores(name: str) -> Value:
    """One of our metrics of scores where no outcome has come: most windows are published so."""
    return _measured(METRICS[name], ScoreTally())


def _measured(metric: AnyMetric, base: object) -> Value:
    """The metric's value; a label revised without having been counted makes no monitor fall.

    (That can be where outcomes over the cap were left out while they waited for the task.)
    """
    try:
        return metric.measure(base)
    except (ArithmeticError, ValueError) as error:
        return undefined(f"the counts do not fit together: {error}")
