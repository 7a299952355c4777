"""How much less a row says because its neighbours say it, too: phi, for serial correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCKS = (32, 128, 512, 2048)
MIN_BLOCKS = 30
_GROWS = 3.0
"""Growth from one block length to the next, four times as long, that shows no end of memory."""


def phi(scores: NDArray[np.float64]) -> tuple[float, int]:
    """(phi, longest block it was measured with) of a time-ordered signal.

    n rows hold as much evidence about a mean as n/phi independent ones. The block is 0 where the
    signal is too short for any: its memory is then unknown, and phi is 1.

    Args:
        scores: shape (n, k), one column per score of the signal (such as z and z squared).

    Returns: phi >= 1, the greatest of b * Var(mean of b rows) / Var(row) over columns and block
        lengths b with at least 30 blocks. Where it still grew more than threefold with the last of
        them, it is taken to grow so for two lengths more: the signal remembers more rows than can
        be seen, as one with a cycle longer than the reference does.
    """
    variance = scores.var(axis=0) if len(scores) else np.zeros(scores.shape[1])
    varies = variance > 1e-12  # noqa: PLR2004  # below it is rounding of a constant
    greatest, longest, before, growth = 1.0, 0, 1.0, 1.0
    for size in BLOCKS:
        blocks = len(scores) // size
        if blocks < MIN_BLOCKS:
            break
        longest = size
        if varies.any():
            means = scores[: blocks * size, varies].reshape(blocks, size, -1).mean(axis=1)
            ratio = size * means.var(axis=0) / variance[varies]
            now = float(ratio.max())
            growth = now / (before if size > BLOCKS[0] else size / 4)  # grew by 4 at most
            before, greatest = max(now, 1.0), max(greatest, now)
    return greatest * growth**2 if growth > _GROWS else greatest, longest
