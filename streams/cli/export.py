"""`driftline export`: live traffic to files, for `driftline replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import BrokerOption, JsonOption, PrefixOption, bootstrap, print_json

TimeOption = Annotated[str | None, typer.Option(help="Arrival, RFC 3339 with an offset.")]


def export(
    predictions: Annotated[
        Path | None, typer.Option(help="File for the predictions topic; .jsonl, also .gz.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File for the labels topic.")] = None,
    since: TimeOption = None,
    until: TimeOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes live traffic to files that replay it.

    Each row keeps the arrival it had, so `driftline replay` on the files says what workers said.
    The files hold raw data, as the topics do.
    """
    from dataclasses import asdict

    from driftline.errors import UsageError
    from streams.cli.options import settings
    from streams.operators.export import export as write
    from streams.topics import Topics

    if predictions is None and labels is None:
        raise UsageError("name a file: --predictions FILE, --labels FILE, or both")
    chosen = settings(broker=broker, topic_prefix=topic_prefix)
    topics = Topics(
        prefix=chosen.topic_prefix, names=Topics.from_other_sources(chosen.source_prefix)
    )
    span = {"since_ms": _ms(since, "--since"), "until_ms": _ms(until, "--until")}
    servers = bootstrap(broker)
    said = {}
    for topic, path in ((topics.predictions, predictions), (topics.labels, labels)):
        if path is not None:
            done = write(servers, topic, path, clock_records=chosen.clock == "records", **span)
            said[str(path)] = {"topic": topic, **asdict(done)}
            if not as_json:
                left = f"; {done.unreadable} that are not JSON left out" if done.unreadable else ""
                typer.echo(f"{path}: {done.records:,} records of {topic}{left}", err=True)
    if as_json:
        print_json(said)


def _ms(text: str | None, option: str) -> int | None:
    from driftline.errors import UsageError
    from driftline.rules import iso_ms

    if text is None:
        return None
    ms = iso_ms(text)
    if ms is None:
        raise UsageError(f"{option}: {text!r} is not of the form 2026-11-01T12:00:00Z")
    return ms
