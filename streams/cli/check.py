"""`driftline check`: monitor files, before a worker reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import JsonOption, print_json


def check(
    paths: Annotated[list[Path], typer.Argument(help="Monitor files, or folders of them.")],
    as_json: JsonOption = False,
) -> None:
    """Validates monitor files.

    Exit code 3 if one is wrong.
    """
    from dataclasses import asdict

    from streams.monitors import inspect

    report = inspect(paths)
    if as_json:
        print_json(
            {
                "valid": not report.problems,
                "models": [monitor.model for monitor in report.files],
                "problems": [asdict(problem) for problem in report.problems],
                "notes": [asdict(note) for note in report.notes],
            }
        )
    else:
        for note in report.notes:
            typer.echo(f"note: {note}", err=True)
        for problem in report.problems:
            typer.echo(problem, err=True)
        for monitor in report.files:
            typer.echo(f"{monitor.file}: ok, model {monitor.model}")
    if report.problems:
        raise typer.Exit(3)
