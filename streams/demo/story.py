"""The story in the order of its own time, whatever order its parts come in.

Windows, alerts and webhooks reach the demo on different ways, some of them sooner. Each part has a
simulated time; it is told some time after the windows of every subject have closed past it, so that
what happened before it has come, too.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from driftline.alerts import Alert, WindowSummary
from streams.demo import lines
from streams.demo.data import DAY_MS
from streams.demo.expected import EXPECTED, Incident, latest
from streams.demo.traffic import END, START, SUBJECTS, Milestone

DELAY_S = 1.5
"""How long the telling stays behind what has closed."""

_MILESTONE, _MONTH, _ALERT, _DELIVERY = range(4)


@dataclass(slots=True)
class _Month:
    """Daily windows of one subject, added up."""

    predictions: int = 0
    outcomes: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, window: WindowSummary) -> None:
        """Means over a day's outcomes weigh as many."""
        outcomes = window.counts.get("outcomes", 0)
        self.predictions += window.counts.get("predictions", 0)
        self.outcomes += outcomes
        for name, value in window.metrics.items():
            self.sums[name] += value * outcomes

    def metrics(self) -> dict[str, float]:
        """Metric to mean over all outcomes; of use for those that are means."""
        return {name: total / self.outcomes for name, total in self.sums.items() if self.outcomes}


class Story:
    """Hears what happens, from any thread, and tells it on a console.

    Attributes:
        alerts: each change of state once, in the order heard.
        windows: how many daily windows have closed.
        deliveries: ids of the alerts that came by webhook.
    """

    def __init__(
        self,
        console: Console,
        delay_s: float = DELAY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self._delay_s = delay_s
        self._monotonic = monotonic
        self._passed: deque[tuple[float, int]] = deque()
        self.alerts: list[Alert] = []
        self.windows = 0
        self.deliveries: set[str] = set()
        self._lock = threading.RLock()
        self._held: list[tuple[int, int, str]] = []
        self._orders: dict[str, tuple[int, int]] = {}
        self._opened: dict[tuple[str, str], Alert] = {}
        self._closed = dict(SUBJECTS)
        self._days: dict[str, set[int]] = defaultdict(set)
        self._months: dict[tuple[str, str], _Month] = defaultdict(_Month)
        self._progress: tuple[Progress, TaskID] | None = None

    # -- hearing -------------------------------------------------------------------------------

    def milestones(self, milestones: Sequence[Milestone]) -> None:
        """What people will do in the story, which no monitor is told."""
        for milestone in milestones:
            self._hold(milestone.ts, _MILESTONE, f"[bold]{escape(milestone.text)}[/bold]")

    def window(self, window: WindowSummary) -> None:
        """A window closed; when all days of a subject's month have, they become one line."""
        with self._lock:
            subject = f"{window.model}@{window.version}"
            day = lines.at(window.start)
            days = self._days[subject]
            if subject not in self._closed or day < self._closed[subject] or day in days:
                return  # a revision, or a repeat: it has been added
            self.windows += 1
            days.add(day)
            self._months[subject, window.start[:7]].add(window)
            self._close(subject)

    def _close(self, subject: str) -> None:
        """Moves on over days that have closed without a gap; their records come in any order."""
        days = self._days[subject]
        while (day := self._closed[subject]) in days:
            days.remove(day)
            self._closed[subject] = day + DAY_MS
            month = lines.day(day)[:7]
            if lines.day(day + DAY_MS)[:7] != month:
                told = self._months.pop((subject, month))
                counts = (told.predictions, told.outcomes)
                text = lines.month_line(subject, month, counts, told.metrics())
                self._hold(day + DAY_MS, _MONTH, text)

    def alert(self, alert: Alert) -> None:
        """An alert changed its state."""
        with self._lock:
            if alert.order <= self._orders.get(alert.fingerprint, (-1, -1)):
                return  # delivery is at least once
            self._orders[alert.fingerprint] = alert.order
            self._opened.setdefault((alert.fingerprint, alert.started_at), alert)
            self.alerts.append(alert)
            if alert.reason != "updated":
                text = f"\n{lines.INDENT}".join(lines.alert_lines(alert))
                self._hold(lines.at(alert.detected_at), _ALERT, text)

    def delivery(self, alert: Alert) -> None:
        """The webhook came, and its signature was right."""
        with self._lock:
            if alert.id not in self.deliveries:
                self.deliveries.add(alert.id)
                self._hold(lines.at(alert.detected_at), _DELIVERY, lines.delivery_line(alert))

    # -- telling -------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Up to when, in ms, every subject's windows have closed."""
        with self._lock:
            return min(self._closed.values())

    def say(self, text: str) -> None:
        """A line about the set-up, at once."""
        self._print(f"  {escape(text)}")

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Shows a bar of simulated time on a terminal, and tells what is left at the end."""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.fields[day]}"),
                BarColumn(None),
                TextColumn("{task.percentage:>3.0f} %"),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task("", total=END - START, day=lines.day(START))
                self._progress = (progress, task)
                yield
                self._progress = None
        else:
            yield
        self._tell(until=None)

    def tell(self) -> None:
        """Tells what is due; to be called a few times a second."""
        with self._lock:
            wall = self._monotonic()
            self._passed.append((wall, self.now))
            until = None
            while self._passed and self._passed[0][0] <= wall - self._delay_s:
                until = self._passed.popleft()[1]
            if until is None:
                return
            if self._progress is not None:
                bar, task = self._progress
                bar.update(task, completed=min(until, END) - START, day=lines.day(min(until, END)))
            self._tell(until)

    def _tell(self, until: int | None) -> None:
        with self._lock:
            while self._held and (until is None or self._held[0][0] < until):
                ts, rank, text = heapq.heappop(self._held)
                when = lines.INDENT if rank in {_MONTH, _DELIVERY} else f"{lines.minute(ts)}  "
                self._print(when + text)

    def _hold(self, ts: int, rank: int, text: str) -> None:
        with self._lock:
            heapq.heappush(self._held, (ts, rank, text))

    def _print(self, markup: str) -> None:
        with self._lock:
            self.console.print(markup, soft_wrap=True, highlight=False)

    # -- the end -------------------------------------------------------------------------------

    def summary(self, different: Sequence[str]) -> None:
        """The table of all incidents, and what differs from the expected ones."""
        table = Table(
            title="\nWhat Driftline found", title_justify="left", box=None, pad_edge=False
        )
        for name in ("alert", "since", "known\nafter", "ended", "as\nexpected"):
            table.add_column(name, no_wrap=name != "alert", overflow="fold")
        with self._lock:
            for state in latest(self.alerts):
                opened = self._opened[state.fingerprint, state.started_at]
                table.add_row(*_row(opened, state))
        self.console.print(table)
        for line in different:
            self._print(f"[bold red]{escape(line)}[/bold red]")
        if not different:
            self._print(
                f"\n[green]Exactly the {len(EXPECTED)} expected alerts, and none else.[/green]"
            )

    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        """Commands to try, each with what it is for."""
        self._print("\nWhat to look at next:")
        for command, why in steps:
            self._print(f"  {escape(why)}:\n      [bold]{escape(command)}[/bold]")


def _row(opened: Alert, state: Alert) -> list[str]:
    started = lines.at(state.started_at)
    ended = lines.day(lines.at(state.ended_at or state.detected_at))
    return [
        escape(f"{lines.subject(state)}\n  {state.kind} on {state.signal}"),
        lines.day(started),
        lines.span(lines.at(opened.detected_at) - started),
        ended if state.status == "resolved" else "still firing",
        "yes" if Incident.of(state) in EXPECTED else "NO",
    ]
