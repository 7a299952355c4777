"""How far the benchmark is, on stderr: a bar on a terminal, else a line a run."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.measure import Run


class Steps:
    """Runs of a benchmark, one after the other."""

    def __init__(self, total: int) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self._terminal,
        )
        self._task = self._progress.add_task("starting", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, what: str) -> None:
        """Says what is run now."""
        self._progress.update(self._task, description=what)

    def done(self, what: str, found: Run | str) -> None:
        """Says what came of it."""
        self._progress.advance(self._task)
        shown = found
        if isinstance(found, Run):
            cut = "" if found.complete else ", ended by its limit"
            shown = f"{found.events_per_cpu_s:,.0f} per CPU s ({found.events:,} events{cut})"
        line = f"{time.monotonic() - self._began:5.0f} s  {what}: {shown}"
        if self._terminal:
            self._progress.console.print(line, highlight=False)
        else:
            sys.stderr.write(line + "\n")
