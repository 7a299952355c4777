"""`driftline doctor`: is everything there that a worker needs, and is it well?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.cluster import DestinationsOption, MonitorsOption, StateOption
from streams.cli.options import BrokerOption, JsonOption, PrefixOption, print_json, settings

MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def doctor(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    config: MonitorsOption = None,
    destinations: DestinationsOption = None,
    state_dir: StateOption = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Compare clocks: writes one empty record, which workers pass over."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Checks settings, broker, topics, clocks, workers.

    Exit code 0 if nothing is bad; else 1, or that of the first bad line: 2 usage, 3 configuration,
    4 broker unreachable.
    """
    from dataclasses import asdict

    from streams.watchdog.doctor import examine

    given: dict[str, str | Path | None] = {
        "broker": broker,
        "topic_prefix": topic_prefix,
        "monitors": config,
        "destinations": destinations,
        "state_dir": state_dir,
    }
    code = 0
    for check in examine(settings(**given), probe=probe):
        if check.verdict == "bad" and not code:
            code = check.code
        if as_json:
            print_json(asdict(check))
            continue
        do = f" -> {check.do}" if check.do and check.verdict != "ok" else ""
        typer.echo(f"{MARKS[check.verdict]} {check.name}: {check.what}{do}")
    if code:
        raise typer.Exit(code)
