"""The usual rows of a step of join, taken all at once: new predictions, and labels that meet one.

Nearly every id is as simple as this: its prediction was never seen, and its label comes once and
later, in this step or in another. What `detectors.matching` does with such rows one by one comes
to a few lookups, done here for whole columns. Ids with anything else about them (repeats, labels
that came first or wait, revisions, late rows, several versions) are left to their turn. As rows of
different ids do not know of each other, unless a slice of time ends or the store is full (then all
is left to its turn), the result is the same to the bit: a property test holds the two ways
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from detectors.frame import Array
from detectors.lane import Lane
from detectors.matching import Labels, Matching, Predictions
from detectors.memory_pending import MemoryPending

T = TypeVar("T")


@dataclass(slots=True)
class _Step:
    """The prediction and label rows of a step one after the other, as parallel arrays."""

    lane: Array
    row: Array
    turn: Array
    """Position in the order of the step."""
    is_label: Array
    words: Array
    """The ids as two integers, shape (n, 2)."""
    ref: Array
    """Of predictions: their own; of labels: that of the one prediction they meet, -1: none."""
    ts: Array
    """Event time of the prediction, in ms."""
    subject: Array
    """Of the prediction: its place in `subjects`."""
    sound: Array
    """The row's id is a usual one, as far as was looked."""
    subjects: list[str] = field(default_factory=list)

    def number(self, subject: str) -> int:
        """The place of a subject in `subjects`."""
        if subject not in self.subjects:
            self.subjects.append(subject)
        return self.subjects.index(subject)

    def by_lane(self, at: Array, lanes: Sequence[Lane], kind: type[T]) -> Iterator[tuple[T, Array]]:
        """(lane, its rows among `at`) for each lane of a kind that has some."""
        of = self.lane[at]
        for number, lane in enumerate(lanes):
            if isinstance(lane, kind) and len(own := at[of == number]):
                yield lane, own


def take(matching: Matching, lanes: Sequence[Lane], which: Array, rows: Array) -> Array:
    """Takes the usual rows of a step.

    Args:
        matching: the step's.
        lanes: its frames.
        which: of each row, in the order of the step, its lane.
        rows: likewise, its place in that lane.

    Returns:
        Which rows, in the order of the step, are left to be taken.
    """
    left = np.ones(len(which), bool)
    pending = matching.pending
    if not isinstance(pending, MemoryPending) or not _calm(pending, lanes):
        return left
    step = _rows(lanes, which, rows)
    alone, pairs = _by_id(step)
    predictions = np.concatenate([alone[~step.is_label[alone]], pairs[:, 0]])
    for lane, at in step.by_lane(predictions, lanes, Predictions):
        ids = _at(lane.ids, step.row[at])
        step.sound[at] = pending.unknown(ids, (lane.model, ""))
    waiting = alone[step.is_label[alone]]
    for label_lane, at in step.by_lane(waiting, lanes, Labels):
        step.ref[at] = pending.unlabelled(_at(label_lane.ids, step.row[at]))
    first, second = pairs[:, 0], pairs[:, 1]
    for column in (step.ref, step.ts, step.subject):
        column[second] = column[first]
    waiting = waiting[step.ref[waiting] >= 0]
    for subject, own, ts in pending.whose(step.ref[waiting]):
        step.ts[waiting[own]], step.subject[waiting[own]] = ts, step.number(subject)
    _look_at_labels(matching, pending, lanes, step, np.concatenate([waiting, second]))
    good = step.sound[first] & step.sound[second]
    step.sound[first[~good]] = step.sound[second[~good]] = False
    taken = np.flatnonzero(step.sound)
    _put(pending, lanes, step, taken[~step.is_label[taken]])
    _meet(matching, pending, lanes, step, taken[step.is_label[taken]])
    left[step.turn[taken]] = False
    return left


def _calm(pending: MemoryPending, lanes: Sequence[Lane]) -> bool:
    """Whether no slice ends during the step, and there is room for all of its rows."""
    last, end, n = 0, pending.next_end, 0
    for lane in lanes:
        if isinstance(lane, Predictions | Labels):
            n += lane.frame.n
            last = max(last, int(lane.frame.ints("arrival").max()))
        if isinstance(lane, Labels):
            end = min(end, *lane.ends)
    return last < end and pending.entries + n <= pending.max_entries


def _rows(lanes: Sequence[Lane], which: Array, rows: Array) -> _Step:
    used = [n for n, lane in enumerate(lanes) if isinstance(lane, Predictions | Labels)]
    turns = np.flatnonzero(np.isin(which, used))
    lane, row = which[turns], rows[turns]
    n = len(turns)
    step = _Step(
        lane, row, turns, np.zeros(n, bool), np.zeros((n, 2), np.uint64),
        np.full(n, -1), np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, bool),
    )  # fmt: skip
    for number in used:
        at = np.flatnonzero(lane == number)
        frame, own = lanes[number].frame, row[at]
        ids = np.ascontiguousarray(frame.columns["id"].data)
        step.words[at] = ids.view(np.uint64).reshape(-1, 2)[own]
        one = lanes[number]
        if isinstance(one, Predictions):
            step.ref[at] = np.array(one.refs)[own]
            step.ts[at] = frame.ints("ts")[own]
            step.subject[at] = step.number(frame.subject)
        else:
            step.is_label[at] = True
    return step


def _by_id(step: _Step) -> tuple[Array, Array]:
    """The rows whose id has no other, and (prediction, later label) where an id has just these."""
    order = np.lexsort((step.words[:, 1], step.words[:, 0]))  # stable: rows of an id in their order
    words = step.words[order]
    starts = np.flatnonzero(np.r_[True, (words[1:] != words[:-1]).any(axis=1)])
    counts = np.diff(np.r_[starts, len(order)])
    two = starts[counts == 2]  # noqa: PLR2004
    pairs = np.stack([order[two], order[two + 1]], axis=1)
    as_wanted = ~step.is_label[pairs[:, 0]] & step.is_label[pairs[:, 1]]
    return order[starts[counts == 1]], pairs[as_wanted]


def _look_at_labels(
    matching: Matching, pending: MemoryPending, lanes: Sequence[Lane], step: _Step, labels: Array
) -> None:
    """Labels that are the first of their id, in time, and of the prediction's model are sound."""
    horizons = np.array([matching.horizon(subject) for subject in step.subjects] or [0])
    for lane, at in step.by_lane(labels, lanes, Labels):
        of_model = np.array([lane.is_of(subject) for subject in step.subjects] or [False])
        first = pending.unheard(_at(lane.ids, step.row[at]), lane.model)
        subject = step.subject[at]
        in_time = lane.frame.ints("arrival")[step.row[at]] < step.ts[at] + horizons[subject]
        step.sound[at] = first & in_time & of_model[subject]


def _put(pending: MemoryPending, lanes: Sequence[Lane], step: _Step, taken: Array) -> None:
    for lane, at in step.by_lane(taken, lanes, Predictions):
        pending.put_all(_at(lane.ids, step.row[at]), step.ref[at])


def _meet(
    matching: Matching, pending: MemoryPending, lanes: Sequence[Lane], step: _Step, taken: Array
) -> None:
    for lane, at in step.by_lane(taken, lanes, Labels):
        rows, refs = step.row[at], step.ref[at]
        labels = _at(lane.labels, rows)
        pending.meet_all(lane.model, _at(lane.ids, rows), refs, labels, _at(lane.ends, rows))
        for number in np.unique(step.subject[at]).tolist():
            own = np.flatnonzero(step.subject[at] == number)
            matching.outcomes_of(step.subjects[number]).add_all(
                refs[own], _at(labels, own), lane.text.at(rows[own].tolist()), step.turn[at[own]]
            )


def _at(items: Sequence[T], places: Array) -> list[T]:
    return [items[place] for place in places.tolist()]
