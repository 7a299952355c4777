"""A block of up to 200 binned signals as matrices: counts of a tick in, evidence out.

Its matrices are padded to the greatest number of labels and of alternatives in the block; what pads
has no count and no weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.arrays import dump_array, load_array
from detectors.bank.alternatives import adaptive, adaptive_radius, bets
from detectors.bank.evidence import Evidence
from detectors.bank.labels import Ints, Signal
from detectors.bank.life import FEWEST, WINDOW, Effect, Judge, Life, Turn
from detectors.bank.season import expected_counts
from detectors.distances import PSEUDO_COUNT, excess_psi
from detectors.reference.profile import Codes

REFRESH: Final = 8
"""Ticks between two turns of the adaptive bet."""
HALF_LIFE: Final = 64
"""Ticks in which what it learned loses half its weight."""
_TOGETHER: Final = 1 << 16
"""Numbers of evidence computed at once; more would leave the cache."""
_KEEP = 0.5 ** (REFRESH / HALF_LIFE)

Hours: TypeAlias = NDArray[np.int64]


class Block:
    """Signals that see every row together, all with as many hourly profiles (24, or 1)."""

    def __init__(
        self, signals: Sequence[Signal], log_c: Sequence[float], size: int, gate: float
    ) -> None:
        self.signals, self.size, self.gate = list(signals), size, gate
        self.at = np.array([signal.at for signal in signals], dtype=np.intp)
        each = [bets(signal) for signal in signals]
        j, h = len(signals), len(signals[0].counts)
        k = max(signal.counts.shape[1] for signal in signals)
        a = max(len(bet.names) for bet in each)
        self._label_of = np.empty((j, 256), np.int64)
        self._offset = np.arange(j, dtype=np.int64)[:, None] * 256
        self._p = np.zeros((j, h, k))
        self._table = np.zeros((j, h, k, a))
        prior = np.zeros((j, a))
        self._labels = [signal.counts.shape[1] for signal in signals]
        for row, (signal, bet) in enumerate(zip(signals, each, strict=True)):
            n, m = self._labels[row], len(bet.names)
            self._label_of[row] = signal.label_of
            self._p[row, :, :n] = signal.shares
            self._table[row, :, :n, :m] = bet.evidence
            prior[row, :m] = bet.prior
        self._ball = np.array(
            [adaptive_radius(s.counts.shape[1], s.effective_n) for s in signals], dtype=np.float64
        )
        self._phi = np.array([signal.phi for signal in signals], dtype=np.float64)
        self.evidence = Evidence(prior, np.array(log_c, dtype=np.float64))
        self.life = Life(j)
        self._judge_names = [signal.name for signal in signals], [bet.names for bet in each]
        self._recent = self._p.mean(axis=1).astype(np.float32)
        self._expected = self._recent if h > 1 else np.zeros((j, 0), np.float32)
        self._group = np.zeros((j, k), np.uint16)
        self._group_hours = np.zeros(h, np.int64)
        self._turn_adaptive()

    def step(self, held: Codes, hours: Hours | None, rows: tuple[int, int], end: int) -> list[Turn]:
        """Takes the ticks from row to row (exclusive), whole ones, and returns what they tell.

        Args:
            held: codes of all signals, its last column row `end` - 1.
            hours: hour of day of the held rows; None: the signals have no hourly profiles.
            rows: first and after last row, multiples of the tick size.
            end: rows seen so far, those in an open tick included.
        """
        first = end - held.shape[1]
        turns: list[Turn] = []
        judge = self._judge(held, hours, first)
        group = REFRESH * self.size
        together = max(_TOGETHER // (self.evidence.logs.size * REFRESH), 1) * group
        start, stop = rows
        while start < stop:
            until = min(stop, (start // group) * group + together)
            codes = held[self.at, start - first : until - first]
            of_hour = None if hours is None else hours[start - first : until - first]
            turns += self._take(codes, of_hour, start, judge)
            start = until
        return turns

    def _take(self, codes: Codes, hours: Hours | None, start: int, judge: Judge) -> list[Turn]:
        """Takes the whole ticks of some rows, the first of which is number `start`."""
        counts, present = self._count(codes, hours)
        j, ticks, u, k = counts.shape
        table = self._table if present is None else self._table[:, present]
        flat = counts.reshape(j, ticks, u * k).astype(np.float64)
        increments = np.empty((ticks, j, table.shape[-1]))
        np.matmul(flat, table.reshape(j, u * k, -1), out=increments.transpose(1, 0, 2))
        before = start // self.size
        ends = [*range(REFRESH - before % REFRESH, ticks + 1, REFRESH)]  # of groups of ticks
        if ends:
            bets = self._learn(counts, hours, ends)
            bets = bets if present is None else bets[:, :, present]
            for bet, first, last in zip(bets, ends, [*ends[1:], ticks], strict=True):
                some = flat[:, first:last]  # the sums are exact, in whichever order
                increments[first:last, :, 0] = (some @ bet.reshape(j, u * k, 1))[..., 0].T
        last = ends[-1] if ends else 0
        self._group += counts[:, last:].sum(axis=(1, 2)).astype(np.uint16)
        self._group_hours += self._hours(hours, last * self.size, ticks * self.size)
        return self.life.run(self.evidence, increments, before, judge)

    def _count(self, codes: Codes, hours: Hours | None) -> tuple[Ints, Ints | None]:
        """Rows by label, shape (J, ticks, U, K), and the U hours they are of; None: of all H."""
        j, h, k, _ = self._table.shape
        ticks, u = codes.shape[1] // self.size, 1
        place = np.repeat(np.arange(0, ticks * k, k), self.size)
        present = None
        if hours is not None and h > 1:
            present, local = np.unique(hours, return_inverse=True)
            u = len(present)
            place = place * u + local * k
        labels = np.take(self._label_of, codes + self._offset)
        labels += place
        labels += np.arange(0, j * ticks * u * k, ticks * u * k)[:, None]
        counts = np.bincount(labels.ravel(), minlength=j * ticks * u * k)
        return counts.reshape(j, ticks, u, k), None if u == h else present

    def _hours(self, hours: Hours | None, first: int, last: int) -> Ints:
        """Rows by hour of those from first to last; of signals without hours, how many."""
        h = len(self._group_hours)
        if hours is None or h == 1:
            return np.array([last - first])
        return np.bincount(hours[first:last], minlength=h)

    def _learn(self, counts: Ints, hours: Hours | None, ends: Sequence[int]) -> Floats:
        """Turns the adaptive bet to what each group of ticks showed, up to the last that ended.

        Returns: its evidence after each group, shape (groups, J, H, K).
        """
        rows = REFRESH * self.size
        of_tick = counts[:, :, 0] if counts.shape[2] == 1 else counts.sum(axis=2)
        seen = np.add.reduceat(of_tick, [0, *ends[:-1]], axis=1)
        if ends[-1] < counts.shape[1]:
            seen[:, -1] = of_tick[:, ([0, *ends])[-2] : ends[-1]].sum(axis=1)
        seen[:, 0] += self._group
        recent = np.empty((len(ends), *self._recent.shape), np.float32)
        expected = np.empty((len(ends), *self._expected.shape), np.float32)
        for at, end in enumerate(ends):
            self._recent = recent[at] = _moved(self._recent, seen[:, at] / rows)
            if len(self._group_hours) > 1:
                first = ends[at - 1] if at else 0
                self._group_hours += self._hours(hours, first * self.size, end * self.size)
                usual = np.einsum("h,jhk->jk", self._group_hours / rows, self._p)
                self._expected = expected[at] = _moved(self._expected, usual)
                self._group_hours[:] = 0
        self._group[:] = 0
        self._group_hours[:] = 0
        bets = self._adaptive(recent, expected)
        self._table[..., 0] = bets[-1]
        return bets

    def _adaptive(self, recent: NDArray[np.float32], expected: NDArray[np.float32]) -> Floats:
        usual = expected.astype(np.float64) if expected.size else self._p[:, 0]
        return adaptive(self._p, recent.astype(np.float64), usual, self._ball, self._phi)

    def _turn_adaptive(self) -> None:
        self._table[..., 0] = self._adaptive(self._recent, self._expected)

    def _judge(self, held: Codes, hours: Hours | None, first: int) -> Judge:
        def moved(at: int, events: int, tick: int, limit: float) -> Effect:
            stop = tick * self.size
            start = max(stop - events, 0) - first  # what was held before the bank began is not its
            stop -= first
            current = self._counts_of(at, held[self.at[at], start:stop])
            of_hour = None if hours is None else hours[start:stop]
            signal = self.signals[at]
            before = expected_counts(signal.counts, of_hour)
            excess = excess_psi(before, current, phi=signal.phi)
            return Effect(excess, stop - start, excess >= limit, _most(signal, before, current))

        def effect(at: int, began: int, tick: int) -> Effect:
            events = min(max((tick - began) * self.size, FEWEST), WINDOW)
            return moved(at, events, tick, self.gate)

        def calm(at: int, tick: int) -> Effect:
            limit = self.gate / 2 + min(self._spread(at), self.gate)
            return moved(at, WINDOW // self.size * self.size, tick, limit)

        names, alternatives = self._judge_names
        return Judge(names, alternatives, self.size, effect, calm)

    def _spread(self, at: int) -> float:
        """Two standard deviations of the PSI that the reference's own sampling error makes.

        Without it, a signal with a reference of hundreds of rows might never be back.
        """
        signal = self.signals[at]
        return float(2 * np.sqrt(2 * (self._labels[at] - 1)) / signal.effective_n)

    def _counts_of(self, at: int, codes: Codes) -> Ints:
        signal = self.signals[at]
        return np.bincount(signal.label_of[codes], minlength=self._labels[at])

    _STATE = (
        "logs",
        "quiet",
        "log_c",
        "recent",
        "expected",
        "group",
        "open",
        "due",
        "calm",
        "told",
    )

    def _state(self) -> dict[str, NDArray[Any]]:
        evidence, life = self.evidence, self.life
        whole = (evidence.logs, evidence.quiet, evidence.log_c, self._recent, self._expected)
        rest = (self._group, life.open, life.due, life.calm, life.told)
        return dict(zip(self._STATE, (*whole, *rest), strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of state that events change."""
        return sum(array.nbytes for array in self._state().values()) + self._group_hours.nbytes

    def dump(self) -> dict[str, Any]:
        """As builtins; the signals' references are stored apart."""
        return {
            "names": [signal.name for signal in self.signals],
            "digests": [signal.digest for signal in self.signals],
            "hours": self._group_hours.tolist(),
            **{name: dump_array(array) for name, array in self._state().items()},
        }

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from a dump, for the signals that are the same there; the others stay new."""
        arrays = {name: load_array(dumped[name]) for name in self._STATE}
        stored = zip(dumped["names"], dumped["digests"], strict=True)
        index = {key: row for row, key in enumerate(stored)}
        if len(dumped["hours"]) == len(self._group_hours):
            self._group_hours[:] = dumped["hours"]
        state = self._state()
        for row, signal in enumerate(self.signals):
            old = index.get((signal.name, signal.digest))
            if old is not None:
                for name, array in arrays.items():
                    _copy(array[old], state[name], row)
        self.evidence.retune(self.evidence.log_c)
        self.life.refresh()
        self._turn_adaptive()


def _moved(mean: NDArray[np.float32], seen: Floats) -> NDArray[np.float32]:
    """The exponential mean after one more group; kept in half the bytes."""
    return (_KEEP * mean.astype(np.float64) + (1 - _KEEP) * seen).astype(np.float32)


def _copy(source: NDArray[Any], target: NDArray[Any], row: int) -> None:
    """A signal's state between blocks that pad differently."""
    if source.ndim == 0:
        target[row] = source
    else:
        n = min(len(source), target.shape[1])
        target[row, :n] = source[:n]


def _most(signal: Signal, before: Floats, current: Ints) -> str:
    """The label that adds most to the PSI."""
    p, q = before + PSEUDO_COUNT, current + PSEUDO_COUNT
    p, q = p / p.sum(), q / q.sum()
    at = int(np.argmax((q - p) * np.log(q / p)))
    return f"{'more' if q[at] > p[at] else 'less'} {signal.names[at]}"
