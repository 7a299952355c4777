"""Options and output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

if TYPE_CHECKING:
    from rich.console import Console

    from streams.config import WorkerSettings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="HOST:PORT",
        help="Kafka bootstrap servers; default: DRIFTLINE_BROKER or KAFKA_BOOTSTRAP.",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option("--topic-prefix", help="Put before every topic name; default: none."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="A monitor file, or a folder of them; default: all defaults."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column of a table holds a field; FIELD:=VALUE for a constant. Repeatable.",
    ),
]


def settings(**given: Any) -> WorkerSettings:  # Any: pydantic validates each
    """The worker's settings: what the command line gave, then environment, then defaults."""
    from streams.config import read

    return read(**given)


def bootstrap(broker: str | None) -> str:
    """The broker to talk to.

    Raises:
        UsageError: none is named anywhere.
    """
    from driftline.errors import UsageError

    found = settings(broker=broker).broker
    if found is None:
        raise UsageError(
            "no broker named; give --broker HOST:PORT or set KAFKA_BOOTSTRAP"
            " (`driftline up` starts one for you)"
        )
    return found


def print_json(value: object) -> None:
    """One JSON value as one line on stdout."""
    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")


def console(*, error: bool = False) -> Console:
    """A terminal to write to: stdout for data, stderr for people. Honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=error, highlight=False, soft_wrap=error)


@contextmanager
def progress_bar(total_bytes: int, what: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that the yielded function moves to so many bytes; nothing if no terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (f"{what} [progress.description]", BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console(error=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=max(1, total_bytes))
        yield lambda done: bar.update(task, completed=done)
