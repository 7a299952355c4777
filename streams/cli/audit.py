"""`driftline audit`: is the trail whole, and what does it say of a model version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import (
    BrokerOption,
    JsonOption,
    PrefixOption,
    bootstrap,
    print_json,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.audit.verify import Verdict

FileArgument = Annotated[
    Path | None, typer.Argument(help="An export to check; default: the audit topic.")
]
HeadsOption = Annotated[
    Path | None,
    typer.Option("--heads", help="Heads noted by an earlier --json: shows a cut-off end."),
]
SHOWN_FAULTS = 20


def verify(
    file: FileArgument = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
    heads: HeadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Checks every link of the audit trail; exit code 1 and the place if one byte was changed."""
    from streams.audit.verify import verify as check

    verdict, _ = check(_lines(file, broker, topic_prefix), _noted(heads))
    if as_json:
        print_json(
            {
                "entries": sum(chain.entries for chain in verdict.chains.values()),
                "repeats": verdict.repeats,
                "skipped": sum(chain.skipped for chain in verdict.chains.values()),
                "heads": verdict.heads,
                "faults": [str(fault) for fault in verdict.faults],
            }
        )
    else:
        _say(verdict)
    if verdict.faults:
        raise typer.Exit(1)


def export(
    out: Annotated[Path, typer.Option("--out", help="The file to write, JSON Lines.")],
    model: Annotated[str | None, typer.Option(help="Only this model's entries in full.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version's, too.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time, exclusive.")] = None,
    broker: BrokerOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Writes the trail of a period and model version; the rest as stubs, so it can be checked."""
    from streams.audit.entries import Wanted, select
    from streams.audit.verify import verify as check

    wanted = Wanted(model, version, _ms("--since", since), _ms("--until", until))
    verdict, entries = check(_lines(None, broker, topic_prefix))
    if verdict.faults:
        _say(verdict)
        raise typer.Exit(1)
    chosen = select(entries, wanted)
    with out.open("wb") as file:
        file.writelines(entry.encode() + b"\n" for entry in chosen)
    full = sum(entry.body is not None for entry in chosen)
    typer.echo(
        f"{full} entries in full and {len(chosen) - full} stubs in {out};"
        f" `driftline audit verify {out}` checks them",
        err=True,
    )


def _lines(
    file: Path | None, broker: str | None, topic_prefix: str | None
) -> Iterator[tuple[str, bytes]]:
    """(place, bytes) of each entry, from an export or from the topic."""
    from driftline.errors import UsageError
    from streams.kafka.records import records
    from streams.topics import Topics

    if file is None:
        topic = Topics(prefix=settings(topic_prefix=topic_prefix).topic_prefix).audit
        for record in records(bootstrap(broker), topic):
            yield f"{record.topic}/{record.partition} offset {record.offset}", record.value or b""
        return
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{file}:{number}", line.removesuffix(b"\n")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def _noted(file: Path | None) -> dict[str, str] | None:
    import orjson

    from driftline.errors import UsageError

    if file is None:
        return None
    try:
        noted = orjson.loads(file.read_bytes())
        return dict(noted.get("heads", noted))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{file}: give what `driftline audit verify --json` printed") from error


def _ms(option: str, text: str | None) -> int | None:
    from driftline.errors import UsageError
    from driftline.rules import iso_ms

    if text is None:
        return None
    ms = iso_ms(text)
    if ms is None:
        raise UsageError(f"{option} {text}: write a time such as 2026-11-01T00:00:00Z")
    return ms


def _say(verdict: Verdict) -> None:
    for log, chain in sorted(verdict.chains.items()):
        gap = f", {chain.skipped} source records never recorded" if chain.skipped else ""
        typer.echo(f"{log}: {chain.entries} entries, head {chain.head[:16]}…{gap}")
    for fault in verdict.faults[:SHOWN_FAULTS]:
        typer.echo(f"FAULT {fault}", err=True)
    more = len(verdict.faults) - SHOWN_FAULTS
    if more > 0:
        typer.echo(f"... and {more} more", err=True)
    if not verdict.faults:
        entries = sum(chain.entries for chain in verdict.chains.values())
        typer.echo(f"the trail is whole: {entries} entries in {len(verdict.chains)} chains")
