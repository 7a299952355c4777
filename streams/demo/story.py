"""The story in the order of its own time, whatever order its parts come in.

Traffic, windows, alerts and webhooks reach the demo on different ways, some of them sooner. Each
part has a simulated time, and is told once the windows of every model have closed well past it.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from streams.demo.traffic import BIKES, END, INCOME, START, Milestone

HELD_MS = 7 * DAY_MS
"""A part is told when windows have closed so far past it, so that its elders are there, too."""

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
        closed: subject to the end (ms) of its last closed window.
        deliveries: ids of the alerts that came by webhook.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.alerts: list[Alert] = []
        self.closed: dict[str, int] = {}
        self.deliveries: set[str] = set()
        self._lock = threading.RLock()
        self._held: list[tuple[int, int, str]] = []
        self._orders: dict[str, tuple[int, int]] = {}
        self._opened: dict[tuple[str, str], Alert] = {}
        self._months: dict[tuple[str, str], _Month] = defaultdict(_Month)
        self._progress: tuple[Progress, TaskID] | None = None

    # -- hearing -------------------------------------------------------------------------------

    def milestones(self, milestones: Sequence[Milestone]) -> None:
        """What people will do in the story, which no monitor is told."""
        for milestone in milestones:
            self._hold(milestone.ts, _MILESTONE, f"[bold]{escape(milestone.text)}[/bold]")

    def window(self, window: WindowSummary) -> None:
        """A window closed; a month of a subject's days becomes one line."""
        with self._lock:
            subject, end = f"{window.model}@{window.version}", lines.at(window.end)
            if end <= self.closed.get(subject, 0):
                return  # a revision, or a repeat: its month has been told
            self.closed[subject] = end
            key = (subject, window.start[:7])
            month = self._months[key]
            month.add(window)
            if window.end[:7] != window.start[:7]:
                del self._months[key]
                counts = (month.predictions, month.outcomes)
                self._hold(end, _MONTH, lines.month_line(*key, counts, month.metrics()))
            self._advance()

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
        """Where the slower of the two models is: ends of its last closed window, ms."""
        with self._lock:
            ends: dict[str, int] = dict.fromkeys((BIKES, INCOME), START)
            for subject, end in self.closed.items():
                model = subject.rpartition("@")[0]
                ends[model] = max(ends.get(model, START), end)
            return min(ends.values())

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

    def _advance(self) -> None:
        now = self.now
        if self._progress is not None:
            bar, task = self._progress
            bar.update(task, completed=min(now, END) - START, day=lines.day(min(now, END)))
        self._tell(until=now - HELD_MS)

    def _tell(self, until: int | None) -> None:
        with self._lock:
            while self._held and (until is None or self._held[0][0] <= until):
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
