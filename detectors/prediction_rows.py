"""Prediction rows on their way into a monitor: kept as its reference, or compared with that."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.classes import NONE, row_key
from detectors.classes import local_classes as classes_of
from detectors.findings import Finding
from detectors.frame import Frame
from detectors.measures.percentiles import buckets_of
from detectors.reference.profile import Codes
from detectors.served import ATTRIBUTION_COLUMN, LATENCY_COLUMN, SCORE, Said
from detectors.signals import PREFIXES, Observed, observe, present
from detectors.state import Learning, MonitorState
from detectors.windows.expectation import Expectation
from detectors.windows.scoring import main_scores, probabilities
from detectors.windows.window import PredictionRows
from detectors.windows.windows import Detection

_REFERENCE: Final = ("ts", "prediction", "prediction_value", "score", LATENCY_COLUMN)
"""Columns that every reference is made of, where they are; and those by feature or by class."""


def take(
    state: MonitorState, frame: Frame, findings: list[Finding], detections: list[Detection]
) -> PredictionRows | None:
    """Takes prediction rows; returns those that windows still have to take."""
    if state.profile is None:
        state.guess.meet(frame, state.spec)
    late = state.windows.late(frame.ints("ts"), frame.ints("arrival"))
    state.count("predictions", frame.n)
    state.count("late_predictions", int(np.count_nonzero(late)))
    rows = frame.take(~late) if late.any() else frame
    if rows.n:
        state.label_times.predicted(rows)
    if not rows.n:
        if state.profile is None:
            _decide_early(state)
        return None
    if state.profile is None:
        assert state.learning is not None
        return _learn(state, state.learning, rows)
    assert state.decision is not None
    said = Said(rows, state.decision, state.table.aliases)
    watched = _watch(state, said, findings, detections)
    if state.expectation is None or watched.classes is None:
        return watched
    cells = _cells(state, state.expectation, said, watched.classes)
    return replace(watched, cells=cells, grid=len(state.expectation.grid))


def _watch(
    state: MonitorState, said: Said, findings: list[Finding], detections: list[Detection]
) -> PredictionRows:
    """Compares rows with the reference."""
    assert state.features is not None
    rows = said.rows
    state.roster.meet(rows)
    state.counters["new_features"] = len(state.roster.new)
    state.counters["features_over_cap"] = state.roster.over_cap
    observed = observe(rows, state.features.measures)
    findings += state.features.step(rows, observed, said, detections)
    ts, arrival = rows.ints("ts"), rows.ints("arrival")
    if state.score is not None:
        for change in state.score.update(said.scores):
            at = change.index
            found = Detection(int(arrival[at]), int(ts[at]), SCORE, state.score.name)
            detections.append(found)
    classes = None
    if said.decision.task != "regression":
        classes = state.table.of_predictions(rows, said.classes)
    return PredictionRows(ts, arrival, classes, observed, latency=buckets_of(rows))


def _cells(
    state: MonitorState, expectation: Expectation, said: Said, classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The cell of each prediction, which the latest ones remember."""
    positive, table = state.guess.positive, state.table
    if positive is not None and positive == said.decision.positive:
        scores = probabilities(said.scores)
    else:
        scores = main_scores(said.rows, positive, table.aliases, classes, table)
    is_said = np.ones(said.rows.n, bool)
    if positive is not None:
        is_said = (classes != NONE) & (classes == table.index.get(positive, NONE))
    cells = expectation.grid.codes(scores, is_said)
    expectation.recent.add({"cell": cells})
    return cells


def _decide_early(state: MonitorState) -> None:
    """Follows what the rows made certain."""
    guess = state.guess
    if guess.family is not None and state.settled is None:
        if state.decision is None:
            state.decided = guess.decided
        state.decision = guess.decision(state.spec)


def _classes_in_warmup(state: MonitorState, learning: Learning, rows: Frame) -> NDArray[np.int64]:
    """Class codes of warm-up rows, NONE while it is not certain that they are classes."""
    open_ = 0
    if state.decision is None:
        if state.guess.decided:
            open_ = bisect_left(range(rows.n), state.guess.decided, key=partial(row_key, rows))
        earlier = [*learning.rows, rows.span(0, open_)]
        for part in earlier:
            if part.n:
                state.table.know(classes_of(part, "prediction", state.table.aliases)[1])
    codes = np.full(rows.n, NONE, dtype=np.int64)
    if open_ < rows.n:
        codes[open_:] = state.table.of_predictions(rows.span(open_, rows.n))
    return codes


def _learn(state: MonitorState, learning: Learning, rows: Frame) -> PredictionRows:
    """Keeps warm-up rows: what the reference is built of, and nothing else."""
    state.roster.meet(rows)
    learning.attributions.meet(rows)
    classes = None
    if state.guess.family == "classes":
        classes = _classes_in_warmup(state, learning, rows)
    _decide_early(state)
    learning.last = row_key(rows, rows.n - 1)
    kept = {name: column for name, column in rows.columns.items() if _is_reference(state, name)}
    learning.rows.append(replace(rows, columns=kept))
    nothing: Codes = np.empty((0, rows.n), dtype=np.uint8)
    seen = Observed(present(rows, state.roster), nothing, np.empty((0, 256), np.int64))
    ts, arrival = rows.ints("ts"), rows.ints("arrival")
    return PredictionRows(ts, arrival, classes, seen, latency=buckets_of(rows))


def _is_reference(state: MonitorState, name: str) -> bool:
    if name[:2] in PREFIXES:
        return name[2:] in state.roster.index
    if name[:2] == ATTRIBUTION_COLUMN:
        return state.learning is not None and name[2:] in state.learning.attributions.index
    return name in _REFERENCE or name[:2] == "s:"
