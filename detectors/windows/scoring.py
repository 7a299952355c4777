"""Outcome rows as numbers: how wrong each prediction was, and what that adds to the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats, finite
from detectors.classes import DIFFERENT, NONE, OTHER, ClassTable, local_classes
from detectors.frame import Frame
from detectors.measures.cells import CellGrid
from detectors.performance.confusion import PAIR_SHIFT, ClassEntries
from detectors.performance.deviations import DeviationEntries
from detectors.performance.scores import ScoreEntries, binary_entries, multiclass_entries
from detectors.signals import score
from detectors.windows.tallies import CellEntries, Entries

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(slots=True)
class Outcomes:
    """Outcome rows of one subject, in key order; every array has shape (n,).

    Attributes:
        ts: event time of the prediction, ms.
        arrival: when the outcome takes effect, ms; rising.
        late: the prediction was late, so the outcome counts in totals only.
        first: the first label of its prediction, not a revision.
        error: 0/1, or |prediction - label|; NaN where the two cannot be compared.
        a, b: the pair and the score (of the positive class, else of the predicted one; NaN
            absent); or residual and label.
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
        return Outcomes(
            self.ts[kept],
            self.arrival[kept],
            self.late[kept],
            self.first[kept],
            self.error[kept],
            self.a[kept],
            self.b[kept],
            self.entries.renumbered(kept),
            self.unknown,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """What outcomes of either task start from."""

    ts: Ints
    arrival: Ints
    late: Mask
    revised: Mask


def of_classes(
    frame: Frame,
    table: ClassTable,
    positive: str | None,
    effective: int,
    late: Mask,
    *,
    grid: CellGrid | None = None,
) -> Outcomes:
    """Outcomes of a classifier.

    Args:
        frame: an outcome frame.
        table: the subject's classes; new ones join.
        positive: the class that scores are probabilities of; None: scores are those of each class.
        effective: the earliest arrival, in ms, at which these may take effect.
        late: rows whose prediction was late.
        grid: cells of score and prediction to count in.
    """
    rows = _rows(frame, effective, late)
    predicted = table.known(frame, "prediction")
    labels, unknown = table.of_labels(frame)
    labels = _apart(frame, "label", table, predicted, labels)
    comparable = (predicted != NONE) & (labels != NONE)
    error = (predicted != labels).astype(np.float64)
    pair = predicted << PAIR_SHIFT | labels
    if not comparable.all():
        error[~comparable], pair[~comparable] = np.nan, NONE
    if rows.revised.any():
        previous = _apart(frame, "previous", table, predicted, table.known(frame, "previous"))
        out = rows.revised & (predicted != NONE) & (previous != NONE)
        row, sign = _interleave(out, comparable)
        label = np.where(sign > 0, labels[row], previous[row])
    else:
        row = comparable.nonzero()[0]
        sign, label = np.ones(len(row), dtype=np.int64), labels[row]
    scores = _Scores(frame, table, positive, predicted)
    said = predicted[row]
    is_positive, is_said = scores.positive_of(row, label, said)
    entries = Entries(
        pairs=ClassEntries(row, sign, said << PAIR_SHIFT | label),
        scores=scores.entries(row, sign, label),
    )
    if grid is not None:
        codes = grid.codes(scores.main[row], is_said)
        entries.cell = CellEntries(row, sign, codes, is_positive)
        entries.cells = len(grid)
    return Outcomes(
        rows.ts,
        rows.arrival,
        late,
        ~rows.revised,
        error,
        pair,
        scores.main,
        entries,
        int(unknown.sum()),
    )


def of_numbers(frame: Frame, effective: int, late: Mask) -> Outcomes:
    """Outcomes of a regression; the arguments are as in `of_classes`."""
    rows = _rows(frame, effective, late)
    predicted = _numbers(frame, "prediction_value")
    labels = _numbers(frame, "label_value")
    previous = _numbers(frame, "previous_value")
    residual = predicted - labels
    comparable = ~np.isnan(residual)
    out = rows.revised & ~np.isnan(predicted - previous)
    row, sign = _interleave(out, comparable)
    new = sign > 0
    entries = DeviationEntries(
        row=row,
        sign=sign,
        residual=np.where(new, residual[row], (predicted - previous)[row]),
        label=np.where(new, labels[row], previous[row]),
    )
    return Outcomes(
        rows.ts,
        rows.arrival,
        late,
        ~rows.revised,
        np.abs(residual),
        residual,
        labels,
        Entries(deviations=entries),
        0,
    )


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
    both = predicted == OTHER
    if not both.any():
        return codes
    both &= codes == OTHER
    if not both.any():
        return codes
    sides = []
    for side in ("prediction", name):
        local, texts = local_classes(frame, side, table.aliases)
        sides.append(np.array([*texts, ""], dtype=object)[local])
    return np.where(both & (sides[0] != sides[1]), DIFFERENT, codes)


def main_scores(
    frame: Frame,
    positive: str | None,
    aliases: Mapping[str, str],
    predicted: Ints,
    table: ClassTable,
) -> Floats:
    """Per row the score of the positive class; where there is none, of the predicted class.

    Args:
        frame: prediction or outcome rows.
        positive: the class that scores are probabilities of, if any.
        aliases: text -> class it means.
        predicted: class code of each row's prediction.
        table: what the codes mean.
    """
    if positive is not None:
        found: Floats = score(frame, positive, aliases)
    else:
        found = np.full(frame.n, np.nan)
        for name, column in frame.names("s:"):
            code = table.index.get(aliases.get(name, name))
            rows = (predicted == code) & column.mask if code is not None else column.mask & False
            found[rows] = column.data[rows]
    return probabilities(found)


def probabilities(scores: Floats) -> Floats:
    """The scores, NaN where they are not in [0, 1]."""
    known = (scores >= 0) & (scores <= 1)
    return scores if known.all() else np.where(known, scores, np.nan)


class _Scores:
    """The scores of an outcome frame, as probabilities of one class or of each."""

    def __init__(
        self, frame: Frame, table: ClassTable, positive: str | None, predicted: Ints
    ) -> None:
        self.frame, self.table = frame, table
        self.positive = positive
        self.code = NONE if positive is None else table.index.get(positive, NONE)
        self.predicted = predicted
        self.main = main_scores(frame, positive, table.aliases, predicted, table)

    def positive_of(self, row: Ints, label: Ints, said: Ints) -> tuple[Mask, Mask]:
        """(the label is positive, the positive class was predicted) of each entry.

        Without a positive class: the prediction was right, and always.
        """
        if self.positive is None:
            return said == label, np.ones(len(row), bool)
        return label == self.code, said == self.code

    def entries(self, row: Ints, sign: Ints, label: Ints) -> ScoreEntries:
        """What the scores of these rows add, given labels."""
        if self.positive is not None:
            return binary_entries(row, sign, self.main[row], label == self.code)
        columns = {
            self.table.aliases.get(name, name): column for name, column in self.frame.names("s:")
        }
        scores = np.full((self.frame.n, len(columns)), np.nan)
        at = np.full(len(self.table.names), NONE)
        for i, name in enumerate(sorted(columns)):
            scores[:, i] = np.where(columns[name].mask, columns[name].data, np.nan)
            if (code := self.table.index.get(name)) is not None:
                at[code] = i
        return multiclass_entries(row, sign, scores[row], at[self.predicted[row]], at[label])
