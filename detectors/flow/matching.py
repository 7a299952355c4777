"""How predictions and labels meet: the rules that `detectors.flow.join` lists, row by row.

A `Matching` lasts one step. Each frame of the step is a `Lane`, whose rows are taken one by one in
key order across all lanes; what can be done for whole columns is done before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from detectors.flow.join_spec import JoinSpec
from detectors.flow.lane import Lane, Others
from detectors.flow.outcome import KEY_COLUMNS, Outcomes, contents, score_names
from detectors.flow.pending import SLICES, Label, Pending, Slot, label_rows, slice_ends
from detectors.frame import Array, Column, Frame, text_column

_KEPT = frozenset(["id", "ts", *KEY_COLUMNS, "prediction", "prediction_value", "score"])


@dataclass(slots=True)
class Matching:
    """What one step gathers beside the store: outcomes and counts, by subject."""

    pending: Pending
    spec: JoinSpec
    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """(subject, counter, cause)."""
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    turn: int = 0
    """Position, in the order of the step, of the row that is being taken."""
    causes: Array | None = None
    """Column `cause` of the rows in the order of the step; None: they have none."""
    _horizons: dict[str, int] = field(default_factory=dict)

    def lane(self, frame: Frame) -> Lane:
        """A frame of this step, ready for its rows to be taken."""
        if frame.kind == "prediction":
            return Predictions(self, frame)
        if frame.kind == "label":
            return Labels(self, frame)
        return Others(frame)

    def horizon(self, subject: str) -> int:
        """The horizon of a subject's model, in ms."""
        known = self._horizons.get(subject)
        if known is None:
            known = self.spec.horizon_ms(subject.partition("@")[0])
            self._horizons[subject] = known
        return known

    def is_late(self, ref: int, subject: str, label: Label) -> bool:
        """Whether the label passes the prediction's `ts` + horizon; counts it if so."""
        late = label.arrival >= self.pending.times(ref)[0] + self.horizon(subject)
        if late:
            self.count(subject, "late_labels")
        return late

    def count(self, subject: str, name: str) -> None:
        """Counts one of something about the row that is being taken."""
        cause = -1 if self.causes is None else int(self.causes[self.turn])
        self.counts[subject, name, cause] += 1

    def meet(self, ref: int, subject: str, label: Label) -> None:
        """A stored prediction and a label that is not late meet."""
        held = self.pending.label(ref)
        if held is not None:
            outcome, holds = _compare(held, label)
            self.count(subject, outcome)
            if holds:
                self.pending.set_label(ref, label)
            if outcome != "revisions":
                return
        else:
            self.pending.set_label(ref, label)
        self.outcomes_of(subject).add(ref, label, held, self.turn)

    def outcomes_of(self, subject: str) -> Outcomes:
        """The outcomes of a subject so far."""
        met = self.outcomes.get(subject)
        if met is None:
            met = self.outcomes[subject] = Outcomes()
        return met

    def outcome_frames(self) -> list[Frame]:
        """A frame of outcomes per subject that has any."""
        frames = []
        for subject, met in sorted(self.outcomes.items()):
            frame, turns = met.frame(subject, self.pending)
            if self.causes is not None:
                frame.columns["cause"] = Column(self.causes[turns])
            frames.append(frame)
        return frames

    def count_frames(self) -> list[Frame]:
        """A frame of counters per subject that has any."""
        last = -1 if self.causes is None else int(self.causes[-1])
        for (subject, name), lost in self.pending.take_losses().items():
            self.counts[subject, name, last] += lost
        by_subject: dict[str, list[tuple[str, int, int]]] = {}
        for (subject, name, cause), count in sorted(self.counts.items()):
            by_subject.setdefault(subject, []).append((name, count, cause))
        return [self._count_frame(subject, counts) for subject, counts in by_subject.items()]

    def _count_frame(self, subject: str, counts: list[tuple[str, int, int]]) -> Frame:
        names, values, causes = zip(*counts, strict=True)
        columns = {"name": text_column(names), "value": Column(np.array(values, np.int64))}
        if self.causes is not None:
            columns["cause"] = Column(np.array(causes, np.int64))
        return Frame(subject, "count", len(counts), columns)


def _compare(held: Label, label: Label) -> tuple[str, bool]:
    """(what the label is to the one that is held, whether it takes its place)."""
    greater = label.rank() > held.rank()
    if label.words() == held.words():
        return "label_duplicates", greater
    return ("revisions", True) if greater else ("stale_labels", False)


class Predictions:
    """Predictions of one subject: repeats are dropped, waiting labels are met."""

    def __init__(self, matching: Matching, frame: Frame) -> None:
        self.frame = frame
        self._matching = matching
        self._pending = matching.pending
        self._subject = frame.subject
        self.model = frame.subject.partition("@")[0]
        self._horizon = matching.horizon(frame.subject)
        self._repeats: list[tuple[int, int]] = []  # (row, ref of the first)
        self.refs = self._keep(matching.spec.segment_columns(self.model))

    @cached_property
    def _ids(self) -> list[bytes]:
        ids: list[bytes] = self.frame.data("id").tolist()
        return ids

    @cached_property
    def _arrivals(self) -> list[int]:
        arrivals: list[int] = self.frame.ints("arrival").tolist()
        return arrivals

    @cached_property
    def _refs(self) -> list[int]:
        refs: list[int] = self.refs.tolist()
        return refs

    def _keep(self, segments: frozenset[str]) -> Array:
        """Stores what outcomes will need of the rows; nothing is findable yet."""
        kept = self.frame.only(
            {
                name
                for name in self.frame.column_names
                if name in _KEPT or name.startswith("s:") or name in segments
            }
        )
        since = np.maximum(kept.ints("ts"), kept.ints("arrival"))
        ends = slice_ends(since + _kept_ms(self._horizon), self._horizon)
        return self._pending.keep(kept, ends)

    def take(self, row: int) -> None:
        """A prediction arrives."""
        row_id, ref = self._ids[row], self._refs[row]
        for other in self._pending.find(row_id):
            if self._pending.subject(other) != self._subject:
                continue
            if self._arrivals[row] < self._pending.times(other)[1] + self._horizon:
                self._pending.dismiss(ref)
                self._repeats.append((row, other))
                self._matching.count(self._subject, "duplicates")
                return
            self._pending.forget(row_id, other)
        self._pending.put(row_id, ref)
        own = self._pending.slot(self.model, row_id)
        anyones = self._pending.slot("", row_id)
        if own is not None or anyones is not None:
            self._meet_waiting(row, {self.model: own, "": anyones})

    def _meet_waiting(self, row: int, slots: Mapping[str, Slot | None]) -> None:
        """Labels that came first: the one that holds makes the outcome."""
        row_id, ref = self._ids[row], self._refs[row]
        labels = []
        for model, slot in slots.items():
            if slot is None or self._arrivals[row] >= slot.arrival + self._horizon:
                continue
            if not slot.matched:
                self._pending.set_slot(model, row_id, slot._replace(matched=True))
            if not self._matching.is_late(ref, self._subject, slot.label):
                labels.append(slot.label)
        if not labels:
            return
        labels.sort(key=Label.rank)
        *losing, holding = labels
        for label in losing:
            self._matching.count(self._subject, _compare(holding, label)[0])
        self._matching.meet(ref, self._subject, holding)

    def passed(self) -> list[Frame]:
        """The frame without its repeats; counts them, and those with other contents."""
        if not self._repeats:
            return [self.frame]
        rows = [row for row, _ in self._repeats]
        first = self._pending.rows(np.array([ref for _, ref in self._repeats], np.int64))
        again = self.frame.take(np.array(rows))
        names = sorted({*score_names(first), *score_names(again)})
        pairs = zip(contents(first, names), contents(again, names), strict=True)
        causes = again.data("cause").tolist() if again.has("cause") else [-1] * len(rows)
        for cause, (one, two) in zip(causes, pairs, strict=True):
            if one != two:
                self._matching.counts[self._subject, "conflicts", cause] += 1
        kept = np.ones(self.frame.n, bool)
        kept[rows] = False
        return [self.frame.take(kept)] if kept.any() else []


class Labels:
    """Labels of one model, or of any: met by the predictions that are there, then kept waiting."""

    def __init__(self, matching: Matching, frame: Frame) -> None:
        self.frame = frame
        self._matching = matching
        self._pending = matching.pending
        self._subject = frame.subject  # "model@", the prefix of the subjects it goes to, or "@"
        self.model = frame.subject.partition("@")[0]
        self._horizon = matching.horizon(frame.subject)
        self.ends = slice_ends(frame.ints("arrival") + self._horizon, self._horizon)

    @cached_property
    def _ids(self) -> list[bytes]:
        ids: list[bytes] = self.frame.data("id").tolist()
        return ids

    @cached_property
    def _labels(self) -> list[Label]:
        return label_rows(self.frame)

    @cached_property
    def _ends(self) -> list[int]:
        ends: list[int] = self.ends.tolist()
        return ends

    def take(self, row: int) -> None:
        """A label arrives."""
        row_id, label = self._ids[row], self._labels[row]
        found = False
        for ref in self._pending.find(row_id):
            subject = self._pending.subject(ref)
            if not self.is_of(subject):
                continue
            if label.arrival >= max(self._pending.times(ref)) + _kept_ms(
                self._matching.horizon(subject)
            ):
                continue
            found = True
            if not self._matching.is_late(ref, subject, label):
                self._matching.meet(ref, subject, label)
        self._wait(row, found)

    def is_of(self, subject: str) -> bool:
        """Whether a prediction of this subject is of the labels' model."""
        return not self.model or subject.startswith(self._subject)

    def _wait(self, row: int, found: bool) -> None:
        """The label waits for further predictions, if it holds against the one that waits."""
        row_id, label, end = self._ids[row], self._labels[row], self._ends[row]
        slot = self._pending.slot(self.model, row_id)
        if slot is not None and label.arrival >= slot.arrival + self._horizon:
            if not slot.matched:
                self._matching.count(self._subject, "orphan_labels")
            slot = None
        if slot is None:
            slot = Slot(label, found, label.arrival, end)
        else:
            relation, holds = _compare(slot.label, label)
            if not found:
                self._matching.count(self._subject, relation)
            matched = slot.matched or found
            if relation == "stale_labels":
                slot = slot._replace(matched=matched)
            else:
                held = label if holds else slot.label
                slot = Slot(held, matched, label.arrival, end)
        self._pending.set_slot(self.model, row_id, slot)

    def passed(self) -> list[Frame]:
        """Labels go no further; outcomes do."""
        return []


def _kept_ms(horizon_ms: int) -> int:
    """How long a prediction is kept, from its `ts` or arrival: long enough to know late labels."""
    return horizon_ms + horizon_ms // SLICES
