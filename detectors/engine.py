"""The monitor as one pure function: `step(state, frames, clock) -> (state, findings)`.

Rows come in order-key order, and everything that happens is decided by rows and the arrival clock
alone, so any cut of the same rows into steps gives the same findings, windows and counters. Two
rules make that hold. What is sequential (detectors, warm-up, tallies) advances row by row; what is
due on the clock (windows) happens after all rows that arrived before and ahead of all others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace as replace_fields
from numpy.typing import NDArray

from detectors import outcome_rows
from detectors import state as states
from detectors.api import Floats
from detectors.baseline import Baseline
from detectors.classes import NONE, ClassTable, Decision, Key, aliases_of, decide, row_key
from detectors.classes import local_classes as classes_of
from detectors.drift.page_hinkley import PageHinkley
from detectors.errors.concept import Concept
from detectors.features import Features
from detectors.findings import Finding
from detectors.frame import Frame, concat
from detectors.guess import Guess
from detectors.labels.aged_errors import AgedErrors
from detectors.labels.label_bank import LabelBank
from detectors.labels.label_times import LabelTimes
from detectors.measures.percentiles import buckets_of
from detectors.order_key import order
from detectors.plan import LABEL, RESIDUAL
from detectors.policy import PolicyState
from detectors.reference.profile import Codes, ReferenceProfile
from detectors.reference_builder import profile_of
from detectors.served import ATTRIBUTION_COLUMN, LATENCY_COLUMN, SCORE
from detectors.signals import PREFIXES, Observed, Roster, observe, present, score
from detectors.spec import MonitorSpec
from detectors.state import Learning, MonitorState
from detectors.thresholds import Known, Thresholds
from detectors.volume.finding import findings as volume_findings
from detectors.windows.expectation import Expectation
from detectors.windows.scoring import main_scores
from detectors.windows.summary import summarise
from detectors.windows.window import PredictionRows, Window
from detectors.windows.windows import Detection, Windows
from driftline.subject import Subject

_NO_ARRIVALS: NDArray[np.int64] = np.empty(0, np.int64)
_REFERENCE = ("ts", "prediction", "prediction_value", "score", LATENCY_COLUMN)
"""Columns that every reference is made of, where they are; and those by feature or by class."""


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
        rows = _predictions(state, predictions, findings, detections)
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


def _predictions(
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
    watched = _watch(state, rows, findings, detections)
    if state.expectation is None or watched.classes is None:
        return watched
    cells = _cells(state, state.expectation, rows, watched.classes)
    return replace(watched, cells=cells, grid=len(state.expectation.grid))


def _expect(state: MonitorState, profile: ReferenceProfile) -> None:
    """There is a reference: settles what scores are of, and what they make expect."""
    assert state.decision is not None
    if not state.guess.scored:
        binary = state.decision.task == "binary"
        state.guess.scored = True
        state.guess.positive = state.decision.positive if binary else None
    if state.expectation is None:
        state.expectation = Expectation.of(profile)


def _cells(
    state: MonitorState, expectation: Expectation, rows: Frame, classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The cell of each prediction, which the latest ones remember."""
    positive, table = state.guess.positive, state.table
    scores = main_scores(rows, positive, table.aliases, classes, table)
    said = np.ones(rows.n, bool)
    if positive is not None:
        said = (classes != NONE) & (classes == table.index.get(positive, NONE))
    cells = expectation.grid.codes(scores, said)
    expectation.recent.extend({"cell": cells})
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
    learning.rows.append(Frame(rows.subject, rows.kind, rows.n, kept, rows.cause))
    nothing: Codes = np.empty((0, rows.n), dtype=np.uint8)
    seen = Observed(present(rows, state.roster), nothing, nothing.astype(np.int64))
    ts, arrival = rows.ints("ts"), rows.ints("arrival")
    return PredictionRows(ts, arrival, classes, seen, latency=buckets_of(rows))


def _is_reference(state: MonitorState, name: str) -> bool:
    if name[:2] in PREFIXES:
        return name[2:] in state.roster.index
    if name[:2] == ATTRIBUTION_COLUMN:
        return state.learning is not None and name[2:] in state.learning.attributions.index
    return name in _REFERENCE or name[:2] == "s:"


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


def _watch(
    state: MonitorState, rows: Frame, findings: list[Finding], detections: list[Detection]
) -> PredictionRows:
    """Compares rows with the reference."""
    assert state.features is not None
    assert state.decision is not None
    state.roster.meet(rows)
    state.counters["new_features"] = len(state.roster.new)
    state.counters["features_over_cap"] = state.roster.over_cap
    observed = observe(rows, state.features.measures)
    said = (state.decision, state.table.aliases)
    findings += state.features.step(rows, observed, said, detections)
    ts, arrival = rows.ints("ts"), rows.ints("arrival")
    if state.score is not None:
        scores: Floats = score(rows, state.decision.positive, state.table.aliases)
        for change in state.score.update(scores):
            at = change.index
            found = Detection(int(arrival[at]), int(ts[at]), SCORE, state.score.name)
            detections.append(found)
    classes = None
    if state.decision.task != "regression":
        classes = state.table.of_predictions(rows)
    return PredictionRows(ts, arrival, classes, observed, latency=buckets_of(rows))
