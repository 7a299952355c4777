"""Signals of prediction rows before the bank: features, outputs, and the rates of what is amiss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.bank import Bank, Rates, Signal, hour_of_day, seasonal, signal_of
from detectors.bank.labels import Side
from detectors.bank.life import WINDOW
from detectors.banked.episodes import Episodes, Moment
from detectors.banked.levels import Levels
from detectors.banked.moved import SLIGHT, Moved, moved_finding, shift_finding
from detectors.banked.moved_rates import rate_finding
from detectors.classes import row_key
from detectors.findings import Finding
from detectors.frame import Frame
from detectors.plan import WEAK_BELOW, Plan, feature_signal
from detectors.reference.profile import CHANGED, MISSING, Bins, Codes
from detectors.ring import History, Ring
from detectors.served import LATENCY, NEW, NEW_FEATURES, Outputs
from detectors.windows.windows import Detection

Ints: TypeAlias = NDArray[np.int64]

_NAMED: Final = 3
"""New features that alerts name."""
OPENS: Final = "srbins"
OPENS_RATE: Final = "srbinary"


class BankedRows:
    """The bank of all binned signals of a subject's predictions, and of their 0/1 rates."""

    def __init__(self, plan: Plan, features: Sequence[str]) -> None:
        self.plan = plan
        self.outputs = Outputs(plan.binned, features, plan.texts)
        names = [feature_signal(name) for name in features] + list(self.outputs.bins)
        self.at = {name: at for at, name in enumerate(names)}
        found = [_signal(plan, n, at) for n, at in self.at.items() if n in plan.binned]
        self.signals = {signal.name: signal for signal in found if signal is not None}
        self.bins = {name: Bins(plan.binned[name]) for name in self.signals}
        self.bank = Bank(list(self.signals.values()), plan.log_c)
        self.rates = Rates([rate for _, _, rate in plan.rates], plan.log_c)
        self.by_name = {rate.name: rate for _, _, rate in plan.rates}
        self.episodes, self.rate_episodes = Episodes(), Episodes()
        self.level_of_open = Levels(self.signals, plan.log_c, self.bank.tick)
        self._news: list[tuple[int, str]] = []
        """The first rows with a feature that is not known, and its name."""
        last = len(names)  # after the signals comes whether a row has such a feature
        rows = [self.at.get(feature_signal(name), last) for _, name, _ in plan.rates]
        self._rows = np.array(rows, dtype=np.intp)
        codes = [self._code(kind, feature_signal(name)) for kind, name, _ in plan.rates]
        self._amiss = np.array(codes, dtype=np.uint8)

    def _code(self, kind: str, signal: str) -> int:
        """The bin code that a rate counts."""
        if kind == NEW_FEATURES:
            return NEW
        if kind == "unseen":
            return len(Bins(self.plan.binned[signal]).counts) - 1
        return MISSING if kind == "missing" else CHANGED

    def step(
        self, frame: Frame, history: History, begin: int, detections: list[Detection]
    ) -> Iterator[Finding]:
        """Takes the rows of a frame, the last of `history`, whose first is number `begin`."""
        held: Codes = history.columns["codes"]
        fresh = held[:, held.shape[1] - frame.n :]
        ts = frame.ints("ts")
        hours = hour_of_day(history.columns["ts"]) if self.bank.needs_hours else None
        turns = self.bank.step(held, frame.n, hours)
        for moment in self.episodes.follow(turns, ts, begin):
            yield from self._shift(moment, frame, history, begin, detections)
            if moment.state == "opened":
                self.level_of_open.begin(moment.signal, moment.row + 1)
            elif moment.state == "closed":
                yield from self._moves(moment.signal, frame, history, begin, moment.row + 1)
                self.level_of_open.end(moment.signal)
        for name in sorted(self.level_of_open.open):
            yield from self._moves(name, frame, history, begin, begin + frame.n)
        if not len(self._rows):
            return
        self._note_news(frame, begin)
        bits = fresh[self._rows] == self._amiss[:, None]
        turns = self.rates.step(bits)
        for moment in self.rate_episodes.follow(turns, ts, begin):
            yield from self._rate(moment, frame, history, begin, detections)

    def _note_news(self, frame: Frame, begin: int) -> None:
        if len(self._news) >= _NAMED or NEW_FEATURES not in self.by_name:
            return
        found = self.outputs.unknown(frame).items()
        known = {name for _, name in self._news}
        firsts = [
            (begin + int(np.argmax(mask)), name)
            for name, mask in found
            if name not in known and mask.any()
        ]
        self._news += sorted(firsts)[: _NAMED - len(self._news)]

    def _shift(
        self,
        moment: Moment,
        frame: Frame,
        history: History,
        begin: int,
        detections: list[Detection],
    ) -> Iterator[Finding]:
        row = moment.row - begin
        _note(detections, moment, frame, row, OPENS)
        if moment.state == "immaterial":
            return
        held = history.of("codes", moment.first, moment.row + 1)[self.at[moment.signal]]
        hours = hour_of_day(history.of("ts", moment.first, moment.row + 1))
        moved = Moved(self.bins[moment.signal], self.signals[moment.signal], held, hours)
        if moment.state != "closed" and not self.episodes.worse(moment.signal, moved.severity):
            return
        yield shift_finding(
            moment, moved, self.plan.log_c[moment.signal], self._weak(moment.signal),
            self.plan.influence.get(moment.signal),
            key=row_key(frame, row), arrival=int(frame.ints("arrival")[row]),
            ts=int(frame.ints("ts")[row]),
        )  # fmt: skip

    def _moves(
        self, name: str, frame: Frame, history: History, begin: int, stop: int
    ) -> Iterator[Finding]:
        """What an open signal did up to row `stop`, beyond what opened it.

        A move to where the reference is goes without saying: it will be the episode's end.
        """
        for move in self.level_of_open.follow(name, history, stop):
            first = max(move.since, move.row + 1 - WINDOW)
            held = history.of("codes", first, move.row + 1)[self.at[name]]
            hours = hour_of_day(history.of("ts", first, move.row + 1))
            bins = self.bins[name]
            to_reference = Moved(bins, self.signals[name], held, hours)
            if to_reference.excess < SLIGHT:
                continue
            row = move.row - begin
            yield moved_finding(
                move, Moved(bins, move.level, held, hours), to_reference,
                self.episodes.time_of(move.since, move.row),
                key=row_key(frame, row), arrival=int(frame.ints("arrival")[row]),
                ts=int(frame.ints("ts")[row]),
            )  # fmt: skip

    def _rate(
        self,
        moment: Moment,
        frame: Frame,
        history: History,
        begin: int,
        detections: list[Detection],
    ) -> Iterator[Finding]:
        row = moment.row - begin
        _note(detections, moment, frame, row, OPENS_RATE)
        if moment.state == "immaterial":
            return
        rate = self.by_name[moment.signal]
        at = list(self.by_name).index(moment.signal)
        codes = history.of("codes", moment.first, moment.row + 1)[self._rows[at]]
        hits = int(np.count_nonzero(codes == self._amiss[at]))
        names = [name for row, name in self._news if row <= moment.row]
        finding = rate_finding(
            moment, rate, (hits, len(codes)), self.plan.log_c[moment.signal],
            names if moment.signal == NEW_FEATURES else (),
            key=row_key(frame, row), arrival=int(frame.ints("arrival")[row]),
            ts=int(frame.ints("ts")[row]),
        )  # fmt: skip
        if moment.state == "closed" or self.rate_episodes.worse(moment.signal, finding.severity):
            yield finding

    def _weak(self, signal: str) -> int | None:
        """Rows of a small reference, None where it is large enough."""
        n = self.plan.sizes[signal]
        return n if n < WEAK_BELOW else None

    def levels(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> log-evidence."""
        binned, rates = self.bank.evidence(), self.rates.levels()
        return {(name, OPENS): level for name, (level, _) in binned.items()} | {
            (name, OPENS_RATE): level for name, (level, _) in rates.items()
        }

    def fitted(self, ring: Ring) -> Ring:
        """The ring of a snapshot, also of one from before there was a row for new features."""
        codes = ring.columns.get("codes")
        if codes is not None and len(codes) == len(self.at):
            ring.columns["codes"] = np.concatenate([codes, np.zeros_like(codes[:1])])
        return ring

    def dump(self) -> dict[str, Any]:
        """As builtins; references and the budget are stored apart."""
        return {
            "bank": self.bank.dump(),
            "rates": self.rates.dump(),
            "episodes": self.episodes.dump(),
            "rate_episodes": self.rate_episodes.dump(),
            "news": [list(seen) for seen in self._news],
            "levels": self.level_of_open.dump(),
        }

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`, with the thresholds of the present budget."""
        self.bank.restore(dumped["bank"])
        self.bank.retune(self.plan.log_c)
        self.rates.restore(dumped["rates"])
        self.rates.retune(self.plan.log_c)
        self.episodes = Episodes.load(dumped["episodes"])
        self.rate_episodes = Episodes.load(dumped["rate_episodes"])
        self._news = [(row, name) for row, name in dumped.get("news", [])]
        self.level_of_open.restore(dumped.get("levels", {}))


def _signal(plan: Plan, name: str, at: int) -> Signal | None:
    """A signal of the plan, by the hour where it has a profile for each."""
    side: Side = "up" if name == LATENCY else "both"
    hourly = plan.hourly.get(name)
    if hourly is None:
        return signal_of(name, plan.binned[name], at, side=side)
    counts = seasonal(np.array(hourly.counts, dtype=np.int64))
    return signal_of(name, plan.binned[name], at, side=side, hourly=counts, phi=hourly.phi)


def _note(
    detections: list[Detection], moment: Moment, frame: Frame, row: int, detector: str
) -> None:
    """Counts what the bank told in the window of its row."""
    if moment.state not in ("opened", "immaterial"):
        return
    name = detector if moment.state == "opened" else f"{detector}_immaterial"
    arrival, ts = frame.ints("arrival"), frame.ints("ts")
    detections.append(Detection(int(arrival[row]), int(ts[row]), moment.signal, name))
