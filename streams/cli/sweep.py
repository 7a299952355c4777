"""`driftline replay --sweep`: a replay per setting, as a table, JSON or a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.cli.options import console, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from streams.offline.files import EventFile
    from streams.offline.sweep import Trial


def run_sweep(
    files: tuple[list[EventFile], list[EventFile]],
    config: Path | None,
    given: tuple[list[str], list[str]],
    picture: Path | None,
    *,
    as_json: bool,
) -> None:
    """Replays the files once per setting and shows what each did.

    Args:
        files: predictions and labels.
        config: monitor files.
        given: `--sweep` and `--change-at` options.
        picture: where the plot goes; None: no plot.
        as_json: print one JSON object instead of a table.
    """
    from dataclasses import asdict

    from driftline.rules import rfc3339
    from streams.offline.replay import Feed
    from streams.offline.sweep import changes, settings, sweep
    from streams.offline.sweep_plot import check_plot, plot

    tried, changed = settings(given[0]), changes(given[1])
    if picture is not None:
        check_plot(changed)
    with progress_bar(len(tried), "sweep") as advance:
        trials = sweep(Feed(*files), config, tried, changed, advance)
    if picture is not None:
        plot(trials, changed, picture)
    if as_json:
        times = [rfc3339(at) for at in changed]
        print_json({"changes": times, "trials": [asdict(trial) for trial in trials]})
    else:
        show(trials, [rfc3339(at)[:16].replace("T", " ") for at in changed], console())


def show(trials: Sequence[Trial], times: Sequence[str], out: Console) -> None:
    """Prints a table of settings, and per change which alert told it after how many rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = list(trials[0].setting) if trials else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name)
    for name in ("alerts", "false"):
        table.add_column(name, justify="right")
    for time in times:
        table.add_column(f"caught after {time}")
    for trial in trials:
        told = [
            "missed"
            if caught is None
            else f"{caught.rows:,} rows, {caught.labels:,} labels: {caught.kind} {caught.signal}"
            for caught in trial.caught
        ]
        cells = [*trial.setting.values(), f"{trial.opened:,}", f"{trial.before:,}", *told]
        table.add_row(*map(Text, cells))
    out.print(table)
    if times:
        out.print(Text("false: alerts that opened before the first change", "dim"))
