"""`driftline replay`: the worker's own steps over files."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.options import (
    ConfigOption,
    JsonOption,
    MapOption,
    console,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from rich.console import Console

    from streams.monitors.load import Monitors
    from streams.offline.summary import Summary


def replay(
    predictions: Annotated[
        list[Path],
        typer.Option("--predictions", help="Predictions or outcomes; several are read in turn."),
    ],
    labels: Annotated[
        list[Path] | None, typer.Option("--labels", help="Labels; several are read in turn.")
    ] = None,
    config: ConfigOption = None,
    alerts: Annotated[
        Path | None, typer.Option("--alerts", help="Write every alert event here, as JSON Lines.")
    ] = None,
    windows: Annotated[
        Path | None, typer.Option("--windows", help="Write window summaries here, as JSON Lines.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="SEVERITY|KIND",
            help="Exit with 1 if an alert of this severity (or above), or of this kind, opened.",
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=VALUE,...",
            help="Replay once per value of a monitor file's key, such as drift.false_alarms=0.1,1."
            " Repeatable: every combination.",
        ),
    ] = None,
    change_at: Annotated[
        list[str] | None,
        typer.Option(
            "--change-at", metavar="TIME", help="With --sweep: when something changed. Repeatable."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="With --sweep: write a PNG of delay against false alarms."),
    ] = None,
    mapping: MapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Runs files through the worker's steps.

    No Kafka: for tuning thresholds before going live, and for looking at history.
    """
    from streams.cli.sweep import run_sweep
    from streams.offline.files import EventFile, total_bytes
    from streams.offline.replay import Replay
    from streams.offline.summary import Results, summarise
    from streams.offline.tables import ColumnMap

    wanted = conditions(fail_on or [])
    columns = ColumnMap.parse(mapping or [])
    files = [EventFile(path, columns=columns) for path in predictions]
    more = [EventFile(path, columns=columns, role="labels") for path in labels or []]
    if sweep:
        _alone(alerts=alerts, windows=windows, fail_on=fail_on)
        given = sweep, change_at or []
        run_sweep((files, more), config, given, plot, as_json=as_json)
        return
    _alone(needs="--sweep", change_at=change_at, plot=plot)
    monitors = _monitors(config)
    started = time.perf_counter()
    with ExitStack() as stack:
        sink = stack.enter_context(Results(alerts, windows))
        advance = stack.enter_context(progress_bar(total_bytes([*files, *more]), "replay"))
        run = Replay(files, more, monitors, sink, advance)
        run.run()
    summary = summarise(run, sink, seconds=time.perf_counter() - started)
    if as_json:
        print_json(summary.as_json())
    else:
        show(summary, console())
    if any(matches(alert, wanted) for alert in sink.latest.values()):
        raise typer.Exit(1)


def conditions(fail_on: list[str]) -> tuple[set[str], set[str]]:
    """(severities, kinds) that `--fail-on` asks for; a severity stands for those above it, too.

    Raises:
        UsageError: a word is neither.
    """
    from typing import get_args

    from driftline.alerts import Kind, Severity
    from driftline.errors import UsageError
    from streams.monitors.document import suggestion

    ranked = get_args(Severity)
    severities: set[str] = set()
    kinds: set[str] = set()
    for word in fail_on:
        if word in ranked:
            severities.update(ranked[ranked.index(word) :])
        elif word in get_args(Kind):
            kinds.add(word)
        else:
            raise UsageError(f"--fail-on {word}: {suggestion(word, (*ranked, *get_args(Kind)))}")
    return severities, kinds


def matches(incident: Any, wanted: tuple[set[str], set[str]]) -> bool:  # Any: streams Incident
    """Whether an incident is one that `--fail-on` asks for, at the worst it was."""
    severities, kinds = wanted
    return incident.alert.kind in kinds or incident.worst in severities


def _alone(needs: str = "", **options: object) -> None:
    """Refuses options that would do nothing: those of one replay in a sweep, and the reverse."""
    from driftline.errors import UsageError

    for name, value in options.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            why = f"needs {needs}" if needs else "is for one replay, not for --sweep"
            raise UsageError(f"{option} {why}")


def _monitors(config: Path | None) -> Monitors:
    from streams.monitors.load import inspect, load

    if config is not None:
        for note in inspect([config]).notes:
            typer.echo(f"note: {note}", err=True)
    return load(config)


def show(summary: Summary, out: Console) -> None:
    """Prints the summary for people."""
    from rich import box
    from rich.table import Table

    from streams.cli.alert_lines import show_alerts

    totals = Table(box=None, show_header=False, pad_edge=False)
    for name, total in summary.totals.items():
        totals.add_row(name.replace("_", " "), f"{total:,}")
    for reason, count in summary.rejected_by_reason.items():
        totals.add_row(f"  {reason}", f"{count:,}")
    totals.add_row("events per second", f"{summary.events / max(summary.seconds, 1e-9):,.0f}")
    out.print(totals)
    if summary.subjects:
        metrics = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("subject", "metric", "value"):
            metrics.add_column(heading, justify="right" if heading == "value" else "left")
        for name, subject in summary.subjects.items():
            if not subject.metrics:
                metrics.add_row(name, "none yet: warming up, or no labels", "")
            for metric, value in subject.metrics.items():
                metrics.add_row(name, metric, f"{value:.6g}")
        out.print(metrics)
    if summary.incidents:
        show_alerts(summary.incidents, out, summary.opened)
    else:
        out.print("no alerts")
