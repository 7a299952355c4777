"""`driftline emit`: files into the topics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import (
    BrokerOption,
    ConfigOption,
    JsonOption,
    MapOption,
    PrefixOption,
    bootstrap,
    print_json,
    progress_bar,
    settings,
)


def emit(
    files: Annotated[
        list[Path],
        typer.Argument(help="Predictions, labels, outcomes: .jsonl, .csv, .parquet."),
    ],
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    create_time: Annotated[
        bool, typer.Option("--create-time", help="Record timestamp = the event's ts, not now.")
    ] = False,
    clock: Annotated[
        bool, typer.Option("--clock", help="Send clock records, for workers with --clock records.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="At most so many events per second.")
    ] = None,
    config: ConfigOption = None,
    mapping: MapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sends files of events to the topics.

    Several files are merged in order of their time.
    """
    from dataclasses import asdict

    from streams.emit import Emitter
    from streams.monitors.load import load
    from streams.offline.files import EventFile, total_bytes
    from streams.offline.tables import ColumnMap
    from streams.topics import Topics

    columns = ColumnMap.parse(mapping or [])
    sources = [EventFile(path, columns=columns) for path in files]
    monitors = load(config)
    topics = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix)
    emitter = Emitter(bootstrap(broker), topics, create_time=create_time, clock=clock, rate=rate)
    with progress_bar(total_bytes(sources), "emit") as advance:
        emitted = emitter.send(
            sources, settle_ms=monitors.settle_ms(sorted(monitors.specs)), progress=advance
        )
    if as_json:
        print_json(asdict(emitted))
        return
    clocks = f" and {emitted.clocks} clock records" if emitted.clocks else ""
    typer.echo(f"sent {emitted.predictions} predictions, {emitted.labels} labels{clocks}")
