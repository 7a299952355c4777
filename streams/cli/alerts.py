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
    from collections.abc import Callable, Hashable, Iterable

    from driftline.alerts import Alert


def alerts(
    context: typer.Context,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every incident, past ones too, not only what fires.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Only alerts of this model.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print each change as it comes, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Shows what is wrong now, and since when.

    The present state of each incident, or with --follow every change as it comes.
    """
    from streams.kafka.records import records
    from streams.topics import Topics

    if context.invoked_subcommand is not None:
        return
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
    latest = (
        incidents(changes) if everything else [a for a in present(changes) if a.status == "firing"]
    )
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
    return _latest(changes, lambda alert: alert.fingerprint)


def incidents(changes: Iterable[Alert]) -> list[Alert]:
    """The last state of each incident; a fingerprint has one per `started_at`, oldest first."""
    return _latest(changes, lambda alert: (alert.fingerprint, alert.started_at))


def _latest(changes: Iterable[Alert], key: Callable[[Alert], Hashable]) -> list[Alert]:
    latest: dict[Hashable, Alert] = {}
    for alert in changes:
        known = latest.get(key(alert))
        if known is None or alert.order > known.order:
            latest[key(alert)] = alert
    return sorted(latest.values(), key=lambda alert: (alert.started_at, alert.fingerprint))


def show(found: Iterable[Alert], *, as_json: bool) -> None:
    """Prints alerts to stdout: full states as JSON lines, or two lines each for people."""
    from msgspec import to_builtins

    from streams.cli.alert_lines import show_alerts

    if as_json:
        for alert in found:
            print_json(to_builtins(alert))
    else:
        show_alerts(list(found), console())
