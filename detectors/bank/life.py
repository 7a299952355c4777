"""From evidence to news: when a signal opens, what is immaterial though sure, when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from detectors.api import Floats
from detectors.bank.evidence import Evidence, Indices

WINDOW: Final = 2_000
"""Events that a signal is judged by, at most, and that each look at whether it is back takes."""
FEWEST: Final = 256
"""Events that the effect is measured over, at least."""
RETRY: Final = 8
"""Ticks between two looks at the effect of an excursion that has outgrown its window."""
CALM_WINDOWS: Final = 3
"""Disjoint windows within tolerance that close an episode."""
_WALK: Final = 8
"""Ticks taken one by one from where there may be news."""
_NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a signal moved, beyond noise, over so many events; `material`: enough to tell.

    `most`: what changed most, for a bet that names nothing.
    """

    size: float
    events: int
    material: bool
    most: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """News of one signal, all rows counted since the bank began.

    Attributes:
        state: "opened"; "immaterial": surely changed, too little to matter; "closed": back.
        row: the row that told it, the last of a tick.
        since: first row of the new level, as estimated: after it the winning alternative never
            stood at 0 again.
        log_evidence: log of the mixture; of "opened" and "immaterial" above `log_threshold`.
        alternative: what the winning bet says happened: "higher", "wider", "more <label>".
        effect: excess PSI, or the rate, over `events` rows.
    """

    signal: str
    state: Literal["opened", "immaterial", "closed"]
    row: int
    since: int
    log_evidence: float
    log_threshold: float
    alternative: str
    effect: float
    events: int


@dataclass(frozen=True, slots=True)
class Judge:
    """What differs between kinds of signal.

    Attributes:
        names: of the signals.
        alternatives: names of each signal's bets.
        size: events per tick.
        effect: (signal, tick it began after, tick now) -> how far it moved.
        calm: (signal, tick now) -> the window up to now is within tolerance, and its effect.
    """

    names: list[str]
    alternatives: list[tuple[str, ...]]
    size: int
    effect: Callable[[int, int, int], Effect]
    calm: Callable[[int, int], Effect]


class Life:
    """Which of J signals have an open episode. `open`, `due`, `calm`, `told`: shape (J,)."""

    __slots__ = ("_open_rows", "calm", "due", "open", "told")

    def __init__(self, signals: int) -> None:
        self.open = np.zeros(signals, bool)
        self.due = np.zeros(signals, np.int32)
        self.calm = np.zeros(signals, np.int8)
        self.told = np.full(signals, -1, np.int32)
        self._open_rows: Indices = np.flatnonzero(self.open)

    @property
    def any_open(self) -> bool:
        """Whether an episode is open."""
        return len(self._open_rows) > 0

    def refresh(self) -> None:
        """To be called when `open` was written to."""
        self._open_rows = np.flatnonzero(self.open)

    def run(
        self,
        evidence: Evidence,
        increments: Floats,
        before: int,
        judge: Judge,
        seen: Callable[[int, int], None] | None = None,
    ) -> list[Turn]:
        """What ticks tell, those without news taken together.

        Args:
            evidence: of the signals.
            increments: evidence of the ticks after number `before`, shape (ticks, J, A).
            before: number of the last tick taken.
            judge: of the signals.
            seen: called with the first and after last of ticks, by position, before any later one
                is judged.
        """
        turns: list[Turn] = []
        done, ticks = 0, len(increments)
        span = ticks
        while done < ticks:
            stop = min(done + span, ticks, self._next_due - 1 - before)
            if stop > done:
                taken = evidence.glide(increments[done:stop], before + done, self._open_rows)
                if seen is not None:
                    seen(done, done + taken)
                done += taken
                if done == stop:
                    span *= 2
                    continue
            # News seldom comes alone, and a tick that was looked at in vain costs twice.
            for at in range(done, min(done + _WALK, ticks)):
                if seen is not None:
                    seen(at, at + 1)
                over = evidence.advance(increments[at], before + at + 1)
                if len(over) or self.any_open:
                    turns += self.follow(evidence, over, before + at + 1, judge)
            done = min(done + _WALK, ticks)
            span = _WALK
        return turns

    @property
    def _next_due(self) -> int:
        """The next tick at which an open episode may be over."""
        return int(self.due[self._open_rows].min()) if self.any_open else _NEVER

    def follow(self, evidence: Evidence, over: Indices, tick: int, judge: Judge) -> list[Turn]:
        """What the tick tells; `over`: the signals over their threshold."""
        turns: list[Turn] = []
        if self.any_open:
            evidence.cap(self._open_rows)
            turns += self._close(evidence, tick, judge)
        for at in over[~self.open[over]].tolist():
            turns += self._cross(evidence, at, tick, judge)
        return turns

    def shut(self, evidence: Evidence, at: int, tick: int) -> None:
        """Ends an episode; the signal is watched anew."""
        evidence.restart(at, tick)
        self.open[at] = False
        self.refresh()

    def _cross(self, evidence: Evidence, at: int, tick: int, judge: Judge) -> list[Turn]:
        began = int(evidence.quiet[at, evidence.winner(at)])
        known = self.told[at] >= began  # the same excursion, told at its first crossing
        if known and (tick - began) * judge.size > WINDOW and tick % RETRY:
            evidence.cap(at)
            return []
        effect = judge.effect(at, began, tick)
        if effect.material:
            turn = _turn("opened", effect, evidence, (at, tick), judge)
            evidence.restart(at, tick)
            self.open[at] = True
            self.due[at] = tick + WINDOW // judge.size
            self.calm[at] = 0
            self.told[at] = -1
            self.refresh()
            return [turn]
        turns = [] if known else [_turn("immaterial", effect, evidence, (at, tick), judge)]
        self.told[at] = tick
        evidence.cap(at)
        return turns

    def _close(self, evidence: Evidence, tick: int, judge: Judge) -> list[Turn]:
        turns = []
        for at in self._open_rows[self.due[self._open_rows] <= tick].tolist():
            effect = judge.calm(at, tick)
            self.calm[at] = min(self.calm[at] + 1, CALM_WINDOWS) if not effect.material else 0
            if self.calm[at] == 1:  # a bet on what is rare keeps what it won for 10,000s of rows
                evidence.restart(at, tick)
            self.due[at] = tick + WINDOW // judge.size
            waned = float(evidence.mixture(np.array([at]))[0]) < evidence.log_c[at] / 2
            if self.calm[at] >= CALM_WINDOWS and waned:
                turns.append(_turn("closed", effect, evidence, (at, tick), judge))
                self.shut(evidence, at, tick)
        return turns


def _turn(
    state: Literal["opened", "immaterial", "closed"],
    effect: Effect,
    evidence: Evidence,
    where: tuple[int, int],
    judge: Judge,
) -> Turn:
    at, tick = where
    winner = evidence.winner(at)
    began = int(evidence.quiet[at, winner])
    return Turn(
        signal=judge.names[at],
        state=state,
        row=tick * judge.size - 1,
        since=began * judge.size,
        log_evidence=float(evidence.mixture(np.array([at]))[0]),
        log_threshold=float(evidence.log_c[at]),
        alternative=judge.alternatives[at][winner] or effect.most,
        effect=effect.size,
        events=effect.events,
    )
