"""`driftline reference build`: what normal looks like, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import ConfigOption, JsonOption, MapOption, print_json, progress_bar


def build(
    files: Annotated[
        list[Path],
        typer.Argument(help="Predictions, outcomes or a table: .jsonl, .gz, .csv, .parquet."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where to write the profile.")],
    model: Annotated[
        str | None, typer.Option(help="Only this model; also the model of a table that has none.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Only this version; also of a table that has none.")
    ] = None,
    config: ConfigOption = None,
    mapping: MapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Builds the profile that `reference:` in a monitor file names."""
    from streams.monitors.load import load
    from streams.offline.files import EventFile, atomic_write, total_bytes
    from streams.offline.reference_build import build_profile, describe, refused
    from streams.offline.tables import ColumnMap

    columns = ColumnMap.parse(mapping or [])
    sources = [EventFile(path, columns=columns) for path in files]
    with progress_bar(total_bytes(sources), "reference") as advance:
        profile, counts = build_profile(
            sources, load(config), model=model, version=version, progress=advance
        )
    if counts.rejected:
        typer.echo(refused(counts), err=True)
    atomic_write(out, profile.to_json())
    facts = describe(profile)
    if as_json:
        print_json(facts)
        return
    typer.echo(
        f"{out}: {profile.model}@{profile.version}, {profile.n:,} rows,"
        f" {len(profile.features)} features, {profile.task}"
    )
    for weak, n in facts["weak"].items():
        typer.echo(f"weak: {weak} has {n:,} rows; from 5,000 on a reference is firm", err=True)
