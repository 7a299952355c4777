"""`driftline alerts`: what is wrong now, from the alerts topic."""

from __future__ import annotations

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
    from collections.abc import Iterable

    from rich.table import Table

    from driftline.alerts import Alert

STYLES = {"critical": "bold red", "warning": "yellow", "info": "blue"}


def alerts(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Resolved alerts, too, not only what fires.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Only alerts of this model.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print each change as it comes, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prints the present state of each incident, or with --follow every change of state."""
    from streams.records import records
    from streams.topics import Topics

    servers = bootstrap(broker)
    topic = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).alerts
    changes = (
        alert
        for record in records(servers, topic, follow=follow)
        if (alert := read(record.value)) is not None and model in (None, alert.model)
    )
    if follow:
        for alert in changes:
            show([alert], as_json=as_json)
        return
    latest = [a for a in present(changes) if everything or a.status == "firing"]
    if not latest and not as_json:
        typer.echo("no alerts", err=True)
    elif latest:
        show(latest, as_json=as_json)


def read(value: bytes | None) -> Alert | None:
    """The alert of a record; None for what is not one."""
    from driftline.alerts import decode_alert
    from driftline.errors import ContractError

    try:
        return None if value is None else decode_alert(value)
    except ContractError:
        return None


def present(changes: Iterable[Alert]) -> list[Alert]:
    """The state that holds of each fingerprint, oldest incident first.

    Delivery is at least once: per fingerprint the greatest (`started_at`, `revision`) holds.
    """
    latest: dict[str, Alert] = {}
    for alert in changes:
        known = latest.get(alert.fingerprint)
        if known is None or alert.order > known.order:
            latest[alert.fingerprint] = alert
    return sorted(latest.values(), key=lambda alert: (alert.started_at, alert.fingerprint))


def show(found: Iterable[Alert], *, as_json: bool) -> None:
    """Prints alerts to stdout: full states as JSON lines, or a table."""
    from msgspec import to_builtins

    if as_json:
        for alert in found:
            print_json(to_builtins(alert))
    else:
        console().print(table(found))


def table(found: Iterable[Alert]) -> Table:
    """A table of alerts, one row each."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("since", "severity", "kind", "model", "signal", "status", "what"):
        rows.add_column(heading, no_wrap=heading in {"since", "severity", "kind"})
    for alert in found:
        rows.add_row(
            alert.started_at[:16].replace("T", " "),
            Text(alert.severity, style=STYLES[alert.severity]),
            alert.kind,
            f"{alert.model}@{alert.version}",
            alert.signal,
            alert.status if alert.status == "firing" else f"{alert.status} ({alert.reason})",
            Text(alert.summary),
        )
    return rows
