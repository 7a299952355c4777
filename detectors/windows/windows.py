"""Tumbling event-time windows of one subject, closed and republished by the arrival clock.

A window takes the on-time predictions whose `ts` it holds, closes once the arrival clock passes its
end + lateness, takes outcomes of its predictions until end + lateness + horizon, and is published
at close and, while outcomes change it, again at most once an hour. What happens when is decided by
arrivals alone: rows are applied up to each due time, then what is due happens, so it does not
matter how the rows were batched.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.spec import MonitorSpec
from detectors.windows.scoring import Outcomes
from detectors.windows.window import Ints, PredictionRows, Window

REPUBLISH_MS: Final = 3_600_000
MAX_OPEN: Final = 1_000
"""Windows that take outcomes; with a longer horizon, older outcomes count since start only."""

MATURED: Final = 30
"""Windows that took all their outcomes and are remembered, the latest ones."""
NO_WINDOWS: Final[Mapping[str, Any]] = {"open": [], "matured": []}

Publish: TypeAlias = Callable[[Window, int], None]


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector fired at a row: shown in the row's window."""

    arrival: int
    ts: int
    signal: str
    detector: str


class Windows:
    """The open windows of one subject."""

    def __init__(self, spec: MonitorSpec) -> None:
        self.size = spec.window_ms
        self.lateness = spec.lateness_ms
        self.kept = min(spec.horizon_ms, MAX_OPEN * spec.window_ms)
        self.open: dict[int, Window] = {}
        self.matured: list[tuple[int, int]] = []
        """(predictions, outcomes) of windows that take no more of them."""
        self._due: list[tuple[int, int]] = []

    def late(self, ts: Ints, arrival: Ints) -> NDArray[np.bool_]:
        """Which predictions arrived when their window had closed; a property of the row alone."""
        return arrival >= self._start(ts) + (self.size + self.lateness)

    def apply(
        self,
        rows: PredictionRows | None,
        outcomes: Outcomes | None,
        detections: Sequence[Detection],
        clock: int,
        publish: Publish,
    ) -> None:
        """Applies rows and lets happen what the clock makes due.

        Args:
            rows: on-time predictions in order of arrival.
            outcomes: in order of arrival; those of late predictions are left out.
            detections: in order of arrival.
            clock: ms that no later row arrives before.
            publish: called with each window to publish, and the arrival at which it is.
        """
        batch = _Batch.of(self, rows, outcomes, detections)
        for at in self._due_times(batch, clock):
            self._advance(batch, at)
            self._happen(at, publish)
        self._advance(batch, None)

    @property
    def final_coverage(self) -> float | None:
        """Share of predictions that got their label in the end; None while no window knows."""
        predictions = sum(n for n, _ in self.matured)
        return sum(n for _, n in self.matured) / predictions if predictions else None

    @property
    def next_due(self) -> int | None:
        """An arrival before which the clock alone makes nothing happen; None: nothing is open."""
        return self._due[0][0] if self._due else None

    # -- times ---------------------------------------------------------------------------------

    def _start(self, ts: Ints) -> Ints:
        return ts // self.size * self.size

    def _closes(self, start: int) -> int:
        return start + self.size + self.lateness

    def _drops(self, start: int) -> int:
        return self._closes(start) + self.kept

    def _republishes(self, start: int, arrival: int) -> int:
        """When a closed window that changed at `arrival` is published again."""
        since = arrival - self._closes(start)
        return self._closes(start) + (since // REPUBLISH_MS + 1) * REPUBLISH_MS

    def _due_times(self, batch: _Batch, clock: int) -> list[int]:
        """Every arrival, rising, at which something may be due before or within this batch."""
        until = max(clock, batch.last)
        times: set[int] = set()
        if self._due and self._due[0][0] <= until:
            for window in self.open.values():
                times |= {window.due, self._drops(window.start)}
        for start in batch.starts:
            times |= {self._closes(start), self._drops(start)}
        for start, arrival in batch.changes:
            if arrival >= self._closes(start):
                times.add(self._republishes(start, arrival))
        return sorted(time for time in times if time <= until)

    # -- what is due ---------------------------------------------------------------------------

    def _happen(self, at: int, publish: Publish) -> None:
        while self._due and self._due[0][0] <= at:
            due, start = heapq.heappop(self._due)
            window = self.open.get(start)
            if window is None or window.due != due:
                continue  # it was scheduled anew
            if window.revision == 0 or window.dirty:
                window.revision += 1
                window.dirty = False
                publish(window, due)
            if due >= self._drops(start):
                del self.open[start]
                self.matured = [*self.matured, (window.predictions, window.outcomes)][-MATURED:]
            else:
                self._schedule(window, self._drops(start))

    def _schedule(self, window: Window, due: int) -> None:
        window.due = due
        heapq.heappush(self._due, (due, window.start))

    # -- rows ----------------------------------------------------------------------------------

    def _advance(self, batch: _Batch, before: int | None) -> None:
        """Applies the rows that arrived before this, or all that are left."""
        if (rows := batch.rows) is not None:
            for start, which in batch.predictions.take(before):
                self._window(start).add_predictions(rows, which)
        if (outcomes := batch.outcomes) is not None:
            for start, which in batch.labelled.take(before):
                if (window := self.open.get(start)) is not None:
                    window.add_outcomes(outcomes, which)
                    self._touch(window, int(outcomes.arrival[which[0]]))
        while batch.detections and (before is None or batch.detections[0].arrival < before):
            found = batch.detections.pop(0)
            window = self.open.get(found.ts // self.size * self.size)
            if window is not None:
                window.add_detection(found.detector, found.signal)
                self._touch(window, found.arrival)

    def _window(self, start: int) -> Window:
        window = self.open.get(start)
        if window is None:
            window = self.open[start] = Window(start)
            self._schedule(window, self._closes(start))
        return window

    def _touch(self, window: Window, arrival: int) -> None:
        """A closed window changed: it is due again."""
        if window.revision and not window.dirty:
            window.dirty = True
            again = self._republishes(window.start, arrival)
            self._schedule(window, min(again, self._drops(window.start)))

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "open": [self.open[start].dump() for start in sorted(self.open)],
            "matured": [list(window) for window in self.matured],
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], spec: MonitorSpec) -> Self:
        """Goes on from `dump`."""
        windows = cls(spec)
        windows.matured = [(n, outcomes) for n, outcomes in dumped["matured"]]
        for each in dumped["open"]:
            window = Window.load(each)
            windows.open[window.start] = window
            windows._schedule(window, window.due)
        return windows


class _Cursor:
    """Rows of a batch by arrival: hands them out, grouped by window, up to a time."""

    def __init__(self, starts: Ints, arrival: Ints) -> None:
        self.starts, self.arrival = starts, arrival
        self._at = 0

    def take(self, before: int | None) -> list[tuple[int, Ints]]:
        """(window start, row positions) of the next rows that arrived before this."""
        end = len(self.arrival)
        if before is not None:
            end = int(np.searchsorted(self.arrival, before, "left"))
        first, self._at = self._at, max(self._at, end)
        if self._at == first:
            return []
        starts = self.starts[first : self._at]
        if (starts == starts[0]).all():
            return [(int(starts[0]), np.arange(first, self._at))]
        order = np.argsort(starts, kind="stable")
        cuts = np.flatnonzero(np.diff(starts[order])) + 1
        groups = np.split(order + first, cuts)
        return [(int(self.starts[group[0]]), group) for group in groups]


@dataclass(slots=True)
class _Batch:
    """What one call applies, and how far it is."""

    rows: PredictionRows | None
    outcomes: Outcomes | None
    detections: list[Detection]
    predictions: _Cursor
    labelled: _Cursor
    starts: list[int]
    """Windows that predictions fall into."""
    changes: list[tuple[int, int]]
    """(window, arrival) of what changes windows after their close."""
    last: int

    @classmethod
    def of(
        cls,
        windows: Windows,
        rows: PredictionRows | None,
        outcomes: Outcomes | None,
        detections: Sequence[Detection],
    ) -> _Batch:
        nothing = np.empty(0, dtype=np.int64)
        size = windows.size
        first = _Cursor(nothing, nothing)
        second = _Cursor(nothing, nothing)
        changes = {(found.ts // size * size, found.arrival) for found in detections}
        if rows is not None:
            first = _Cursor(rows.ts // size * size, rows.arrival)
        if outcomes is not None:
            second = _Cursor(outcomes.ts // size * size, outcomes.arrival)
            changes |= _after_close(second, size + windows.lateness)
        ends = [int(c.arrival[-1]) for c in (first, second) if len(c.arrival)]
        return cls(
            rows,
            outcomes,
            list(detections),
            first,
            second,
            _distinct(first.starts),
            sorted(changes),
            max(ends, default=0),
        )


def _after_close(outcomes: _Cursor, closes_after: int) -> set[tuple[int, int]]:
    """(window, arrival) of the first outcome in each hour after the window's close."""
    since = outcomes.arrival - outcomes.starts - closes_after
    closed = np.flatnonzero(since >= 0)
    firsts: dict[tuple[int, int], int] = {}
    if len(closed):
        hours = (since[closed] // REPUBLISH_MS).tolist()
        starts, arrivals = outcomes.starts[closed].tolist(), outcomes.arrival[closed].tolist()
        for start, hour, arrival in zip(starts, hours, arrivals, strict=True):
            firsts.setdefault((start, hour), arrival)
    return {(start, arrival) for (start, _), arrival in firsts.items()}


def _distinct(values: Ints) -> list[int]:
    """The values, rising, each once."""
    if len(values) and (values == values[0]).all():
        return [int(values[0])]
    found: list[int] = np.unique(values).tolist()
    return found
