"""`driftline dlq`: messages that could not be used, and why."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

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
    from streams.kafka.records import Record

SHOWN_BYTES = 60


def dlq(
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    reason: Annotated[str | None, typer.Option(help="Only dead letters with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Lists messages set aside, and why."""
    from collections import deque

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from streams.kafka.records import records
    from streams.topics import Topics

    topic = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).deadletters
    letters = (
        letter
        for record in records(bootstrap(broker), topic)
        if reason in (None, (letter := describe(record))["reason"])
    )
    found = deque(sorted(letters, key=lambda letter: str(letter["at"])), maxlen=limit)
    if as_json:
        for letter in found:
            print_json(letter)
        return
    if not found:
        typer.echo("no dead letters", err=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("at", "reason", "from", "rows", "bytes", "detail", "begins"):
        table.add_column(heading, no_wrap=heading in {"at", "reason", "from"})
    for letter in found:
        where = f"{letter['topic']}/{letter['partition']}@{letter['offset']}"
        cells = (letter["at"], letter["reason"], where, letter["rows"], str(letter["bytes"]))
        begins = str(letter["value"])[:SHOWN_BYTES]
        table.add_row(*map(Text, (*cells, letter["detail"], begins)))
    console().print(table)


def describe(record: Record) -> dict[str, Any]:  # Any: text and numbers, for JSON
    """A dead letter as JSON: its headers, when, how large, and its bytes as text or Base64."""
    from driftline.rules import rfc3339

    value = record.value or b""
    headers = record.headers
    letter: dict[str, Any] = {
        "at": rfc3339(max(0, record.timestamp_ms)),
        "reason": headers.get("reason", "unknown"),
        "detail": headers.get("detail", ""),
        "topic": headers.get("topic", ""),
        "partition": _whole(headers.get("partition")),
        "offset": _whole(headers.get("offset")),
        "rows": headers.get("rows", ""),
        "bytes": len(value),
    }
    try:
        letter["value"] = value.decode()
    except UnicodeDecodeError:
        letter["value"] = base64.b64encode(value).decode()
        letter["encoding"] = "base64"
    return letter


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
