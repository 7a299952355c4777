"""Outcomes: a prediction and the label that holds for it, as the rows join emits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.flow.pending import Label, Pending, class_columns, label_frame
from detectors.frame import SOURCE_SHIFT, Array, Column, Frame, concat
from driftline.rules import class_text

KEY_COLUMNS = ("arrival", "source", "order_ts", "offset", "index")
_PARTITION = (1 << SOURCE_SHIFT) - 1


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one subject in one step."""

    refs: list[int] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    previous: list[Label | None] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    """Positions, in the order of the step, of the rows that made them."""
    firsts: list[tuple[Array, Frame, Array]] = field(default_factory=list)
    """(refs, their first `plain_labels`, turns): outcomes that came about many at once."""

    def add(self, ref: int, label: Label, previous: Label | None, turn: int) -> None:
        """A stored prediction has a label now, in place of a previous one or of none."""
        self.refs.append(ref)
        self.labels.append(label)
        self.previous.append(previous)
        self.turns.append(turn)

    def add_all(self, refs: Array, labels: Frame, turns: Array) -> None:
        """Stored predictions have their first label now."""
        self.firsts.append((refs, labels, turns))

    def frame(self, subject: str, pending: Pending) -> tuple[Frame, Array]:
        """The rows to emit: what was stored of the predictions, labels, and the greater key.

        Returns:
            The frame, in the order in which the outcomes came about, and the turns of its rows.
        """
        refs, labels, turns, at = self._together()
        stored = pending.rows(refs).columns
        # A column that only other rows of the store have says where rows were stored, not what.
        columns = {
            name: column
            for name, column in stored.items()
            if name not in KEY_COLUMNS and (column.valid is None or column.valid.any())
        }
        columns |= _greater_key(stored, labels)
        columns["prediction_arrival"] = stored["arrival"]
        columns["label_ts"] = labels["ts"]
        columns |= {name: _tidy(labels[name]) for name in _SAID if _says(labels.get(name))}
        if any(label is not None for label in self.previous):
            columns |= self._previous(at, len(refs))
        ordered = {name: columns[name] for name in sorted(columns)}
        return Frame(subject, "outcome", len(refs), ordered), turns

    def _together(self) -> tuple[Array, dict[str, Column], Array, Array]:
        """(refs, columns of the labels, turns) in order, and where those added singly lie."""
        parts = [(refs, labels.without(["id"]), turns) for refs, labels, turns in self.firsts]
        if self.refs:
            singly = label_frame("", None, self.labels)
            parts.append((np.array(self.refs, np.int64), singly, np.array(self.turns, np.int64)))
        refs = np.concatenate([part for part, _, _ in parts])
        turns = np.concatenate([part for _, _, part in parts])
        labels = concat([part for _, part, _ in parts])
        places = np.arange(len(refs))
        if (turns[1:] < turns[:-1]).any():
            order = np.argsort(turns, kind="stable")
            refs, turns, labels = refs[order], turns[order], labels.take(order)
            places = np.argsort(order)
        return refs, labels.columns, turns, places[len(places) - len(self.refs) :]

    def _previous(self, at: Array, n: int) -> dict[str, Column]:
        texts: list[str | None] = [None] * n
        values: list[float | None] = [None] * n
        arrival = np.zeros(n, np.int64)
        for place, label in zip(at.tolist(), self.previous, strict=True):
            if label is not None:
                texts[place], values[place] = label.text, label.value
                arrival[place] = label.arrival
        columns = class_columns("previous", texts, values)
        return columns | {"previous_arrival": Column(arrival, arrival > 0)}


_SAID = ("label", "label_value")


def _says(column: Column | None) -> bool:
    return column is not None and bool(column.mask.any())


def _tidy(column: Column) -> Column:
    """The column in the form in which equal rows are equal columns."""
    if column.values is not None or column.valid is None:
        return column.compact()
    return Column(np.where(column.valid, column.data, 0), column.valid)


def _greater_key(stored: dict[str, Column], labels: dict[str, Column]) -> dict[str, Column]:
    """The greater of each prediction's and its label's order key; the ids are equal."""
    if (labels["arrival"].data > stored["arrival"].data).all():
        return {name: Column(labels[name].data) for name in KEY_COLUMNS}
    mine = {name: stored.get(name, stored["ts"]).data for name in KEY_COLUMNS}
    other = {name: labels[name].data for name in KEY_COLUMNS}
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
