"""Log-evidence of every alternative of many signals, as it stands after each tick."""

from __future__ import annotations

from math import inf
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank.exact import raised

Ints32: TypeAlias = NDArray[np.int32]
Indices: TypeAlias = NDArray[np.intp]

_WIDE: Final = 255
_NARROW: Final = 48
"""Alternatives of all signals up to which running along each is faster than tick by tick."""
_EXACT_TICKS: Final = 4_096
"""Ticks whose evidence adds up below 2^29 and so exactly, see `exact.STEP`."""
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

    def glide(self, increments: Floats, before: int, capped: Indices) -> int:
        """Takes ticks one by one, as `advance` does, up to the first that may tell something.

        A mixture is at most its greatest part, so where no alternative is over the threshold nobody
        needs to look, and what holds of each tick is settled for all of them at once.

        Args:
            increments: evidence of the ticks after number `before`, shape (ticks, J, A).
            before: number of the last tick taken.
            capped: signals with an open episode: held down at each tick, they tell nothing.

        Returns: how many ticks were taken.
        """
        shape = self.logs.shape
        flat = increments.reshape(len(increments), -1)  # rows as long as they get
        if len(capped):
            ceiling = np.full(shape, inf)
            ceiling[capped] = self._ceiling[capped]
            path = _one_by_one(self.logs.ravel(), flat, ceiling.ravel())
        elif flat.shape[1] <= _NARROW and len(flat) <= _EXACT_TICKS:
            path = _at_once(self.logs.ravel(), flat)
        else:
            path = _one_by_one(self.logs.ravel(), flat, None)
        taken = self._quiet_ticks(path, capped)
        if taken:
            self.logs = path[taken - 1].reshape(shape).copy()
            stood = (path[:taken] <= 0.0).view(np.uint8)
            numbers: NDArray[Any] = np.arange(1, taken + 1)
            numbers = numbers.astype(np.uint8 if taken <= _WIDE else np.int32)
            last = (stood * numbers[:, None]).max(axis=0).reshape(shape)
            np.copyto(self.quiet, last.astype(np.int32) + before, where=last > 0)
        return taken

    def _quiet_ticks(self, path: Floats, capped: Indices) -> int:
        """Ticks before the first at which a signal that is not capped may be over."""
        if path.max(initial=-inf) <= self._lowest:
            return len(path)
        hot = path.max(axis=0).reshape(self.logs.shape).max(axis=1) > self.log_c
        hot[capped] = False
        if not hot.any():
            return len(path)
        over = path.reshape(len(path), *self.logs.shape)[:, hot].max(axis=2) > self.log_c[hot]
        return int(np.argmax(over.any(axis=1)))

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


def _one_by_one(logs: Floats, increments: Floats, ceiling: Floats | None) -> Floats:
    """CUSUMs after each tick: max(W, 0) + x, held at the ceiling; shape (ticks, CUSUMs)."""
    path = np.empty(increments.shape)
    nothing = np.zeros_like(logs)  # to make an array of a number takes longer than the work
    for now, more in zip(path, increments, strict=True):
        np.maximum(logs, nothing, out=now)
        np.add(now, more, now)
        if ceiling is not None:
            np.minimum(now, ceiling, out=now)
        logs = now
    return path


def _at_once(logs: Floats, increments: Floats) -> Floats:
    """As `_one_by_one`: sums P less the least before, min(-max(W, 0), P1, ..., Pt-1), all exact."""
    sums = np.add.accumulate(increments, axis=0)
    least = np.empty_like(sums)
    np.negative(np.maximum(logs, 0.0), out=least[0])
    least[1:] = sums[:-1]
    np.minimum.accumulate(least, axis=0, out=least)
    path: Floats = sums - least
    return path
