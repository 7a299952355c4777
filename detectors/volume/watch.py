"""Volume: how many predictions a minute come, against what the subject's own past expects.

Minutes are those of *arrival*, not of `ts`: a minute of arrivals is over, and final, when the clock
has passed it, whether anything came or not, and old events that are sent again make no minute of
the past look busy. What is usual is learned from the subject's own arrivals and never from its
reference, which may be a table of training data whose times say nothing about traffic.

Three rules speak up. *Silence*: nothing came where even the least that such a stretch ever had
would be 16 events. *Level*: three minutes in a row lie more than 5 scales away. *Evidence*: a CUSUM
finds a lasting, smaller change. Each rule's statistic is also held against how far it went on other
days; and traffic that comes in bursts or pauses when it likes, day after day, is not watched at
all: nothing can be said about the minutes of what no clock foretells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.volume.past import DAY_MS, SLOT_MS, SLOTS, UNKNOWN, Past, Spread, root
from detectors.volume.signs import DOWN, FALLS, LESS, LIMITS, MORE, SILENCE, UNSTEADY, Signs
from detectors.volume.told import Episode, Rule, Told

Ints: TypeAlias = NDArray[np.int64]

MINUTE_MS: Final = 60_000
WARMUP_DAYS: Final = 3
"""Days before anything is told: the first says what is usual, the others how unsteady it is."""
EACH_MINUTE: Final = 720
"""Predictions a day from which on every minute is looked at; below, every quarter of an hour."""
SLOWEST: Final = 96
"""Predictions a day, one a quarter of an hour, below which traffic is not watched."""
ASLEEP_MS: Final = 7 * DAY_MS
"""Silence after which the subject is taken for retired; traffic that then comes is learned anew."""
ADAPTED_MS: Final = 3 * DAY_MS
"""How long another level lasts, longer than a weekend, before it is the level, learned anew."""

_CALM: Final = 3.0
_CALM_UNITS: Final = 5
_CLIP: Final = 4.0
_APART: Final = 1.2
"""Scales between the least and the most of a slot, on average: noise alone makes less than one."""
_MARGIN: Final = 1.3
"""How much further than on other days a statistic must go."""


@dataclass(slots=True)
class Volume:
    """The traffic of one subject.

    Attributes:
        until: no unit that ends later is judged: the rows end here, as a file does; None: never.
        now: begin of the open unit; None while nothing is known of the subject.
        unit_ms: a minute, or a slot while that is fine enough.
        count: rows in the open unit.
    """

    until: int | None = None
    now: int | None = None
    unit_ms: int = SLOT_MS
    count: int = 0
    past: Past = field(default_factory=Past)
    spread: Spread = field(default_factory=Spread)
    level: float = 0.0
    open: Episode | None = None
    _first_day: int = 0
    _watched: bool = False
    _slot_total: int = 0
    _quiet: int = 0
    """Begin of the first unit without rows since the last that had some."""
    _signs: Signs = field(default_factory=Signs)
    _peaks: list[float] = field(default_factory=lambda: [0.0] * len(LIMITS))
    _limits: list[float] = field(default_factory=lambda: list(LIMITS))
    _typical: list[float] = field(default_factory=list)
    _least: list[float] = field(default_factory=list)
    _low: list[float] = field(default_factory=list)
    _high: list[float] = field(default_factory=list)
    _apart: bool = False
    """Whether the days that today may be like were not alike."""

    def step(self, arrival: Ints, clock: int) -> list[Told]:
        """Takes arrivals of predictions, rising, and the clock; returns what they told, in order.

        Args:
            arrival: ms, shape (n,).
            clock: ms that no later row arrives before.
        """
        told: list[Told] = []
        if len(arrival):
            self._take(arrival, told)
        self._advance(clock, told)
        return told

    @property
    def next_due(self) -> int | None:
        """An arrival before which the clock alone tells nothing; None: it never does."""
        if self.now is None:
            return None
        due = self.now + self.unit_ms
        return None if self.until is not None and due > self.until else due

    def statistics(self) -> dict[tuple[str, str], float]:
        """How far each rule's statistic is, as a share of what would be told."""
        if not self._watched:
            return {}
        far = self._signs.values()
        names = ("silence", "drop", "rise", "drop", "rise")
        shown: dict[tuple[str, str], float] = {}
        for name, value, limit in zip(names, far, self._limits, strict=True):
            key = ("volume", name)
            shown[key] = max(shown.get(key, 0.0), value / limit)
        return shown

    # -- time ----------------------------------------------------------------------------------

    def _take(self, arrival: Ints, told: list[Told]) -> None:
        minutes = arrival // MINUTE_MS
        if minutes[0] == minutes[-1]:
            groups = [(int(minutes[0]), len(minutes))]
        else:
            ends = [*((minutes[1:] != minutes[:-1]).nonzero()[0] + 1).tolist(), len(minutes)]
            groups = [(int(minutes[end - 1]), end - at) for at, end in pairwise([0, *ends])]
        for minute, n in groups:
            self._advance(minute * MINUTE_MS, told)
            if self.now is None:  # its first row, or it slept
                self._begin(minute * MINUTE_MS)
                if self.open is not None:
                    told.append(self._said("recovered", self.open, (n, 0.0), SILENCE, 0.0))
                    self.open = None
            self.count += n

    def _begin(self, at: int) -> None:
        self.now = at // SLOT_MS * SLOT_MS
        self.unit_ms, self.count, self._slot_total = SLOT_MS, 0, UNKNOWN  # part of a slot
        self.past, self.spread, self.level = Past(), Spread(), 0.0
        self._first_day, self._watched, self._quiet = at // DAY_MS, False, self.now
        self._signs = Signs()
        self._peaks, self._limits = [0.0] * len(LIMITS), list(LIMITS)
        self._expect(self._first_day)

    def _advance(self, clock: int, told: list[Told]) -> None:
        """Judges every unit that the clock has passed."""
        until = clock if self.until is None else min(clock, self.until)
        while self.now is not None and self.now + self.unit_ms <= until:
            self._close_unit(self.now, told)

    def _close_unit(self, begin: int, told: list[Told]) -> None:
        count, end = self.count, begin + self.unit_ms
        self.count, self.now = 0, end
        if count:
            self._quiet = end
        self._judge(count, begin, told)
        if self._slot_total != UNKNOWN:
            self._slot_total += count
        if end % SLOT_MS == 0:
            self.past.put(end - SLOT_MS, self._slot_total)
            self._slot_total = 0
            if end % DAY_MS == 0:
                self._midnight(end // DAY_MS)
            if end - self._quiet >= ASLEEP_MS:
                self.now = None

    def _midnight(self, day: int) -> None:
        """A day is over: what is expected of the next one is settled."""
        if any(total >= 0 for total in self._typical):
            self.past.close_day(self._peaks)
        self._peaks = [0.0] * len(LIMITS)
        self.spread.settle()
        daily = self.past.daily()
        unit = MINUTE_MS if daily >= EACH_MINUTE else SLOT_MS
        if unit != self.unit_ms:
            self.unit_ms, self.spread, self.level = unit, Spread(), 0.0
            self.past.peaks = []
            self._signs = Signs()
        usual = self.past.usual_peaks(len(LIMITS))
        self._limits = [max(a, _MARGIN * b) for a, b in zip(LIMITS, usual, strict=True)]
        known = len(self.past.peaks) >= WARMUP_DAYS - 1 and day - self._first_day >= WARMUP_DAYS
        steady = all(a <= b for a, b in zip(usual, UNSTEADY, strict=True))
        self._watched = known and steady and daily >= SLOWEST
        if daily >= SLOWEST:
            self._expect(day)
        else:
            self._typical = [float(UNKNOWN)] * SLOTS

    def _expect(self, day: int) -> None:
        self._typical, least = self.past.profile(day)
        self._low, self._high = self.past.bounds(day, self._typical)
        self._least = [min(a, b) for a, b in zip(least, self._low, strict=True)]
        between = zip(self._low, self._high, strict=True)
        gaps = [root(high) - root(low) for low, high in between if low >= 0]
        self._apart = sum(gaps) > _APART * self.spread.scale * len(gaps)

    # -- rules ---------------------------------------------------------------------------------

    def _judge(self, count: int, begin: int, told: list[Told]) -> None:
        slot = begin % DAY_MS // SLOT_MS
        typical = self._typical[slot]
        if typical < 0:
            return
        share = self.unit_ms / SLOT_MS
        expected = typical * share
        if self._apart:
            expected = min(max(count, self._low[slot] * share), self._high[slot] * share)
        inside = self._apart and expected == count
        residual = 0.0 if inside else root(count) - root(expected) - self.level
        z = residual / self.spread.scale
        clipped = min(max(z, -_CLIP), _CLIP)
        if abs(z) < _CALM and self.open is None:
            self.level += residual * self.unit_ms / DAY_MS
        missed = None if count else self._least[slot] * share
        self._signs.add(missed, z, clipped, self.spread.phi, begin)
        if self.open is not None:
            self._follow(self.open, z, count, expected, told)
            return
        if not inside:  # it says nothing of how unsteady traffic is
            self.spread.add(residual, clipped)
        values = self._signs.values()
        if not (self._watched and self._speak_up(values, count, expected, told)):
            self._peaks = [max(a, b) for a, b in zip(self._peaks, values, strict=True)]

    def _speak_up(
        self, values: tuple[float, ...], count: int, expected: float, told: list[Told]
    ) -> bool:
        for sign, value in enumerate(values):
            if value <= self._limits[sign]:
                continue
            name: Rule = "drop" if sign in FALLS else "rise"
            if not count and sign in (SILENCE, DOWN):
                name = "silence"
            now = self.now or 0
            since = self._quiet if sign == SILENCE else self._signs.since(sign, now, self.unit_ms)
            self.open = Episode(name, since, now, sure=sign in (LESS, MORE))
            told.append(self._said("changed", self.open, (count, expected), sign, value))
            return True
        return False

    def _follow(
        self, told_of: Episode, z: float, count: int, expected: float, told: list[Told]
    ) -> None:
        """An open change: is it worse, over, or the way things are now?"""
        now = self.now or 0
        if told_of.rule == "drop" and self._signs.missed > self._limits[SILENCE]:
            told_of.rule = "silence"
            value = self._signs.missed
            told.append(self._said("changed", told_of, (count, expected), SILENCE, value))
        back = count > 0 or told_of.rule != "silence"
        told_of.calm = told_of.calm + back if abs(z) < _CALM else 0
        if told_of.rule != "silence" and now - told_of.told >= ADAPTED_MS:
            told.append(self._said("recovered", told_of, (count, expected), DOWN, z))
            self.open = None
            self._begin(now)
        elif told_of.calm >= _CALM_UNITS and not (told_of.sure and self._still_sure(told_of)):
            told.append(self._said("recovered", told_of, (count, expected), DOWN, z))
            self.open = None
            self._signs = Signs()

    def _still_sure(self, told_of: Episode) -> bool:
        """Evidence, held at its limit since it was told, has not waned by half."""
        sign = MORE if told_of.rule == "rise" else LESS
        self._signs.cap(self._limits[sign])
        return self._signs.values()[sign] > self._limits[sign] / 2

    def _said(
        self,
        state: Literal["changed", "recovered"],
        of: Episode,
        seen: tuple[int, float],
        sign: int,
        value: float,
    ) -> Told:
        limit, days = self._limits[sign], len(self.past.days)
        return Told(
            state, self.now or 0, of.since, of.rule, *seen, value, limit, self.unit_ms, days
        )

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins; `until` is whoever steps it's to say again."""
        return {
            "past": self.past.dump(),
            "spread": self.spread.dump(),
            "signs": asdict(self._signs),
            "open": None if self.open is None else asdict(self.open),
            **{name: getattr(self, name) for name in _DUMPED},
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        volume = cls(past=Past.load(dumped["past"]), spread=Spread.load(dumped["spread"]))
        volume._signs = Signs(**dumped["signs"])
        for name in _DUMPED:
            setattr(volume, name, dumped[name])
        if dumped["open"] is not None:
            volume.open = Episode(**dumped["open"])
        return volume


_DUMPED: Final = (
    "now", "unit_ms", "count", "level", "_first_day", "_watched", "_slot_total", "_quiet",
    "_peaks", "_limits", "_typical", "_least", "_low", "_high", "_apart",
)  # fmt: skip
