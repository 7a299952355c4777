"""`driftline demo`: two commands to see it work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import BrokerOption, settings


def demo(
    broker: BrokerOption = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--exit",
            help="Keep running at the end, or exit; default: stay on a terminal.",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Only write the demo's traffic as files to this folder."),
    ] = None,
) -> None:
    """Shows Driftline at work, on real data.

    Serves real models in fast-forward on a broker of its own (or --broker) and tells what is seen.
    """
    from streams.demo import run as story

    if write is not None:
        for path in story.write(write):
            typer.echo(path)
        return
    if stay is None:
        stay = sys.stdout.isatty() and sys.stdin.isatty()
    code = story.run(bootstrap=settings(broker=broker).broker, stay=stay)
    if code:
        raise typer.Exit(code)
