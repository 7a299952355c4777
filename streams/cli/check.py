"""`driftline check`: monitor files, before a worker reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import JsonOption, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from streams.monitors.load import Report
    from streams.offline.plan import JoinPlan, ModelPlan
    from streams.offline.unbounded import Unbounded

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_FAR = 1.5
"""Times the budget from which the plan says why."""


def check(
    paths: Annotated[list[Path], typer.Argument(help="Monitor files, or folders of them.")],
    show_plan: Annotated[
        bool,
        typer.Option("--plan", help="What each will cost: signals, state, series, false alarms."),
    ] = False,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="N/UNIT", help="With --plan: predictions of each model, as 100/s or 5000/min."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Validates monitor files.

    Exit code 3 if one is wrong.
    """
    from streams.monitors.load import inspect, monitors_of
    from streams.offline.plan import per_second, plan

    a_second = None if rate is None else per_second(rate)
    report = inspect(paths)
    plans = None
    if (show_plan or rate is not None) and not report.problems:
        plans = plan(monitors_of(report), a_second)
    if as_json:
        _print_json(report, plans)
    else:
        for note in report.notes:
            typer.echo(f"note: {note}", err=True)
        for problem in report.problems:
            typer.echo(problem, err=True)
        for monitor in report.files:
            typer.echo(f"{monitor.file}: ok, model {monitor.model}")
        if plans is not None:
            show(plans, console())
    if report.problems:
        raise typer.Exit(3)


def _print_json(report: Report, plans: Sequence[ModelPlan] | None) -> None:
    from dataclasses import asdict

    found = {
        "valid": not report.problems,
        "models": [monitor.model for monitor in report.files],
        "problems": [asdict(problem) for problem in report.problems],
        "notes": [asdict(note) for note in report.notes],
    }
    if plans is not None:
        found["plan"] = [asdict(each) for each in plans]
    print_json(found)


def show(plans: Sequence[ModelPlan], out: Console) -> None:
    """Prints what each model will cost, as lines of a name and a value."""
    from rich.table import Table
    from rich.text import Text

    for each in plans:
        out.print()
        out.print(Text(each.model, "bold"))
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for name, value in _lines(each):
            table.add_row(Text(f"  {name}"), Text(value))
        out.print(table)


def _lines(each: ModelPlan) -> Iterator[tuple[str, str]]:
    yield "reference", each.reference
    if each.signals is None:
        yield "signals", "known after the warm-up, and so are state and series"
    else:
        yield "signals", f"{sum(each.signals.values()):,}"
        yield from ((f"  {family}", f"{n:,}") for family, n in each.signals.items())
    if each.untested:
        yield "untested features", f"{each.untested:,} (arrays, or a reference under 500 rows)"
    if each.state_bytes is not None:
        yield "state at start", size(each.state_bytes)
    if each.series is not None:
        yield "Prometheus series", f"{each.series:,} per version"
    yield "false alarms", f"at most {amount(each.expected)} a week (budget {amount(each.budget)})"
    if each.traffic is not None and each.expected > _FAR * each.budget:
        yield "", f"its reference has {each.traffic:.2g} rows a second;"
        yield "", "build one from traffic like this"
    yield from _unbounded_lines(each.unbounded)
    if each.join is not None:
        yield from _join_lines(each.join)


def _unbounded_lines(detectors: Sequence[Unbounded]) -> Iterator[tuple[str, str]]:
    if detectors:
        yield "outside the budget", "no bound on false alarms"
    for each in detectors:
        role = "opens alerts" if each.opens else "shown only"
        yield f"  {each.detector}", f"on {each.on}: {role}"
        if each.signals is None:
            yield "", "signals are known after the warm-up"
        elif each.alarms is None:
            yield "", f"{each.signals:,} signals; alarms not measured at these settings"
        else:
            told = f"about {amount(each.alarms)} alarms a week if nothing changes"
            yield "", f"{each.signals:,} signals; {told}"


def _join_lines(join: JoinPlan) -> Iterator[tuple[str, str]]:
    each, all_labelled = size(join.bytes), size(join.labelled_bytes)
    yield f"at {join.per_second:.3g} a second", f"{each} wait for labels, {all_labelled} with them"
    if join.shards > 1:
        yield "", f"needs {join.shards:,} partitions, or the oldest are forgotten"
    each, all_labelled = size(join.disk_bytes), size(join.disk_labelled_bytes)
    yield "  with --state-dir", f"{each} on disk, {all_labelled} with labels"
    if join.disk_shards > 1:
        yield "", f"needs {join.disk_shards:,} partitions"


def amount(value: float) -> str:
    """A number for people: two digits, or whole with commas."""
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004  digits


def size(count: int) -> str:
    """Bytes for people, in KiB, MiB or GiB."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"
