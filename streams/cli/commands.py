"""What people answer: `driftline alerts acknowledge`, `silence`, `close`, ... and `actions`."""

from __future__ import annotations

import getpass
import os
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
    from driftline.actions import Action
    from driftline.alerts import Alert, CommandName

AlertArgument = Annotated[str, typer.Argument(help="Fingerprint of the alert, or its beginning.")]
ActionArgument = Annotated[str, typer.Argument(help="Id of the action, or its beginning.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for those who come later.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who says so; default: the name you are logged in by.")
]


def acknowledge(
    alert: AlertArgument,
    why: WhyOption = "",
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Says that somebody is on it: no repeats, no escalation."""
    _about_alert("acknowledge", alert, why, who, broker, topic_prefix)


def comment(
    alert: AlertArgument,
    why: WhyOption,
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Adds a remark to an alert's trail."""
    _about_alert("comment", alert, why, who, broker, topic_prefix)


def close(
    alert: AlertArgument,
    why: WhyOption,
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Ends an alert by hand; it opens again only if it becomes worse, or after a recovery."""
    _about_alert("close", alert, why, who, broker, topic_prefix)


def silence(
    alert_or_subject: Annotated[
        str, typer.Argument(help="Fingerprint of one alert, or MODEL@VERSION for all of its own.")
    ],
    until: Annotated[str, typer.Option(help="End: RFC 3339, or a duration such as 4h or 2d.")],
    why: WhyOption = "",
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Sends nothing about an alert, or about a model version, until then."""
    end = _until(until)
    if "@" in alert_or_subject:
        tell("silence", why, who, broker, topic_prefix, subject=alert_or_subject, until=end)
    else:
        _about_alert("silence", alert_or_subject, why, who, broker, topic_prefix, until=end)


def unsilence(
    alert_or_subject: Annotated[str, typer.Argument(help="As it was given to `silence`.")],
    why: WhyOption = "",
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Ends a silence before its time."""
    if "@" in alert_or_subject:
        tell("unsilence", why, who, broker, topic_prefix, subject=alert_or_subject)
    else:
        _about_alert("unsilence", alert_or_subject, why, who, broker, topic_prefix)


def rebase(
    subject: Annotated[str, typer.Argument(metavar="MODEL@VERSION")],
    why: WhyOption,
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Takes what comes next as the new normal: a new reference is learned, open drift closes."""
    tell("rebase", why, who, broker, topic_prefix, subject=subject)


def actions(
    context: typer.Context,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only what waits for approval.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Lists what remediation would do, waits to do, and did."""
    from msgspec import to_builtins

    if context.invoked_subcommand is not None:
        return
    found = [
        action
        for action in _latest_actions(broker, topic_prefix)
        if not waiting or action.status == "waiting"
    ]
    if as_json:
        for action in found:
            print_json(to_builtins(action))
        return
    if not found:
        typer.echo("no actions", err=True)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("at", "action", "of", "status", "why", "id"):
        table.add_column(heading, no_wrap=heading in {"at", "status", "id"})
    for action in found:
        what = action.action + (f" to {action.to_version}" if action.to_version else "")
        cells = (action.at, what, action.subject, action.status, action.why, action.id[:8])
        table.add_row(*map(Text, cells))
    console().print(table)


def approve(
    action: ActionArgument,
    why: WhyOption = "",
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Lets an action that waits be carried out."""
    _about_action("approve", action, why, who, broker, topic_prefix)


def reject(
    action: ActionArgument,
    why: WhyOption,
    who: WhoOption = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Ends an action that waits; it is never carried out."""
    _about_action("reject", action, why, who, broker, topic_prefix)


def _about_alert(
    command: CommandName,
    start: str,
    why: str,
    who: str | None,
    broker: str | None,
    topic_prefix: str | None,
    until: str | None = None,
) -> None:
    alert = _the_alert(start, broker, topic_prefix)
    tell(
        command, why, who, broker, topic_prefix,
        fingerprint=alert.fingerprint, subject=f"{alert.model}@{alert.version}", until=until,
    )  # fmt: skip


def _about_action(
    command: CommandName,
    start: str,
    why: str,
    who: str | None,
    broker: str | None,
    topic_prefix: str | None,
) -> None:
    from driftline.errors import UsageError

    found = [a for a in _latest_actions(broker, topic_prefix) if a.id.startswith(start)]
    if len(found) != 1:
        raise UsageError(f"{start}: {len(found)} actions begin so; `driftline actions` lists them")
    if found[0].status != "waiting":
        raise UsageError(f"action {found[0].id} is {found[0].status}, it does not wait")
    tell(
        command, why, who, broker, topic_prefix, subject=found[0].subject, action=found[0].id
    )  # fmt: skip


def _the_alert(start: str, broker: str | None, topic_prefix: str | None) -> Alert:
    from driftline.errors import UsageError
    from streams.cli.alerts import present, read
    from streams.kafka.records import records
    from streams.topics import Topics

    topic = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).alerts
    known = present(
        alert
        for record in records(bootstrap(broker), topic)
        if (alert := read(record.value)) is not None and alert.fingerprint.startswith(start)
    )
    if len(known) != 1:
        raise UsageError(
            f"{start}: {len(known)} alerts begin so; `driftline alerts --json` shows fingerprints"
        )
    return known[0]


def _latest_actions(broker: str | None, topic_prefix: str | None) -> list[Action]:
    """The state that holds of each action, oldest first."""
    from driftline.actions import decode_action
    from driftline.errors import ContractError
    from streams.kafka.records import records
    from streams.topics import Topics

    topic = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).actions
    latest: dict[str, Action] = {}
    for record in records(bootstrap(broker), topic):
        try:
            action = decode_action(record.value or b"")
        except ContractError:
            continue
        known = latest.get(action.id)
        if known is None or action.revision > known.revision:
            latest[action.id] = action
    return sorted(latest.values(), key=lambda action: (action.at, action.id))


def tell(
    command: CommandName,
    why: str,
    who: str | None,
    broker: str | None,
    topic_prefix: str | None,
    *,
    fingerprint: str | None = None,
    subject: str | None = None,
    action: str | None = None,
    until: str | None = None,
) -> None:
    """Puts a command on its topic; returns when the broker has it. Raises: BrokerUnreachable."""
    import time

    from confluent_kafka import Producer
    from msgspec import UNSET

    from driftline.alerts import Command, encode
    from driftline.errors import BrokerUnreachable
    from driftline.ids import uuid7
    from driftline.rules import rfc3339
    from streams.topics import Topics

    servers = bootstrap(broker)
    sent = Command(
        id=uuid7(), command=command, fingerprint=fingerprint, subject=subject,
        action=action or UNSET, until=until, who=who or _whoami(), why=why,
        when=rfc3339(time.time_ns() // 1_000_000),
    )  # fmt: skip
    failed: list[str] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 0})
    producer.produce(
        Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).commands,
        encode(sent),
        (subject or fingerprint or "").encode(),
        on_delivery=lambda error, _: failed.append(error.str()) if error else None,
    )
    if producer.flush(20) or failed:
        raise BrokerUnreachable(servers, failed[0] if failed else "no answer within 20 s")
    typer.echo(f"{command} {action or fingerprint or subject}: told by {sent.who}", err=True)


def _whoami() -> str:
    return os.environ.get("DRIFTLINE_USER") or getpass.getuser()


def _until(text: str) -> str:
    import re
    import time

    from driftline.errors import UsageError
    from driftline.rules import iso_ms, rfc3339

    match = re.fullmatch(r"(\d+)([mhd])", text)
    if match:
        minutes = int(match[1]) * {"m": 1, "h": 60, "d": 1440}[match[2]]
        return rfc3339(time.time_ns() // 1_000_000 + minutes * 60_000)
    ms = iso_ms(text)
    if ms is None:
        raise UsageError(f"--until {text}: write 30m, 4h, 2d or 2026-11-01T00:00:00Z")
    return rfc3339(ms)
