"""`driftline state`: what the workers' checkpoints hold, read from Kafka; no worker is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import (
    BrokerOption,
    JsonOption,
    PrefixOption,
    bootstrap,
    console,
    print_json,
    settings,
)

if TYPE_CHECKING:
    from streams.state.report import PartitionState

HEADINGS = (
    "stage", "partition", "position", "lag", "generation", "age", "checkpoint", "held",
    "pending", "slices", "on disk here", "subjects", "configuration",
)  # fmt: skip


def state(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", help="State folder; default: DRIFTLINE_STATE_DIR."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Shows checkpoints: positions, sizes, ages."""
    from dataclasses import asdict

    from streams.state.report import report
    from streams.topics import Topics

    chosen = settings(topic_prefix=topic_prefix, state_dir=state_dir)
    folder = None if chosen.state_dir is None else chosen.state_dir / chosen.group
    topics = Topics(prefix=chosen.topic_prefix)
    found = list(report(bootstrap(broker), topics, folder, time.time_ns() // 1_000_000))
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        typer.echo("no checkpoint yet", err=True)
    else:
        show(found)


def show(found: list[PartitionState]) -> None:
    """Prints a row per partition."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from streams.cli.check import size

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for each in found:
        local = "-" if each.local_bytes is None else size(each.local_bytes)
        cells = (
            each.stage,
            str(each.partition),
            f"{each.position:,}",
            _number(each.lag),
            f"{each.generation:,}",
            f"{each.age_s:,.0f} s",
            size(each.checkpoint_bytes),
            size(each.held_bytes),
            _number(each.pending),
            _number(each.slices),
            local,
            _number(each.subjects),
            each.config or "-",
        )
        table.add_row(*map(Text, cells))
    console().print(table)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
