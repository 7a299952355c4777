"""Outcomes: a prediction and the label that holds for it, as the rows join emits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.frame import SOURCE_SHIFT, Array, Column, Frame, text_column
from detectors.pending import Label, Pending, class_columns
from driftline.rules import class_text

KEY_COLUMNS = ("arrival", "source", "order_ts", "offset", "index")
_PARTITION = (1 << SOURCE_SHIFT) - 1


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one subject in one step, in the order they came about."""

    refs: list[int] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    previous: list[Label | None] = field(default_factory=list)
    prediction_ids: list[str | None] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    """Positions, in the order of the step, of the rows that made them."""

    def add(
        self, ref: int, label: Label, previous: Label | None, prediction_id: str | None, turn: int
    ) -> None:
        """A stored prediction has a label now, in place of a previous one or of none."""
        self.refs.append(ref)
        self.labels.append(label)
        self.previous.append(previous)
        self.prediction_ids.append(prediction_id)
        self.turns.append(turn)

    def add_all(
        self,
        refs: Array,
        labels: Sequence[Label],
        prediction_ids: Sequence[str | None],
        turns: Array,
    ) -> None:
        """Stored predictions have their first label now."""
        self.refs += refs.tolist()
        self.labels += labels
        self.previous += [None] * len(labels)
        self.prediction_ids += prediction_ids
        self.turns += turns.tolist()

    def _sort(self) -> None:
        """Puts the outcomes in the order in which they came about."""
        turns = np.array(self.turns)
        if (turns[1:] >= turns[:-1]).all():
            return
        order = np.argsort(turns, kind="stable").tolist()
        self.refs = [self.refs[at] for at in order]
        self.labels = [self.labels[at] for at in order]
        self.previous = [self.previous[at] for at in order]
        self.prediction_ids = [self.prediction_ids[at] for at in order]
        self.turns = turns[order].tolist()

    def frame(self, subject: str, pending: Pending) -> Frame:
        """The rows to emit: what was stored of the predictions, labels, and the greater key."""
        self._sort()
        stored = pending.rows(self.refs).columns
        columns = {name: c for name, c in stored.items() if name not in KEY_COLUMNS}
        columns |= _greater_key(stored, self.labels)
        columns["prediction_arrival"] = stored["arrival"]
        columns["label_ts"] = _ints([label.ts for label in self.labels])
        columns |= class_columns(
            "label", [label.text for label in self.labels], [label.value for label in self.labels]
        )
        columns |= class_columns(
            "previous",
            [None if label is None else label.text for label in self.previous],
            [None if label is None else label.value for label in self.previous],
        )
        if any(text is not None for text in self.prediction_ids):
            columns["prediction_id"] = text_column(self.prediction_ids)
        ordered = {name: columns[name] for name in sorted(columns)}
        return Frame(subject, "outcome", len(self.refs), ordered)


def _greater_key(stored: dict[str, Column], labels: Sequence[Label]) -> dict[str, Column]:
    """The greater of each prediction's and its label's order key; the ids are equal."""
    theirs = {
        "arrival": [label.arrival for label in labels],
        "source": [label.origin for label in labels],
        "order_ts": [label.order_ts for label in labels],
        "offset": [label.offset for label in labels],
        "index": [label.row for label in labels],
    }
    mine = {name: stored.get(name, stored["ts"]).data for name in KEY_COLUMNS}
    other = {name: np.array(theirs[name], np.int64) for name in KEY_COLUMNS}
    label_is_greater = _is_greater(_ranks(other), _ranks(mine))
    return {
        name: Column(np.where(label_is_greater, other[name], mine[name])) for name in KEY_COLUMNS
    }


def _ranks(key: dict[str, Array]) -> list[Array]:
    source = key["source"]
    return [
        key["arrival"],
        source >> SOURCE_SHIFT,
        key["order_ts"],
        source & _PARTITION,
        key["offset"],
        key["index"],
    ]


def _is_greater(left: list[Array], right: list[Array]) -> Array:
    """Where `left` is greater than `right`, the first difference deciding."""
    greater = np.zeros(len(left[0]), bool)
    equal = np.ones(len(left[0]), bool)
    for one, two in zip(left, right, strict=True):
        greater |= equal & (one > two)
        equal &= one == two
    return greater


def contents(frame: Frame, names: Sequence[str]) -> list[tuple[object, ...]]:
    """What each prediction row says, in a form to compare: its class text, and its scores.

    Args:
        frame: prediction rows.
        names: the score columns to look at, whether the frame has them or not.
    """
    parts: list[list[object]] = [_words(frame)]
    for name in names:
        column = frame.columns.get(name)
        if column is None:
            parts.append([None] * frame.n)
        else:
            known = column.mask.tolist()
            parts.append(
                [x if ok else None for x, ok in zip(column.data.tolist(), known, strict=True)]
            )
    return list(zip(*parts, strict=True))


def score_names(frame: Frame) -> list[str]:
    """The score columns of a prediction frame."""
    return [name for name in frame.columns if name == "score" or name.startswith("s:")]


def _words(frame: Frame) -> list[object]:
    words: list[object] = [None] * frame.n
    texts = frame.columns.get("prediction")
    if texts is not None:
        words = list(texts.texts())
    numbers = frame.columns.get("prediction_value")
    if numbers is not None:
        for row in np.flatnonzero(numbers.mask).tolist():
            words[row] = class_text(float(numbers.data[row]))
    return words


def _ints(values: Sequence[int]) -> Column:
    return Column(np.array(values, np.int64))
