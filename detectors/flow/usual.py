"""The usual rows of a step of join, taken all at once: new predictions, and labels that meet one.

Nearly every id is as simple as this: its prediction was never seen, and its label comes once and
later, in this step or in another. What `detectors.flow.matching` does with such rows one by one
comes to a few lookups, done here for whole columns. Ids with anything else about them (repeats,
labels that came first or wait, revisions, late rows, several versions) are left to their turn. As
rows of different ids do not know of each other, unless a slice of time ends or the store is full
(then all is left to its turn), the result is the same to the bit: a property test holds the two
ways together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard, TypeVar

import numpy as np

from detectors.flow.groups import by_digits, groups
from detectors.flow.id_table import GONE, NONE, words_of
from detectors.flow.lane import Lane
from detectors.flow.matching import Labels, Matching, Predictions
from detectors.flow.pending import Pending, PendingAtOnce, plain_labels
from detectors.frame import Array

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
    place: Array
    """Of the id in the table of the store."""
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

    def flat(self, lanes: Sequence[Lane]) -> Array:
        """Where each row is, were the lanes that have rows here one after the other."""
        sizes = [one.frame.n if isinstance(one, Predictions | Labels) else 0 for one in lanes]
        flat: Array = np.cumsum([0, *sizes])[self.lane] + self.row
        return flat

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
    if not _at_once(pending) or not _calm(pending, lanes):
        return left
    step = _rows(lanes, which, rows)
    step.place, known, label = pending.places(step.words)
    alone, first, second = _by_id(step)
    predictions = np.concatenate([alone[~step.is_label[alone]], first])
    step.sound[predictions] = known[predictions] == GONE
    waiting = alone[step.is_label[alone]]
    waiting = waiting[(known[waiting] >= 0) & (label[waiting] == NONE)]
    step.ref[waiting] = known[waiting]
    step.ts[waiting], of, subjects = pending.subjects(known[waiting])
    step.subject[waiting] = np.array([step.number(name) for name in subjects], np.int64)[of]
    for column in (step.ref, step.ts, step.subject):
        column[second] = column[first]
    _look_at_labels(matching, lanes, step, np.concatenate([waiting, second]))
    good = step.sound[first] & step.sound[second]
    step.sound[first[~good]] = step.sound[second[~good]] = False
    taken = np.flatnonzero(step.sound)
    put = taken[~step.is_label[taken]]
    if len(put):
        pending.put_all(step.place[put], step.ref[put])
    _meet(matching, pending, lanes, step, taken[step.is_label[taken]])
    left[step.turn[taken]] = False
    return left


def _at_once(pending: Pending) -> TypeGuard[PendingAtOnce]:
    return hasattr(pending, "put_all")


def _calm(pending: PendingAtOnce, lanes: Sequence[Lane]) -> bool:
    """Whether no slice ends during the step, and there is room for all of its rows."""
    last, end, n = 0, pending.next_end, 0
    for lane in lanes:
        if isinstance(lane, Predictions | Labels):
            n += lane.frame.n
            last = max(last, int(lane.frame.ints("arrival").max()))
        if isinstance(lane, Labels):
            end = min(end, int(lane.ends.min()))
    return last < end and n <= pending.room


def _rows(lanes: Sequence[Lane], which: Array, rows: Array) -> _Step:
    among = np.array([isinstance(lane, Predictions | Labels) for lane in lanes])
    turns = np.arange(len(which)) if among.all() else among[which].nonzero()[0]
    lane, row = which[turns], rows[turns]
    n = len(turns)
    step = _Step(
        lane, row, turns, np.zeros(n, bool), np.empty((n, 2), np.uint64), np.zeros(n, np.int64),
        np.full(n, -1), np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, bool),
    )  # fmt: skip
    used = [one for one in lanes if isinstance(one, Predictions | Labels)]
    if not used:
        return step
    at = step.flat(lanes)  # in the rows of these lanes, one after the other
    words = [words_of(one.frame.data("id")) for one in used]
    step.words = np.concatenate(words).take(at, axis=0)
    refs = [one.refs if isinstance(one, Predictions) else _none(one) for one in used]
    step.ref = np.concatenate(refs).take(at)
    step.ts = np.concatenate([one.frame.ints("ts") for one in used]).take(at)
    subjects = [
        step.number(one.frame.subject) if isinstance(one, Predictions) else -1 for one in lanes
    ]
    step.subject = np.array(subjects)[lane]
    step.is_label = np.array([isinstance(one, Labels) for one in lanes])[lane]
    return step


def _none(lane: Labels) -> Array:
    return np.full(lane.frame.n, -1)


def _by_id(step: _Step) -> tuple[Array, Array, Array]:
    """Rows whose id has no other; predictions, and later labels, of ids that have just these."""
    order = by_digits(step.place)  # rows of an id stay in their order
    places = step.place[order]
    edge = np.ones(len(order) + 1, bool)
    edge[1:-1] = places[1:] != places[:-1]
    alone = order[edge[:-1] & edge[1:]]
    two = np.flatnonzero(edge[:-2] & ~edge[1:-1] & edge[2:])
    first, second = order[two], order[two + 1]
    as_wanted = ~step.is_label[first] & step.is_label[second]
    return alone, first[as_wanted], second[as_wanted]


def _look_at_labels(matching: Matching, lanes: Sequence[Lane], step: _Step, labels: Array) -> None:
    """Labels that are in time and of the prediction's model are sound."""
    horizons = np.array([matching.horizon(subject) for subject in step.subjects] or [0])
    for lane, at in step.by_lane(labels, lanes, Labels):
        of_model = np.array([lane.is_of(subject) for subject in step.subjects] or [False])
        subject = step.subject[at]
        in_time = lane.frame.ints("arrival")[step.row[at]] < step.ts[at] + horizons[subject]
        step.sound[at] = in_time & of_model[subject]


def _meet(
    matching: Matching, pending: PendingAtOnce, lanes: Sequence[Lane], step: _Step, taken: Array
) -> None:
    for lane, at in step.by_lane(taken, lanes, Labels):
        rows, refs = step.row[at], step.ref[at]
        labels = plain_labels(lane.frame).take(rows)
        pending.meet_all(lane.model, step.place[at], refs, labels, lane.ends[rows])
        of = step.subject[at]
        for number, own in groups(of):
            matching.outcomes_of(step.subjects[number]).add_all(
                refs[own], labels.take(own), step.turn[at[own]]
            )
