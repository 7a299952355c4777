"""Log-evidence of every alternative of many signals, as it stands after each tick."""

from __future__ import annotations

from math import inf
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank.exact import raised

Ints32: TypeAlias = NDArray[np.int32]
Indices: TypeAlias = NDArray[np.intp]

_FEW: Final = 128
"""Alternatives of all signals up to which ticks at once are faster than one by one."""
_NOBODY: Final[Indices] = np.zeros(0, np.intp)


class Evidence:
    """CUSUMs of J signals by A alternatives, and their mixture per signal.

    The mean number of times that the mixture passes c and starts again, in n ticks without news, is
    at most n/c: each CUSUM is below the Shiryaev-Roberts sum of the same bets, whose mean grows by
    at most 1 a tick.

    Source: Shin, Ramdas & Rinaldo 2022, arXiv 2203.03532, sections 3 and 4; Roberts 1966,
        "A comparison of some control chart procedures", Technometrics 8 (3).

    Attributes:
        logs: shape (J, A); multiples of `exact.STEP`.
        quiet: tick after which each alternative last stood at 0: what it says began then.
        log_c: threshold per signal.
    """

    __slots__ = ("_ceiling", "_log_prior", "_lowest", "log_c", "logs", "quiet")

    def __init__(self, prior: Floats, log_c: Floats) -> None:
        with np.errstate(divide="ignore"):  # weight 0 never counts
            self._log_prior = np.log(prior)
        self.logs = np.zeros(prior.shape)
        self.quiet = np.zeros(prior.shape, np.int32)
        self.retune(log_c)

    def retune(self, log_c: Floats) -> None:
        """Sets the thresholds, shape (J,)."""
        self.log_c = np.array(log_c, dtype=np.float64)
        self._lowest = float(self.log_c.min(initial=inf))
        self._ceiling = raised(self.log_c[:, None] - self._log_prior)

    def advance(self, increments: Floats, tick: int) -> Indices:
        """Takes the evidence of tick number `tick`, shape (J, A).

        Returns: the signals now over their threshold.
        """
        np.maximum(self.logs, 0.0, out=self.logs)
        self.logs += increments
        np.copyto(self.quiet, tick, where=self.logs <= 0)
        # A mixture is at most its greatest part, so most ticks need no exponential.
        if self.logs.max(initial=-inf) <= self._lowest:
            return _NOBODY
        hot = np.flatnonzero(self.logs.max(axis=1) > self.log_c)
        return hot[self.mixture(hot) > self.log_c[hot]] if len(hot) else hot

    @property
    def leaps(self) -> bool:
        """Whether `leap` is worth its while."""
        return self.logs.size <= _FEW

    def leap(self, increments: Floats, tick: int) -> bool:
        """Takes ticks up to number `tick` at once, shape (J, ticks, A), if none nears a threshold.

        The result is that of `advance`, bit by bit: sums are exact, and a CUSUM is its sum less the
        least that the sum had been.

        Returns: False where some signal may be over its threshold; nothing was taken then.
        """
        sums = np.cumsum(increments, axis=1)
        low = np.empty_like(sums)
        np.negative(np.maximum(self.logs, 0.0), out=low[:, 0])
        low[:, 1:] = sums[:, :-1]
        np.minimum.accumulate(low, axis=1, out=low)
        sums -= low
        if (sums.max(axis=(1, 2)) > self.log_c).any():
            return False
        at_zero = sums[:, ::-1] <= 0
        since = np.argmax(at_zero, axis=1)
        np.copyto(self.quiet, tick - since, where=at_zero.any(axis=1), casting="same_kind")
        self.logs = np.ascontiguousarray(sums[:, -1])
        return True

    def mixture(self, rows: Indices | slice = slice(None)) -> Floats:
        """Log of the weighted mean evidence of these signals."""
        weighted = self._log_prior[rows] + self.logs[rows]
        greatest = weighted.max(axis=1)
        scaled = np.exp(weighted - greatest[:, None])
        mixed: Floats = greatest + np.log(np.einsum("ja->j", scaled))
        return mixed

    def winner(self, at: int) -> int:
        """The alternative that weighs most."""
        return int(np.argmax(self._log_prior[at] + self.logs[at]))

    def restart(self, at: int, tick: int) -> None:
        """Forgets a signal's evidence."""
        self.logs[at] = 0.0
        self.quiet[at] = tick

    def cap(self, rows: Indices | int) -> None:
        """Holds alternatives where each alone would be just over the threshold."""
        self.logs[rows] = np.minimum(self.logs[rows], self._ceiling[rows])
