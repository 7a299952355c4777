"""What wrong predictions cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.measures.estimate import Estimate, around, undefined
from detectors.measures.matrix import NO_OUTCOMES, NO_POSITIVE_CLASS, Matrix, Measured, cells_of

Floats: TypeAlias = NDArray[np.float64]


def cost(
    *, fn: float = 0.0, fp: float = 0.0, pairs: Mapping[tuple[str, str], float] | None = None
) -> Measured:
    """Measures the mean cost of an outcome, in the unit of the costs given.

    Args:
        fn: of a positive label that was not predicted (needs a positive class).
        fp: of a positive prediction that was wrong.
        pairs: (label, prediction) -> cost instead of both; pairs not named cost nothing.
    """

    def measure(m: Matrix) -> Estimate:
        if pairs is None and m.positive is None:
            return undefined(NO_POSITIVE_CLASS)
        cells = cells_of(m)
        n = int(cells.sum())
        if not n:
            return undefined(NO_OUTCOMES)
        costs = _costs(m, fn, fp) if pairs is None else _costs_of_pairs(m, pairs)
        mean = float((cells * costs).sum()) / n
        spread = float((cells * (costs - mean) ** 2).sum())
        bounds = (0.0, None) if (costs >= 0).all() else (None, None)
        return around(mean, sqrt(spread) / n, n, bounds)

    return measure


def _costs(m: Matrix, fn: float, fp: float) -> Floats:
    positive = np.array([name == m.positive for name in m.classes])
    costs: Floats = np.where(positive[:, None] & ~positive[None, :], fn, 0.0)
    return costs + np.where(~positive[:, None] & positive[None, :], fp, 0.0)


def _costs_of_pairs(m: Matrix, pairs: Mapping[tuple[str, str], float]) -> Floats:
    rows = [[pairs.get((label, said), 0.0) for said in m.classes] for label in m.classes]
    return np.array(rows, np.float64)
