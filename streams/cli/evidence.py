"""`driftline evidence ALERT`: the rows behind an alert."""

from __future__ import annotations

from collections.abc import Iterator
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
    from driftline.alerts import Alert
    from streams.kafka.records import Record
    from streams.operators.evidence import Found

FilesOption = Annotated[
    list[Path] | None,
    typer.Option(exists=True, dir_okay=False, help="Read this file, not the topic. Repeatable."),
]


def evidence(
    alert: Annotated[
        str, typer.Argument(help="Id or fingerprint of the alert, or the beginning of either.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 20,
    alerts: Annotated[
        Path | None, typer.Option(exists=True, help="Alerts as `replay --alerts` wrote them.")
    ] = None,
    predictions: FilesOption = None,
    labels: FilesOption = None,
    who: Annotated[
        str | None,
        typer.Option("--who", help="Who reads it; default: the name you are logged in by."),
    ] = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reads again the rows that an alert is about, those that contribute most first.

    From the topics; that it was read, and by whom, is said there too, as a comment on the alert.
    With --alerts and --predictions from files, without a broker.
    """
    from streams.operators.evidence import add_labels, find
    from streams.topics import Topics

    topics = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix)
    chosen = _chosen(alert, alerts, broker, topics.alerts)
    start = _read_from(chosen)
    rows = _rows(predictions, broker, topics.predictions, start)
    found = find(chosen, rows, limit)
    if predictions is None or labels is not None:
        add_labels(chosen, found, _rows(labels, broker, topics.labels, start))
    if as_json:
        print_json(_as_json(chosen, found))
    else:
        _show(chosen, found)
    if alerts is None:
        from streams.cli.commands import tell

        why = f"evidence read: {found.matched} rows, {len(found.rows)} shown"
        subject = f"{chosen.model}@{chosen.version}"
        tell("comment", why, who, broker, topic_prefix,
             fingerprint=chosen.fingerprint, subject=subject)  # fmt: skip


def _read_from(alert: Alert) -> int:
    from streams.operators.evidence import Scope

    return Scope.of(alert).read_from


def _chosen(start: str, file: Path | None, broker: str | None, topic: str) -> Alert:
    """The alert; of those of a fingerprint, the newest. Raises: UsageError."""
    from driftline.errors import UsageError
    from streams.cli.alerts import present, read
    from streams.kafka.records import records
    from streams.offline.files import EventFile

    values = (
        (r.value for r in records(bootstrap(broker), topic)) if file is None else EventFile(file)
    )
    found = [
        one
        for value in values
        if (one := read(value)) is not None
        and (one.id.startswith(start) or one.fingerprint.startswith(start))
    ]
    exact = [one for one in found if one.id == start]
    known = exact[:1] or present(found)
    if len(known) != 1:
        raise UsageError(f"{start}: {len(known)} alerts begin so; `driftline alerts --json`")
    return known[0]


def _rows(
    files: list[Path] | None, broker: str | None, topic: str, start_ms: int
) -> Iterator[Record]:
    from streams.kafka.records import Record, records
    from streams.offline.files import EventFile

    if files is None:
        yield from records(bootstrap(broker), topic, since_ms=start_ms)
        return
    for path in files:
        for at, value in enumerate(EventFile(path)):
            yield Record(path.name, 0, at, 0, None, value, {})


def _as_json(alert: Alert, found: Found) -> dict[str, object]:
    from dataclasses import asdict

    from streams.operators.evidence import Scope

    scope = Scope.of(alert)
    return {
        "alert": alert.id,
        "fingerprint": alert.fingerprint,
        "subject": f"{alert.model}@{alert.version}",
        "signal": alert.signal,
        "start": scope.start,
        "end": scope.end,
        "matched": found.matched,
        "offsets": [
            {"topic": topic, "partition": partition, "first": first, "last": last}
            for (topic, partition), (first, last) in sorted(found.offsets.items())
        ],
        "rows": [asdict(row) for row in found.rows],
    }


def _show(alert: Alert, found: Found) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from driftline.rules import rfc3339
    from streams.notify.render import neutral

    typer.echo(f"{alert.model}@{alert.version} {neutral(alert.summary)}", err=True)
    for (topic, partition), (first, last) in sorted(found.offsets.items()):
        typer.echo(f"{topic}/{partition}: offsets {first} to {last}", err=True)
    typer.echo(f"{found.matched} rows; {len(found.rows)} that contribute most:", err=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "at", alert.signal, "prediction", "label", "where"):
        table.add_column(Text(neutral(heading)))
    for row in found.rows:
        where = f"{row.partition}@{row.offset}"
        cells = (row.prediction_id, rfc3339(row.ts), row.value, row.prediction, row.label, where)
        table.add_row(*(Text("" if cell is None else neutral(str(cell))) for cell in cells))
    console().print(table)
