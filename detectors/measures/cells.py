"""Outcomes by score bin and predicted class: what estimates and decompositions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

BINS: Final = 20


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Cells of predictions: bin (low, high] of the score, times whether the class was predicted.

    `edges`: rising, shape (bins - 1,), fixed with the reference. The last two cells hold
    predictions without a score.
    """

    edges: Floats

    @classmethod
    def of(cls, scores: Floats, bins: int = BINS) -> Self:
        """Bins of equal mass in the reference; a score that repeats much has a bin of its own.

        Args:
            scores: of the reference, NaN where absent.
            bins: at most so many.
        """
        known = scores[~np.isnan(scores)]
        if not len(known):
            return cls(np.zeros(0))
        at = np.arange(1, bins) / bins
        edges = np.unique(np.quantile(known, at, method="inverted_cdf"))
        return cls(edges[edges < known.max()])

    @property
    def bins(self) -> int:
        """Score bins, without that for absent scores."""
        return len(self.edges) + 1

    def __len__(self) -> int:
        return 2 * self.bins + 2

    def codes(self, scores: Floats, predicted: Mask) -> Ints:
        """The cell of each prediction: 2 * bin, + 1 where `predicted`; shape (n,)."""
        at = np.searchsorted(self.edges, scores)
        at[np.isnan(scores)] = self.bins
        codes: Ints = at * 2 + predicted
        return codes


@dataclass(slots=True)
class CellCounts:
    """Per cell: how many outcomes, and how many of them had a positive label (or a hit).

    16 bytes a cell; sums over shards and windows are sums of the arrays.
    """

    n: Ints
    positive: Ints

    @classmethod
    def empty(cls, grid: CellGrid) -> Self:
        """Nothing counted."""
        return cls(np.zeros(len(grid), np.int64), np.zeros(len(grid), np.int64))

    def add(self, cells: Ints, positive: Mask, sign: Ints) -> None:
        """Counts outcomes (sign 1) or takes them out (sign -1); O(1) each."""
        k = len(self.n)
        self.n += np.bincount(cells, weights=sign, minlength=k).astype(np.int64)
        weights = sign * positive
        self.positive += np.bincount(cells, weights=weights, minlength=k).astype(np.int64)

    def merge(self, other: CellCounts) -> None:
        """Adds the counts of another."""
        self.n += other.n
        self.positive += other.positive

    @property
    def errors(self) -> Ints:
        """Wrong predictions per cell: negatives where the class was predicted, else positives."""
        predicted = np.arange(len(self.n)) % 2 == 1
        return np.where(predicted, self.n - self.positive, self.positive)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"n": dump_array(self.n), "positive": dump_array(self.positive)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(load_array(dumped["n"]), load_array(dumped["positive"]))
