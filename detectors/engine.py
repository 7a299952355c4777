"""The monitor as one pure function: `step(state, frames, clock) -> (state, findings)`.

Rows come in order-key order, and everything that happens is decided by rows and the arrival clock
alone, so any cut of the same rows into steps gives the same findings, windows and counters. Two
rules make that hold. What is sequential (detectors, warm-up, tallies) advances row by row; what is
due on the clock (windows) happens after all rows that arrived before and ahead of all others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace as replace_fields
from numpy.typing import NDArray

from detectors import outcome_rows, prediction_rows
from detectors import state as states
from detectors.baseline import Baseline
from detectors.classes import ClassTable, Decision, Key, aliases_of, decide, row_key
from detectors.drift.page_hinkley import PageHinkley
from detectors.errors.concept import Concept
from detectors.features import Features
from detectors.findings import Finding
from detectors.frame import Frame, concat
from detectors.guess import Guess
from detectors.labels.aged_errors import AgedErrors
from detectors.labels.label_bank import LabelBank
from detectors.labels.label_times import LabelTimes
from detectors.order_key import order
from detectors.plan import LABEL, RESIDUAL
from detectors.policy import PolicyState
from detectors.reference.profile import ReferenceProfile
from detectors.reference_builder import profile_of
from detectors.signals import Roster, observe
from detectors.spec import MonitorSpec
from detectors.state import Learning, MonitorState
from detectors.thresholds import Known, Thresholds
from detectors.volume.finding import findings as volume_findings
from detectors.windows.expectation import Expectation
from detectors.windows.summary import summarise
from detectors.windows.window import Window
from detectors.windows.windows import Detection, Windows
from driftline.subject import Subject

_NO_ARRIVALS: NDArray[np.int64] = np.empty(0, np.int64)


def new(subject: Subject, spec: MonitorSpec, reference: ReferenceProfile | None) -> MonitorState:
    """A monitor that has seen nothing; without a reference it learns one from the first rows."""
    state = MonitorState(
        subject,
        spec,
        windows=Windows(spec),
        table=ClassTable(aliases_of(spec.classes)),
        roster=Roster(spec.features),
        concept=Concept(spec.warmup, None),
        policy=PolicyState.new(subject, spec),
        thresholds=Thresholds(spec),
        guess=Guess.of(spec),
        baseline=Baseline(spec.warmup),
        label_times=LabelTimes(spec),
        labels=LabelBank(spec.warmup),
        aged=AgedErrors(spec.warmup, spec.horizon_ms),
    )
    if reference is not None:
        state.learning = None
        for name in reference.features:
            if spec.features is None or name in spec.features:
                state.roster.add(name, 0)
        positive = spec.positive or reference.positive
        task = spec.task or reference.task
        _compare_with(state, reference, Decision(task, positive, reference.classes))
    return state


def step(
    state: MonitorState, frames: Sequence[Frame], clock: int
) -> tuple[MonitorState, list[Finding]]:
    """Takes the rows released together and returns the state to keep with what was found.

    Args:
        state: of the frames' subject; it belongs to the step, which changes it.
        frames: `prediction`, `outcome` and `count` frames, each in key order, and all keys greater
            than those of earlier steps.
        clock: arrival, in ms, that no later row is below.

    Returns: the state and the findings, in the order of the rows that told them.
    """
    for frame in frames:
        if frame.kind == "count":
            _count(state, frame)
    predictions = _one(frames, "prediction")
    outcomes = _one(frames, "outcome")
    arrival = _NO_ARRIVALS if predictions is None else predictions.ints("arrival")
    told = list(volume_findings(state.volume.step(arrival, clock)))
    found = _step(state, predictions, outcomes, clock)
    if told:
        found = sorted([*told, *found], key=lambda finding: finding.key)
    return state, found


def _step(
    state: MonitorState, predictions: Frame | None, outcomes: Frame | None, clock: int
) -> list[Finding]:
    """Takes rows; those after the one that completes the warm-up have a reference."""
    row = None if predictions is None else _completes(state, predictions)
    if predictions is None or row is None:
        return _apply(state, predictions, outcomes, clock)
    # What the last row of the warm-up decides holds for the rows after it and for no other.
    assert state.learning is not None
    key = row_key(predictions, row)
    head, tail = predictions.span(0, row + 1), predictions.span(row + 1, predictions.n)
    before, after = outcomes, None
    if outcomes is not None:
        cut = bisect_left(range(outcomes.n), key, key=partial(row_key, outcomes))
        before, after = outcomes.span(0, cut), outcomes.span(cut, outcomes.n)
    findings = _apply(state, head, before, int(predictions.ints("arrival")[row]))
    _complete(state, state.learning, key)
    return findings + _apply(state, tail, after, clock)


def conclude(state: MonitorState) -> None:
    """Decides the task from the rows there are: no more will come, as at the end of a replay."""
    if state.decision is None and state.learning is not None and state.learning.n:
        rows = concat(state.learning.rows)
        decision = decide(rows, state.spec)
        state.guess.family = "numbers" if decision.task == "regression" else "classes"
        state.decided = state.guess.decided = state.learning.last
        state.decision = state.guess.decision(state.spec)
        if state.guess.family == "classes":
            state.table.know(list(decision.classes))


def _completes(state: MonitorState, frame: Frame) -> int | None:
    """The row that completes the warm-up, if it is among these."""
    if state.profile is not None or state.learning is None:
        return None
    on_time = np.flatnonzero(~state.windows.late(frame.ints("ts"), frame.ints("arrival")))
    needed = max(state.spec.warmup - state.learning.n, 1)
    return int(on_time[needed - 1]) if len(on_time) >= needed else None


def _apply(
    state: MonitorState, predictions: Frame | None, outcomes: Frame | None, clock: int
) -> list[Finding]:
    """Takes rows between which no warm-up ends."""
    if state.profile is not None:
        _expect(state, state.profile)
    findings: list[Finding] = []
    detections: list[Detection] = []
    rows = None
    state.label_times.begin()
    if predictions is not None and predictions.n:
        rows = prediction_rows.take(state, predictions, findings, detections)
    if outcomes is not None and not outcomes.n:
        outcomes = None
    if outcomes is not None:
        outcome_rows.note(state, outcomes)
    findings += state.label_times.judge(clock, state.log_c)
    scored = outcome_rows.take(state, outcomes, findings, detections)
    for found in detections:
        key = (found.signal, found.detector)
        state.detections[key] = state.detections.get(key, 0) + 1
    detections.sort(key=lambda found: (found.arrival, found.signal, found.detector))
    publish = partial(_publish, state)
    state.windows.apply(rows, scored, detections, clock, publish)
    state.table.settle()
    findings += state.take_found()
    findings.sort(key=lambda finding: finding.key)
    return findings


def snapshot(state: MonitorState) -> bytes:
    """The state as bytes: `restore` of them goes on bit by bit the same."""
    return msgspec.msgpack.encode(state.dump())


def restore(content: bytes, spec: MonitorSpec) -> MonitorState:
    """The state that `snapshot` wrote, going on under `spec`. Raises: UnknownVersion."""
    dumped: dict[str, Any] = msgspec.msgpack.decode(content)  # Any: what MonitorState.dump returned
    return states.load(dumped, spec)


def _one(frames: Sequence[Frame], kind: str) -> Frame | None:
    """The rows of one kind as one frame in key order, None where there are none."""
    parts = [frame for frame in frames if frame.kind == kind and frame.n]
    if len(parts) <= 1:
        return parts[0] if parts else None
    whole = concat(parts)
    return whole.take(order(whole))


def _count(state: MonitorState, frame: Frame) -> None:
    names = frame.columns["name"].texts()
    for name, n in zip(names, frame.ints("value").tolist(), strict=True):
        if name is not None:
            state.count(name, n)


def _publish(state: MonitorState, window: Window, at: int) -> None:
    final = state.windows.final_coverage
    if final is None and state.spec.label_sample < 1:
        final = state.spec.label_sample
    summary = summarise(
        window,
        at,
        subject=state.subject,
        spec=state.spec,
        decision=state.decided_at(at),
        table=state.table,
        roster=state.roster,
        catalog=state.catalog,
        scores_of=state.guess.positive,
        expectation=state.expectation,
        final_coverage=final,
    )
    caveat = state.label_times.caveat(at)
    if summary.labels is not None and caveat is not None:
        summary = replace_fields(summary, labels=replace_fields(summary.labels, caveat=caveat))
    known = Known(state.profile, state.baseline.at(at, state.profile))
    state.found += state.thresholds.take(summary, at, known)
    unknown = state.thresholds.unknown(summary, known)
    state.summaries.append(replace_fields(summary, reasons=summary.reasons | unknown))


def _expect(state: MonitorState, profile: ReferenceProfile) -> None:
    """There is a reference: settles what scores are of, and what they make expect."""
    assert state.decision is not None
    if not state.guess.scored:
        binary = state.decision.task == "binary"
        state.guess.scored = True
        state.guess.positive = state.decision.positive if binary else None
    if state.expectation is None:
        state.expectation = Expectation.of(profile)


def _complete(state: MonitorState, learning: Learning, key: Key) -> None:
    """The warm-up is over: decides, and starts to compare with what was learned."""
    rows = concat(learning.rows)
    decision = state.settled or decide(rows, state.spec, state.guess.family)
    profile = profile_of(
        state.subject, rows, decision, state.roster.names, spec=state.spec, origin="warmup"
    )
    state.decided = state.decided if state.decision is not None else key
    _compare_with(state, profile, decision)
    assert state.features is not None
    state.features.prime(observe(rows, state.features.measures))


def _compare_with(state: MonitorState, profile: ReferenceProfile, decision: Decision) -> None:
    state.profile, state.decision = profile, decision
    state.roster.closed = True
    state.table.know(list(decision.classes))
    state.features = Features(state.roster.names, profile, state.spec)
    if profile.error is not None:
        state.concept = Concept(state.spec.warmup, profile.error)
    state.concept.watch_with(state.features.plan, state.spec)
    known = {LABEL: profile.label, RESIDUAL: profile.residual}
    pinned = {name: each for name, each in known.items() if each is not None}
    state.labels.watch_with(state.features.plan, pinned)
    if profile.score is not None:
        scale = max(profile.score.sd, 0.1)
        state.score = PageHinkley(center=profile.score.mean, scale=scale)
