"""SRBinary: sequential tests of 0/1 signals: is this rate worse than the reference, surely?

An error rate, the share of missing or unseen values, a coverage. The tolerance around the reference
is the effect that matters, so there is no other gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.arrays import dump_array, load_array
from detectors.bank.alternatives import SAMPLING_ERRORS
from detectors.bank.budget import TICK
from detectors.bank.evidence import Evidence
from detectors.bank.exact import floored
from detectors.bank.life import WINDOW, Effect, Judge, Life, Turn

UP: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.8)
"""Alternatives above the upper limit, in standard deviations there."""
DOWN: Final = (0.85, 0.6, 0.3)
"""Alternatives below the lower limit, as factors."""
_NEARLY_ONE = 1 - 1e-9
_WORD: Final = 32
_TOGETHER: Final = 1 << 15
"""Numbers of evidence computed at once; more would leave the cache."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A 0/1 signal: `hits` of `n` rows in the reference.

    Attributes:
        relative: tolerance as a share of the reference's rate.
        absolute: least tolerance, as a rate; the greater of both holds.
        fall: a fall is news, too.
    """

    name: str
    hits: int
    n: int
    phi: float = 1.0
    relative: float = 0.1
    absolute: float = 0.002
    fall: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The rates between which there is no news: tolerance, or the reference's own error."""
        p = (self.hits + 0.5) / (self.n + 1)
        error = SAMPLING_ERRORS * sqrt(p * (1 - p) * self.phi / self.n)
        slack = max(self.relative * p, self.absolute, error)
        return max(p - slack, 0.0), min(p + slack, 1.0)

    @property
    def digest(self) -> bytes:
        """Names the test: evidence of one cannot go on where it differs."""
        return sha256(repr(self).encode()).digest()[:8]


class Rates:
    """The tests of 0/1 signals that share a stream of rows."""

    _ALTERNATIVES = len(UP) + len(DOWN)

    def __init__(
        self, rates: Sequence[Rate], log_c: Mapping[str, float], *, tick: int = TICK
    ) -> None:
        """Tests without evidence; `log_c`: threshold by signal name, of `budget.log_threshold`."""
        self.rates, self.tick, self.rows = list(rates), tick, 0
        j = len(self.rates)
        hit, miss, prior = (np.zeros((j, self._ALTERNATIVES)) for _ in range(3))
        for at, rate in enumerate(self.rates):
            _bets(rate, hit[at], miss[at], prior[at])
        self._none, self._more = tick * miss, hit - miss  # exact: all are multiples of one step
        self.evidence = Evidence(prior, np.array([log_c[rate.name] for rate in self.rates]))
        self.life = Life(j)
        self._open_hits = np.zeros(j, np.int64)
        self._hits = np.zeros((j, ceil(WINDOW / tick)), np.uint8)  # of the last ticks, in a ring
        names = ["higher"] * len(UP) + ["lower"] * len(DOWN)
        self._judge = Judge(
            [rate.name for rate in self.rates], [tuple(names)] * j, tick, self._effect, self._calm
        )

    def step(self, bits: NDArray[np.bool_]) -> list[Turn]:
        """Takes the next rows, shape (J, n); returns what they told, by row."""
        n = bits.shape[1]
        begin, self.rows = self.rows, self.rows + n
        done, stop = begin // self.tick, self.rows // self.tick
        if stop == done:
            self._open_hits += np.count_nonzero(bits, axis=1)
            return []
        last = stop * self.tick - begin
        first = (done + 1) * self.tick - begin
        head = self._open_hits + np.count_nonzero(bits[:, :first], axis=1)
        hits = np.concatenate([head[:, None], _sums(bits[:, first:last], self.tick)], axis=1)
        self._open_hits = np.count_nonzero(bits[:, last:], axis=1)
        together = max(_TOGETHER // max(self._none.size, 1), 1)
        turns: list[Turn] = []
        for at in range(0, stop - done, together):
            turns += self._take(hits[:, at : at + together], done + at)
        return turns

    def _take(self, hits: NDArray[np.int64], done: int) -> list[Turn]:
        """Takes the ticks behind number `done`, shape (J, ticks)."""
        increments = hits.T.repeat(self._ALTERNATIVES, axis=1) * self._more.ravel()
        increments += self._none.ravel()
        columns = np.arange(done + 1, done + hits.shape[1] + 1) % self._hits.shape[1]
        return self.life.run(
            self.evidence,
            increments.reshape(-1, *self._more.shape),
            done,
            self._judge,
            lambda first, last: self._remember(columns[first:last], hits[:, first:last]),
        )

    def _remember(self, columns: NDArray[np.intp], hits: NDArray[np.int64]) -> None:
        kept = min(len(columns), self._hits.shape[1])
        self._hits[:, columns[len(columns) - kept :]] = hits[:, len(columns) - kept :]

    def _rate(self, at: int, ticks: int, tick: int) -> tuple[float, int]:
        """(rate, rows) of the last ticks, as many as are held and asked for."""
        ticks = max(min(ticks, tick, self._hits.shape[1]), 1)
        columns = np.arange(tick - ticks + 1, tick + 1) % self._hits.shape[1]
        rows = ticks * self.tick
        return int(self._hits[at, columns].sum()) / rows, rows

    def _effect(self, at: int, began: int, tick: int) -> Effect:
        return Effect(*self._rate(at, tick - began, tick), material=True)

    def _calm(self, at: int, tick: int) -> Effect:
        rate, rows = self._rate(at, WINDOW // self.tick, tick)
        low, high = self.rates[at].limits
        below = self.rates[at].fall and rate < low
        return Effect(rate, rows, material=rate > high or below)

    def retune(self, log_c: Mapping[str, float]) -> None:
        """Sets new thresholds, such as for another traffic."""
        self.evidence.retune(np.array([log_c[rate.name] for rate in self.rates]))

    def close(self, name: str) -> None:
        """An operator closed the signal's episode; it is watched anew."""
        for at, rate in enumerate(self.rates):
            if rate.name == name:
                self.life.shut(self.evidence, at, self.rows // self.tick)

    def levels(self) -> dict[str, tuple[float, float]]:
        """(log-evidence, threshold) of each signal."""
        mixed, limits = self.evidence.mixture().tolist(), self.evidence.log_c.tolist()
        return {r.name: (m, c) for r, m, c in zip(self.rates, mixed, limits, strict=True)}

    def open_signals(self) -> list[str]:
        """Signals with an open episode, by name."""
        return sorted(self.rates[at].name for at in np.flatnonzero(self.life.open).tolist())

    _STATE = ("logs", "quiet", "log_c", "open_hits", "hits", "open", "due", "calm", "told")

    def _state(self) -> dict[str, NDArray[Any]]:
        evidence, life = self.evidence, self.life
        whole = (evidence.logs, evidence.quiet, evidence.log_c, self._open_hits, self._hits)
        rest = (life.open, life.due, life.calm, life.told)
        return dict(zip(self._STATE, (*whole, *rest), strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of state that events change."""
        return sum(array.nbytes for array in self._state().values())

    def dump(self) -> dict[str, Any]:
        """The state as builtins; the references are stored apart."""
        return {
            "rows": self.rows,
            "tick": self.tick,
            "rates": [rate.digest for rate in self.rates],
            **{name: dump_array(array) for name, array in self._state().items()},
        }

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`, bit by bit, for each signal whose reference is still the same."""
        self.rows = dumped["rows"]
        index = {digest: row for row, digest in enumerate(dumped["rates"])}
        arrays = {name: load_array(dumped[name]) for name in self._STATE}
        state = self._state()
        for row, rate in enumerate(self.rates):
            old = index.get(rate.digest) if dumped["tick"] == self.tick else None
            if old is not None:
                for name, array in arrays.items():
                    state[name][row] = array[old]
        self.evidence.retune(self.evidence.log_c)
        self.life.refresh()


def _sums(bits: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """How many of each `size` bits are set, shape (J, n / size)."""
    j, n = bits.shape
    sums: NDArray[np.int64]
    if size == _WORD:  # a word of bits a tick
        words = np.packbits(bits, axis=1).view(np.uint32)
        sums = np.bitwise_count(words).astype(np.int64)
    else:
        sums = bits.reshape(j, n // size, size).sum(axis=2)
    return sums


def _bets(rate: Rate, hit: Floats, miss: Floats, prior: Floats) -> None:
    """Fills a signal's evidence of a 1 and of a 0, and its prior, shape (A,) each.

    E[LR] <= 1 under every rate within the limits, since LR of a greater rate grows with each hit.
    """
    low, high = rate.limits
    used = []
    if high < _NEARLY_ONE:
        for at, step in enumerate(UP):
            q = min(high + step * sqrt(high * (1 - high)), (1 + high) / 2)
            hit[at], miss[at] = np.log(q / high), np.log((1 - q) / (1 - high))
            used.append(at)
    if rate.fall and low > 0:
        for at, factor in enumerate(DOWN, start=len(UP)):
            q = factor * low
            hit[at], miss[at] = np.log(q / low), np.log((1 - q) / (1 - low))
            used.append(at)
    hit[:], miss[:] = floored(hit / rate.phi), floored(miss / rate.phi)
    prior[used] = 1 / max(len(used), 1)
