"""Outcome rows as numbers: how wrong each prediction was, and what that adds to the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats, finite
from detectors.classes import DIFFERENT, NONE, OTHER, ClassTable, local_classes
from detectors.frame import Frame
from detectors.performance.confusion import PAIR_SHIFT, ClassEntries, Confusion
from detectors.performance.regression import NumberEntries, Residuals
from detectors.spec import Task

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Entries: TypeAlias = ClassEntries | NumberEntries
Tally: TypeAlias = Confusion | Residuals

SMALLEST_SCORE: Final = float(np.finfo(np.float64).eps)
"""Scores are clipped this far from 0 and 1 before a logarithm, as scikit-learn does."""


@dataclass(slots=True)
class Outcomes:
    """Outcome rows of one subject, in key order; every array has shape (n,).

    Attributes:
        ts: event time of the prediction, ms.
        arrival: when the outcome takes effect, ms; rising.
        late: the prediction was late, so the outcome counts in totals only.
        first: the first label of its prediction, not a revision.
        error: 0/1, or |prediction - label|; NaN where the two cannot be compared.
        a, b: the pair and its log loss; or residual and label minus origin.
        entries: what the rows add to tallies.
        unknown: rows whose label no prediction had before.
    """

    ts: Ints
    arrival: Ints
    late: Mask
    first: Mask
    error: Floats
    a: NDArray[np.float64] | Ints
    b: Floats
    entries: Entries
    unknown: int

    def __len__(self) -> int:
        return len(self.ts)

    def on_time(self) -> Outcomes:
        """Without the outcomes of late predictions."""
        if not self.late.any():
            return self
        kept = np.flatnonzero(~self.late)
        entries = self.entries.take(np.flatnonzero(~self.late[self.entries.row]))
        entries.row = np.searchsorted(kept, entries.row)
        return Outcomes(
            self.ts[kept],
            self.arrival[kept],
            self.late[kept],
            self.first[kept],
            self.error[kept],
            self.a[kept],
            self.b[kept],
            entries,
            self.unknown,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """What outcomes of either task start from."""

    ts: Ints
    arrival: Ints
    late: Mask
    revised: Mask


def empty_tally(task: Task) -> Tally:
    """Counts of nothing."""
    return Residuals() if task == "regression" else Confusion()


def add(tally: Tally, entries: Entries) -> None:
    """Adds entries to a tally of their own task."""
    if isinstance(tally, Confusion):
        assert isinstance(entries, ClassEntries)
        tally.add(entries)
    else:
        assert isinstance(entries, NumberEntries)
        tally.add(entries)


def of_classes(
    frame: Frame, table: ClassTable, positive: str | None, effective: int, late: Mask
) -> Outcomes:
    """Outcomes of a classifier.

    Args:
        frame: an outcome frame.
        table: the subject's classes; new ones join.
        positive: the class whose probability the column `score` is.
        effective: the earliest arrival, in ms, at which these may take effect.
        late: rows whose prediction was late.
    """
    rows = _rows(frame, effective, late)
    predicted = table.known(frame, "prediction")
    labels, unknown = table.of_labels(frame)
    labels = _apart(frame, "label", table, predicted, labels)
    previous = _apart(frame, "previous", table, predicted, table.known(frame, "previous"))
    comparable = (predicted != NONE) & (labels != NONE)
    error = np.where(comparable, (predicted != labels).astype(np.float64), np.nan)
    scores = _Scores(frame, table, positive)
    pair = np.where(comparable, predicted << PAIR_SHIFT | labels, NONE)
    loss = scores.loss(labels)
    out = rows.revised & (predicted != NONE) & (previous != NONE)
    order, sign = _interleave(out, comparable)
    old = predicted << PAIR_SHIFT | previous
    old_loss = scores.loss(previous) if out.any() else loss
    entries = ClassEntries(
        row=order,
        sign=sign,
        pair=np.where(sign > 0, pair[order], old[order]),
        loss=np.where(sign > 0, loss[order], old_loss[order]),
    )
    return Outcomes(
        rows.ts, rows.arrival, late, ~rows.revised, error, pair, loss, entries, int(unknown.sum())
    )


def of_numbers(frame: Frame, origin: float, effective: int, late: Mask) -> Outcomes:
    """Outcomes of a regression; `origin` is taken off the labels, the rest as in `of_classes`."""
    rows = _rows(frame, effective, late)
    predicted = _numbers(frame, "prediction_value")
    labels = _numbers(frame, "label_value")
    previous = _numbers(frame, "previous_value")
    residual = predicted - labels
    comparable = ~np.isnan(residual)
    out = rows.revised & ~np.isnan(predicted - previous)
    order, sign = _interleave(out, comparable)
    new = sign > 0
    entries = NumberEntries(
        row=order,
        sign=sign,
        residual=np.where(new, residual[order], (predicted - previous)[order]),
        label=np.where(new, labels[order], previous[order]) - origin,
    )
    return Outcomes(
        rows.ts,
        rows.arrival,
        late,
        ~rows.revised,
        np.abs(residual),
        residual,
        labels - origin,
        entries,
        0,
    )


def first_label(frame: Frame) -> float | None:
    """The first numeric label of an outcome frame: its subject's labels are taken from there."""
    labels = _numbers(frame, "label_value")
    known = np.flatnonzero(~np.isnan(labels))
    return float(labels[known[0]]) if len(known) else None


def _rows(frame: Frame, effective: int, late: Mask) -> _Rows:
    revised = np.zeros(frame.n, bool)
    for name in ("previous", "previous_value"):
        column = frame.columns.get(name)
        if column is not None:
            revised |= column.mask
    arrival = np.maximum(frame.ints("arrival"), effective)
    return _Rows(frame.ints("ts"), arrival, late, revised)


def _interleave(out: Mask, into: Mask) -> tuple[Ints, Ints]:
    """(row, sign) of entries in row order: a row's old label out before its new one in."""
    if not out.any():
        rows = np.flatnonzero(into)
        return rows, np.ones(len(rows), dtype=np.int64)
    both = np.stack([out, into], axis=1).ravel()
    at = np.flatnonzero(both)
    return at // 2, np.where(at % 2 == 1, 1, -1)


def _numbers(frame: Frame, name: str) -> Floats:
    """A numeric column as floats: NaN where invalid, or too large to square."""
    column = frame.columns.get(name)
    if column is None:
        return np.full(frame.n, np.nan)
    usable = finite(column.data) if column.valid is None else finite(column.data) & column.valid
    return np.where(usable, column.data, np.nan)


def _apart(frame: Frame, name: str, table: ClassTable, predicted: Ints, codes: Ints) -> Ints:
    """Class codes of `name`, told apart from predictions that are over the cap as well."""
    both = (predicted == OTHER) & (codes == OTHER)
    if not both.any():
        return codes
    sides = []
    for side in ("prediction", name):
        local, texts = local_classes(frame, side, table.aliases)
        sides.append(np.array([*texts, ""], dtype=object)[local])
    return np.where(both & (sides[0] != sides[1]), DIFFERENT, codes)


class _Scores:
    """The probability that a frame's rows gave to a class, by its code."""

    def __init__(self, frame: Frame, table: ClassTable, positive: str | None) -> None:
        self.n = frame.n
        self.columns = [
            (code, column)
            for name, column in frame.names("s:")
            if (code := table.index.get(table.aliases.get(name, name))) is not None
        ]
        self.single = None if positive is None else frame.columns.get("score")
        self.positive = NONE if positive is None else table.index.get(positive, NONE)

    def loss(self, codes: Ints) -> Floats:
        """-ln of the score of each row's class, NaN where it has none."""
        scores = np.full(self.n, np.nan)
        if self.single is not None:
            given = self.single.mask & (codes != NONE)
            of_class = np.where(codes == self.positive, self.single.data, 1 - self.single.data)
            scores[given] = of_class[given]
        for code, column in self.columns:
            rows = (codes == code) & column.mask
            scores[rows] = column.data[rows]
        loss: Floats = -np.log(np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE))
        return loss
