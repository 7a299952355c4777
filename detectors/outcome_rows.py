"""Outcomes on their way into a monitor: they wait for the decision, then are scored and counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.classes import Key, row_key
from detectors.findings import Finding
from detectors.frame import Frame, concat
from detectors.labels.label_bank import rows_of
from detectors.state import Learning, MonitorState
from detectors.windows.scoring import Outcomes, of_classes, of_numbers
from detectors.windows.tallies import TOTAL_CAP, empty_tally
from detectors.windows.windows import Detection

Mask: TypeAlias = NDArray[np.bool_]

WAITING_PER_ROW: Final = 8
"""Outcomes that may wait for the decision, per warm-up row; of more a share is kept, by id."""


def note(state: MonitorState, frame: Frame) -> None:
    """Counts outcomes and when their labels came, whether or not they can be scored yet."""
    late, first = _late(state, frame), _first(frame)
    state.count("joined", int(np.count_nonzero(first)))
    state.count("late_outcomes", int(np.count_nonzero(first & late)))
    counted = first & ~late
    if counted.any():
        state.label_times.labelled(frame if counted.all() else frame.take(counted))


def take(
    state: MonitorState,
    frame: Frame | None,
    findings: list[Finding],
    detections: list[Detection],
) -> Outcomes | None:
    """Takes outcome rows, or keeps them until the task is decided; returns those for windows."""
    learning = state.learning
    if learning is not None:
        frame = _wait(state, learning, frame)
        if state.decision is None:
            return None
        if state.profile is not None:
            state.learning = None
    if frame is not None:
        frame, left_out = state.thinning.settle(frame)
        _over_cap(state, left_out)
    if frame is None or not frame.n:
        return None
    scored = _score(state, frame)
    _add(state, scored)

    def key_of(row: int) -> Key:
        return max(row_key(frame, row), state.decided)

    times = state.label_times
    findings += state.concept.step(scored, key_of, detections, times.fair)
    _compare_ages(state, scored, key_of, findings)
    labels, at = rows_of(frame, scored, state.table.aliases)
    if len(labels):
        findings += state.labels.step(
            labels, times.matured, lambda row: key_of(int(at[row])), times.fair, detections
        )
    on_time = scored.on_time()
    if state.profile is None or not state.profile.metrics:
        state.baseline.take(on_time, state.every_metric)
    return on_time


def _add(state: MonitorState, scored: Outcomes) -> None:
    """Adds outcomes to what is counted since start, of the latest, and of what scores promise."""
    state.count("unknown_class", scored.unknown)
    unscorable = scored.first & np.isnan(scored.error)
    state.count("unscorable", int(np.count_nonzero(unscorable)))
    if state.total is None:
        state.total = empty_tally(scored.entries, TOTAL_CAP)
    state.total.add(scored.entries)
    state.recent.add(scored)
    if state.expectation is not None:
        state.expectation.learn(scored, state.spec.warmup)


def _compare_ages(
    state: MonitorState, scored: Outcomes, key_of: Callable[[int], Key], findings: list[Finding]
) -> None:
    """Holds errors against those of labels of the same age, where ages differ."""
    times = state.label_times
    if times.first is None or scored.entries.deviations is not None:
        return
    at = np.flatnonzero(scored.first & ~scored.late & ~np.isnan(scored.error))
    if not len(at):
        return

    def in_force(key: Key) -> bool:
        return times.seen_all_ages(int(key[0])) and not times.fair(key)

    findings += state.aged.step(
        (scored.ts[at], scored.arrival[at], scored.error[at]),
        times.first,
        state.log_c,
        lambda row: key_of(int(at[row])),
        in_force,
    )


def _wait(state: MonitorState, learning: Learning, frame: Frame | None) -> Frame | None:
    """Keeps outcomes while there is no decision; once there is, returns all that waited."""
    rest: list[Frame] = []
    if frame is not None:
        waits = frame.n
        if state.decision is not None:
            waits = bisect_left(range(frame.n), state.decided, key=partial(row_key, frame))
        if waits:
            head = frame.span(0, waits)
            learning.outcomes.append(head.take(state.thinning.keeps(head)))
            _over_cap(state, waits - learning.outcomes[-1].n)
            room = WAITING_PER_ROW * state.spec.warmup
            learning.outcomes, left_out = state.thinning.fit(learning.outcomes, room)
            _over_cap(state, left_out)
        rest = [frame.span(waits, frame.n)]
    if state.decision is None:
        return None
    if state.thinning.until is None and state.decided:
        state.thinning.until = int(state.decided[0])
    waiting, learning.outcomes = learning.outcomes, []
    kept = [part for part in (*waiting, *rest) if part.n]
    return concat(kept) if kept else None


def _over_cap(state: MonitorState, left_out: int) -> None:
    if left_out:
        state.count("outcomes_over_cap", left_out)


def _score(state: MonitorState, frame: Frame) -> Outcomes:
    assert state.decision is not None
    effective = int(state.decided[0]) if state.decided else 0
    late = _late(state, frame)
    if state.decision.task == "regression":
        return of_numbers(frame, effective, late)
    grid = None if state.expectation is None else state.expectation.grid
    return of_classes(frame, state.table, state.guess.positive, effective, late, grid=grid)


def _late(state: MonitorState, frame: Frame) -> Mask:
    """Outcomes whose prediction was late."""
    column = frame.columns.get("prediction_arrival")
    if column is None:
        return np.zeros(frame.n, bool)
    return state.windows.late(frame.ints("ts"), column.data)


def _first(frame: Frame) -> Mask:
    """Outcomes that are the first of their prediction."""
    revised = np.zeros(frame.n, bool)
    for name in ("previous", "previous_value"):
        if name in frame.columns:
            revised |= frame.columns[name].mask
    first: Mask = ~revised
    return first
