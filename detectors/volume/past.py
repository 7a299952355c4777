"""What a subject's own past says of its traffic: how much at which time, and how unsteady it is.

All of it is frozen from one midnight (UTC) to the next, so what a minute is compared with never
depends on that minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

SLOT_MS: Final = 900_000
DAY_MS: Final = 86_400_000
SLOTS: Final = DAY_MS // SLOT_MS
KEPT_DAYS: Final = 28
"""Days that are remembered: four of each weekday."""
SAME_WEEKDAY: Final = 2
"""Days of one weekday from which on a weekday is compared with its like alone."""
RECENT_DAYS: Final = 7
UNBOUNDED: Final = 1 << 53
"""As the most that a slot may have: anything may come."""
"""Days that a day is compared with while there are fewer of its weekday."""
UNKNOWN: Final = -1

_LAGS: Final = (5, 15, 60, 120)
"""Units over which the memory of traffic is looked for."""
_FEWEST_BLOCKS: Final = 10
_MAD: Final = 1.4826
_BIN: Final = 0.05
_BINS: Final = 400
_MANY_DAYS: Final = 7
_SEVERAL: Final = 4
_AROUND: Final = 2
_NEARLY_ALL: Final = 0.75
_SATURDAY, _SUNDAY = 2, 3
"""Days since the epoch, which was a Thursday, modulo 7."""


@dataclass(slots=True)
class Past:
    """The last 28 days, slot by slot.

    Attributes:
        days: number of each remembered day since the epoch, rising.
        totals: predictions by day and slot of 15 minutes; `UNKNOWN` before the first whole one.
        peaks: per day the greatest that each rule's statistic became outside alerts.
    """

    days: list[int] = field(default_factory=list)
    totals: Ints = field(default_factory=lambda: np.zeros((0, SLOTS), np.int64))
    peaks: list[list[float]] = field(default_factory=list)

    def put(self, at: int, total: int) -> None:
        """Remembers what a slot, which began at `at` ms, had in all."""
        day, slot = at // DAY_MS, at % DAY_MS // SLOT_MS
        if not self.days or self.days[-1] != day:
            self.days = [*self.days, day][-KEPT_DAYS:]
            empty = np.full((1, SLOTS), UNKNOWN, np.int64)
            self.totals = np.concatenate([self.totals, empty])[-KEPT_DAYS:]
        self.totals[-1, slot] = total

    def profile(self, day: int) -> tuple[list[float], list[float]]:
        """(typical, least) total of each slot for a day to come; `UNKNOWN` where it is.

        From two days of its weekday on they alone count, until then the last seven days. The least
        of four or more is the second least, so that one outage does not make what follows deaf.
        """
        alike = [at for at, known in enumerate(self.days) if (day - known) % 7 == 0]
        chosen = self.totals[-RECENT_DAYS:]
        typical, least = _middle_and_least(chosen)
        if len(alike) >= SAME_WEEKDAY:
            middle, low = _middle_and_least(self.totals[alike])
            typical = np.where(np.isnan(middle), typical, middle)
            least = np.where(np.isnan(low), least, low)
        totals = (np.where(np.isnan(each), UNKNOWN, each).tolist() for each in (typical, least))
        return next(totals), next(totals)

    def bounds(self, day: int, typical: Sequence[float]) -> tuple[list[float], list[float]]:
        """(least, most) total of each slot that is no news on a day to come.

        Both are the typical total from two days of its weekday on. Until then the day may be as
        the others are, or as the one of its weekday was; where there was none, as any day was, and
        a Saturday or Sunday as it likes: many kinds of traffic pause then, and the first time
        cannot be told from an outage. Days are smoothed over five slots.
        """
        usual = np.array(typical)
        own = [at for at, known in enumerate(self.days) if (day - known) % 7 == 0]
        if len(own) >= SAME_WEEKDAY:
            return usual.tolist(), usual.tolist()
        if not own and day % 7 in (_SATURDAY, _SUNDAY):
            return [0.0] * SLOTS, [float(UNBOUNDED)] * SLOTS
        chosen = self.totals[own] if own else self.totals
        smooth = _around(np.where(chosen == UNKNOWN, np.nan, chosen))
        low, high = (pick.reduce(smooth, axis=0, initial=np.nan) for pick in (np.fmin, np.fmax))
        return np.fmin(usual, low).tolist(), np.fmax(usual, high).tolist()

    def daily(self) -> float:
        """Predictions on a typical day, of those of which nearly all is known; 0 without any."""
        known = self.totals != UNKNOWN
        slots = known.sum(axis=1)
        enough = slots >= SLOTS * _NEARLY_ALL
        if not enough.any():
            return 0.0
        sums = np.where(known, self.totals, 0).sum(axis=1)
        return float(np.median(sums[enough] * SLOTS / slots[enough]))

    def close_day(self, peaks: Sequence[float]) -> None:
        """Remembers how far a day's statistics went."""
        self.peaks = [*self.peaks, list(peaks)][-KEPT_DAYS:]

    def usual_peaks(self, rules: int) -> list[float]:
        """How far each statistic goes without its being news: its greatest daily peak.

        Of a week and more the second greatest, so that one bad day does not make a month deaf.
        """
        if not self.peaks:
            return [0.0] * rules
        ranked = np.sort(np.array(self.peaks), axis=0)
        usual: list[float] = ranked[-2 if len(ranked) >= _MANY_DAYS else -1].tolist()
        return usual

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {"days": self.days, "totals": dump_array(self.totals), "peaks": self.peaks}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        peaks = [list(each) for each in dumped["peaks"]]
        return cls(list(dumped["days"]), load_array(dumped["totals"]), peaks)


def _middle_and_least(totals: Ints) -> tuple[Floats, Floats]:
    """Median and (second) least of each column's known totals; NaN where there is none.

    Where slots hold few events each, the least is better known from five of them together; it is
    never more than the median.
    """
    values = np.where(totals == UNKNOWN, np.nan, totals)
    none = np.isnan(values).all(axis=0) if len(values) else np.ones(totals.shape[1], bool)
    if none.all():
        nothing = np.full(totals.shape[1], np.nan)
        return nothing, nothing
    middle = np.full(totals.shape[1], np.nan)
    middle[~none] = np.nanmedian(values[:, ~none], axis=0)
    together = _least(_around(values))
    together[np.isnan(together)] = 0.0
    least = np.fmax(_least(values), np.fmin(middle, together))
    return middle, np.where(none, np.nan, least)


def _around(values: Floats) -> Floats:
    """Means over the five slots around each, round the clock; NaN where one is not known."""
    padded = np.pad(values, ((0, 0), (_AROUND, _AROUND)), mode="wrap")
    means: Floats = sliding_window_view(padded, 2 * _AROUND + 1, axis=1).mean(axis=2)
    return means


def _least(values: Floats) -> Floats:
    """The least of each column, the second least of four and more; NaN where there is none."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    several = np.count_nonzero(~np.isnan(values), axis=0) >= _SEVERAL
    found: Floats = ordered[several.astype(np.intp), np.arange(values.shape[1])]
    return found


@dataclass(slots=True)
class Spread:
    """How unsteady traffic is around what was expected, and how long that lasts.

    Attributes:
        scale: 1.48 times the median residual, in the units of 2 sqrt(x); at least a Poisson's 1.
        phi: long-run variance over variance, the greatest over blocks of 5 to 120 units.
    """

    scale: float = 1.0
    phi: float = 1.0
    _bins: Ints = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    _squares: float = 0.0
    _n: int = 0
    _open: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0] for _ in _LAGS])
    _blocks: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0] for _ in _LAGS])

    def add(self, residual: float, z: float) -> None:
        """Takes a unit's residual, and the same in scales, clipped."""
        self._bins[min(int(abs(residual) / _BIN), _BINS - 1)] += 1
        self._squares += z * z
        self._n += 1
        for at, lag in enumerate(_LAGS):
            block = self._open[at]
            block[0] += z
            block[1] += 1
            if block[1] >= lag:
                mean = block[0] / lag
                self._blocks[at][0] += mean * mean
                self._blocks[at][1] += 1
                block[:] = (0.0, 0.0)

    def settle(self) -> None:
        """A day is over: from now on this is known; older days weigh half."""
        n = int(self._bins.sum())
        if n:
            half = int(np.searchsorted(np.cumsum(self._bins), (n + 1) // 2))
            self.scale = max(1.0, _MAD * (half + 1) * _BIN)
        if self._n and self._squares > 0:
            variance = self._squares / self._n
            factors = [
                lag * squares / blocks / variance
                for lag, (squares, blocks) in zip(_LAGS, self._blocks, strict=True)
                if blocks >= _FEWEST_BLOCKS
            ]
            self.phi = max([1.0, *factors])
        self._bins //= 2
        self._squares, self._n = self._squares / 2, self._n // 2
        self._blocks = [[squares / 2, blocks // 2] for squares, blocks in self._blocks]

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "scale": self.scale,
            "phi": self.phi,
            "bins": dump_array(self._bins),
            "squares": self._squares,
            "n": self._n,
            "open": self._open,
            "blocks": self._blocks,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(
            dumped["scale"],
            dumped["phi"],
            load_array(dumped["bins"]),
            dumped["squares"],
            dumped["n"],
            [list(block) for block in dumped["open"]],
            [list(block) for block in dumped["blocks"]],
        )


def root(count: float) -> float:
    """2 sqrt(x + 3/8): of a Poisson count, a number with standard deviation 1.

    Source: Anscombe 1948, "The transformation of Poisson, binomial and negative-binomial data",
        Biometrika 35 (3/4).
    """
    return 2 * sqrt(count + 0.375)
