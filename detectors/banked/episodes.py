"""Open episodes of banked signals: since when, and whether they got more severe meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.bank import Turn
from detectors.bank.life import WINDOW
from detectors.ring import Ring
from driftline.alerts import Severity

Ints: TypeAlias = NDArray[np.int64]

CHECK_EVERY: Final = 256
"""Rows between two looks at how severe an open episode is, counted since the signals began."""
RANK: Final[Mapping[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
_MARK_EVERY: Final = 32
_MARKS: Final = 1_024


@dataclass(slots=True)
class Episode:
    """`row`, `ts`: first row of the new level and its event time; `rank`: severity told so far."""

    row: int
    ts: int
    rank: int = -1


@dataclass(frozen=True, slots=True)
class Moment:
    """Something to tell of a signal, or to look whether there is.

    Attributes:
        row: the last row that is known, counted since the signals began.
        first: the first row that the evidence is of.
        since: event time of the first row of the new level, ms.
        turn: what the bank told; None at a look at an open episode.
    """

    signal: str
    state: Literal["opened", "immaterial", "closed", "open"]
    row: int
    first: int
    since: int
    turn: Turn | None


@dataclass(slots=True)
class Episodes:
    """The open episodes of the signals of one stream of rows.

    `marks` keeps the event time of every 32nd row, because a change may have begun long before the
    rows that are held.
    """

    open: dict[str, Episode] = field(default_factory=dict)
    marks: Ring = field(default_factory=lambda: Ring(_MARKS))
    _last: Times | None = None

    def follow(self, turns: Sequence[Turn], ts: Ints, begin: int) -> Iterator[Moment]:
        """The moments of rows that begin with number `begin`, in order.

        Args:
            turns: of these rows, in order.
            ts: event time of these rows.
            begin: rows before them.
        """
        marked = ts[-begin % _MARK_EVERY :: _MARK_EVERY].copy()
        if not self.open and not turns:
            self.marks.add({"ts": marked})
            self._last = None
            return
        history = self.marks.extend({"ts": marked})
        times = self._last = Times(history.columns["ts"], history.first)
        end = begin + len(ts)
        looks = range((begin // CHECK_EVERY + 1) * CHECK_EVERY - 1, end, CHECK_EVERY)
        events: list[tuple[int, int, str, Turn | None]] = [
            (turn.row, at, turn.signal, turn) for at, turn in enumerate(turns)
        ]
        events += [(row, len(turns), "", None) for row in looks]
        for row, _, signal, turn in sorted(events, key=lambda event: event[:2]):
            if turn is None:
                for name in sorted(self.open):
                    yield self._look(name, row)
            else:
                yield self._turn(signal, turn, times)

    def worse(self, signal: str, severity: Severity) -> bool:
        """Takes note of an open episode's severity; whether it is more than was told."""
        episode = self.open[signal]
        if RANK[severity] <= episode.rank:
            return False
        episode.rank = RANK[severity]
        return True

    def begin_at(self, signal: str, row: int, ts: int) -> None:
        """An episode that is not told yet: what there is to tell began no sooner than here."""
        episode = self.open.get(signal)
        if episode is not None and episode.rank < 0:
            episode.row, episode.ts = row, ts

    def time_of(self, row: int, now: int) -> int:
        """About the event time of a row, as seen from row `now` of those that came last."""
        held = self.marks.columns["ts"]
        times = self._last or Times(held, self.marks.total - len(held))
        return times.of(row, now)

    def _look(self, name: str, row: int) -> Moment:
        episode = self.open[name]
        first = max(episode.row, row + 1 - WINDOW)
        return Moment(name, "open", row, first, episode.ts, None)

    def _turn(self, signal: str, turn: Turn, times: Times) -> Moment:
        first = max(turn.row + 1 - turn.events, 0)
        since = times.of(turn.since, turn.row)
        if turn.state == "opened":
            first = max(turn.since, turn.row + 1 - WINDOW)
            self.open[signal] = Episode(turn.since, since)
        elif turn.state == "closed":
            since = self.open.pop(signal, Episode(turn.since, since)).ts
        return Moment(signal, turn.state, turn.row, first, since, turn)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        episodes = {name: asdict(episode) for name, episode in self.open.items()}
        return {"open": episodes, "marks": self.marks.dump()}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        episodes = {name: Episode(**episode) for name, episode in dumped["open"].items()}
        return cls(episodes, Ring.load(dumped["marks"]))


@dataclass(frozen=True, slots=True)
class Times:
    """Event times of marked rows; `first`: the number of the first mark held."""

    ts: Ints
    first: int

    def of(self, row: int, now: int) -> int:
        """Event time of a row, or of the mark before it, reaching back from `now` by so many."""
        mark = max(row // _MARK_EVERY, (now + 1) // _MARK_EVERY - _MARKS, 0)
        return int(self.ts[min(mark - self.first, len(self.ts) - 1)])
