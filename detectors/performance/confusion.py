"""Confusion matrices, binary and multiclass: exact counts, and a view to compute metrics from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PAIR_SHIFT: Final = 20
"""A pair is class code of the prediction << 20 | class code of the label."""

_LABEL: Final = (1 << PAIR_SHIFT) - 1
_FEW = 12  # below this many entries a plain loop beats NumPy


@dataclass(slots=True)
class ClassEntries:
    """What outcomes add to (sign 1) and take out of (sign -1) a confusion matrix, in row order.

    `row`: row of the outcome frame, rising.
    """

    row: Ints
    sign: Ints
    pair: Ints
    _summed: list[tuple[int, int]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def summed(self) -> list[tuple[int, int]]:
        """Each pair and what it adds up to, computed once: a window and the totals take the same.

        Pairs that add up to nothing may be left out.
        """
        if self._summed is None:
            if len(self.pair) < _FEW:
                self._summed = list(zip(self.pair.tolist(), self.sign.tolist(), strict=True))
            else:
                predicted, label = self.pair >> PAIR_SHIFT, self.pair & _LABEL
                classes = int(label.max()) + 1
                totals = np.bincount(predicted * classes + label, self.sign)
                at = totals.nonzero()[0]
                pairs = at // classes << PAIR_SHIFT | at % classes
                self._summed = list(zip(pairs.tolist(), map(int, totals[at].tolist()), strict=True))
        return self._summed

    def take(self, which: slice | NDArray[Any]) -> ClassEntries:
        """Some of the entries."""
        return ClassEntries(self.row[which], self.sign[which], self.pair[which])


@dataclass(slots=True)
class Confusion:
    """Outcomes by prediction and label: exact counts."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, entries: ClassEntries) -> None:
        """Counts the entries."""
        counts = self.counts
        for pair, n in entries.summed():
            counts[pair] = counts.get(pair, 0) + n
            if counts[pair] <= 0:
                del counts[pair]

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return sum(self.counts.values())

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        pairs = sorted(self.counts)
        return {"pairs": pairs, "counts": [self.counts[pair] for pair in pairs]}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(dict(zip(dumped["pairs"], dumped["counts"], strict=True)))


@dataclass(frozen=True, slots=True)
class ConfusionView:
    """A confusion matrix to compute metrics from: `matrix[i][j]`, label i, prediction j.

    `classes` are those that occurred, sorted; `positive` is None where it is not known. Plain
    integers, because matrices are small.
    """

    classes: tuple[str, ...]
    matrix: list[list[int]]
    positive: str | None

    @property
    def n(self) -> int:
        """Outcomes counted."""
        return sum(map(sum, self.matrix))


def view(confusion: Confusion, names: Sequence[str], positive: str | None) -> ConfusionView:
    """The matrix over the classes that occurred; `names`: text of each class code."""
    cells = [(pair >> PAIR_SHIFT, pair & _LABEL, n) for pair, n in confusion.counts.items()]
    present = sorted({code for p, label, _ in cells for code in (p, label)}, key=lambda c: names[c])
    at = {code: i for i, code in enumerate(present)}
    matrix = [[0] * len(present) for _ in present]
    for predicted, label, n in cells:
        matrix[at[label]][at[predicted]] = n
    return ConfusionView(
        classes=tuple(names[code] for code in present),
        matrix=matrix,
        positive=positive,
    )
