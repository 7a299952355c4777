"""Signals that moved and may move again: each open episode has a level of its own, and its bank.

The first 4,000 rows after an opening are the level. It is a reference like any other: its own
sampling error and its serial correlation count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from detectors.api import Floats
from detectors.arrays import dump_array, load_array
from detectors.bank import Bank, Signal, Turn, hour_of_day, phi_within_hours
from detectors.bank.labels import Ints, normal_scores
from detectors.bank.life import FEWEST
from detectors.reference.profile import Codes
from detectors.reference.profiling import indicators
from detectors.reference.serial import phi
from detectors.ring import History

LEARNED: Final = 4_000
"""Rows after an opening, or after the last move, that make a level; by the hour, of a whole day."""
_DAY_MS: Final = 86_400_000
_FITS: Final = 100


@dataclass(slots=True)
class Level:
    """Where an open episode stands.

    Attributes:
        at: the next row to take, counted since the signals began.
        counts: rows it is learned from, by hour of day (or all as one) and label.
        codes: bin codes of the first of these rows; `hours`: theirs, of day.
        began: event time of the first, ms.
        signal: the level as a reference, once it is learned.
        bank: what watches it; its first row is `since`.
        turn: what the bank told, while there are too few rows after it to say where it went.
    """

    at: int
    counts: Ints
    codes: Codes = field(default_factory=lambda: np.zeros(0, np.uint8))
    hours: Codes = field(default_factory=lambda: np.zeros(0, np.uint8))
    began: int = 0
    signal: Signal | None = None
    bank: Bank | None = None
    since: int = 0
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A signal left its level. `row`, which told it, and `since` count since the signals began."""

    level: Signal
    turn: Turn
    row: int
    since: int


class Levels:
    """The levels of the open episodes of one stream of rows."""

    def __init__(
        self, signals: Mapping[str, Signal], log_c: Mapping[str, float], tick: int
    ) -> None:
        """Signals and thresholds are those of the pinned reference, and so are the ticks."""
        self._signals, self._log_c, self._tick = signals, log_c, tick
        self.open: dict[str, Level] = {}

    def begin(self, signal: str, row: int) -> None:
        """An episode opened; from this row on it has its level."""
        self.open[signal] = self._new(signal, row)

    def _new(self, name: str, row: int) -> Level:
        return Level(row, np.zeros_like(self._signals[name].counts))

    def end(self, signal: str) -> None:
        """The episode is over."""
        self.open.pop(signal, None)

    def follow(self, name: str, history: History, stop: int) -> Iterator[Move]:
        """Takes a signal's rows up to `stop` (exclusive), where it has a level; tells its moves.

        `history` holds "codes" of all signals and "ts" of the rows not taken yet, and of as many
        before as its bank looks back.
        """
        level = self.open[name]
        while level.at < stop:
            if level.bank is None or level.signal is None:
                self._learn(name, level, history, stop)
                continue
            if level.turn is None:
                turns = self._step(level.bank, name, history, (level.at, stop))
                level.turn = next((turn for turn in turns if turn.state == "opened"), None)
                level.at = stop
            if level.turn is None:
                return
            since = level.since + level.turn.since
            row = max(level.since + level.turn.row, since + FEWEST - 1)
            level.at = min(row + 1, stop)
            if row < stop:
                self.open[name] = self._new(name, row + 1)
                yield Move(level.signal, level.turn, row, since)
                level = self.open[name]

    def _learn(self, name: str, level: Level, history: History, stop: int) -> None:
        pinned = self._signals[name]
        codes = history.of("codes", level.at, stop)[pinned.at]
        ts = history.of("ts", level.at, stop)
        seen = int(level.counts.sum())
        if not seen:
            level.began = int(ts[0])
        enough = np.arange(seen + 1, seen + len(codes) + 1) >= LEARNED
        if len(pinned.counts) > 1:
            enough &= ts - level.began >= _DAY_MS
        learned = bool(enough.any())
        taken = int(np.argmax(enough)) + 1 if learned else len(codes)
        codes, hours = codes[:taken], hour_of_day(ts[:taken])
        rows = hours if len(pinned.counts) > 1 else np.zeros(taken, np.int64)
        np.add.at(level.counts, (rows, pinned.label_of[codes]), 1)
        free = LEARNED - len(level.codes)
        level.codes = np.concatenate([level.codes, codes[:free]])
        level.hours = np.concatenate([level.hours, hours[:free].astype(np.uint8)])
        level.at += taken
        if learned:
            self._watch(name, level, _learned(pinned, level))
            level.codes, level.hours = level.codes[:0], level.hours[:0]
            level.since = level.at

    def _watch(self, name: str, level: Level, learned: Signal) -> None:
        level.signal = learned
        level.bank = Bank([learned], {name: self._log_c[name]}, tick=self._tick)

    def _step(self, bank: Bank, name: str, history: History, rows: tuple[int, int]) -> list[Turn]:
        begin, stop = rows
        first = begin - min(bank.rows, bank.held)
        codes = history.of("codes", first, stop)[self._signals[name].at][None, :]
        hours = hour_of_day(history.of("ts", first, stop)) if bank.needs_hours else None
        return bank.step(codes, stop - begin, hours)

    def dump(self) -> dict[str, Any]:
        """As builtins; pinned references are stored apart."""
        return {name: self._dump(name, level) for name, level in self.open.items()}

    def _dump(self, name: str, level: Level) -> dict[str, Any]:
        learned = level.signal
        return {
            "pinned": self._signals[name].digest,
            "at": level.at,
            "turn": None if level.turn is None else asdict(level.turn),
            "began": level.began,
            "since": level.since,
            "counts": dump_array(level.counts),
            "codes": dump_array(level.codes),
            "hours": dump_array(level.hours),
            "learned": None if learned is None else dump_array(learned.counts),
            "phi": None if learned is None else learned.phi,
            "bank": None if level.bank is None else level.bank.dump(),
        }

    def restore(self, dumped: Mapping[str, Mapping[str, Any]]) -> None:
        """Goes on from `dump`, for the signals whose pinned reference is still the same."""
        for name, old in dumped.items():
            pinned = self._signals.get(name)
            if pinned is None or pinned.digest != old["pinned"]:
                continue
            level = Level(old["at"], load_array(old["counts"]))
            level.codes, level.hours = load_array(old["codes"]), load_array(old["hours"])
            level.began, level.since = old["began"], old["since"]
            level.turn = None if old["turn"] is None else Turn(**old["turn"])
            if old["learned"] is not None:
                self._watch(name, level, _as(pinned, load_array(old["learned"]), old["phi"]))
                assert level.bank is not None
                level.bank.restore(old["bank"])
            self.open[name] = level


def _learned(pinned: Signal, level: Level) -> Signal:
    """The level as a reference."""
    labels = pinned.label_of[level.codes]
    if pinned.scores is None:
        scores = indicators(labels, level.counts.sum(axis=0))
    else:
        z = pinned.scores[labels]
        scores = np.stack([z, z * z], axis=1)
    if len(pinned.counts) == 1:
        factor, _ = phi(scores)
        return _as(pinned, level.counts, max(pinned.phi, factor))
    factor, _ = phi_within_hours(scores, level.hours)
    return _as(pinned, _tilted(pinned.shares, level.counts), max(pinned.phi, factor))


def _tilted(shares: Floats, counts: Ints) -> Ints:
    """Counts by hour and label, of hours that all moved alike: each share times one factor a label.

    One day has too few rows in an hour to be its profile, but all of them tell of the move. The
    factors are those with which the day's hours together have the labels seen.

    Source: Deming & Stephan 1940, "On a least squares adjustment of a sampled frequency table",
        Ann. Math. Stat. 11 (4): iterative proportional fitting.
    """
    of_hour = counts.sum(axis=1)
    seen = counts.sum(axis=0) + 0.5
    factor = np.ones(shares.shape[1])
    for _ in range(_FITS):
        tilted = shares * factor
        tilted /= tilted.sum(axis=1, keepdims=True)
        factor *= seen / (of_hour @ tilted + 0.5)
    tilted = shares * factor
    tilted /= tilted.sum(axis=1, keepdims=True)
    learned: Ints = np.rint(tilted * (int(of_hour.sum()) / len(shares))).astype(np.int64)
    return learned


def _as(pinned: Signal, counts: Ints, factor: float) -> Signal:
    """The signal with another reference; alone in its matrix of codes."""
    ordered = pinned.scores is not None
    scores = normal_scores(counts.sum(axis=0)) if ordered else None
    return replace(pinned, at=0, counts=counts, scores=scores, phi=factor)
