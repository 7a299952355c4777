"""`driftline schema`: JSON Schemas of everything that crosses the boundary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    name: Annotated[str | None, typer.Argument(help="Which schema; default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write NAME.schema.json files to this folder.")
    ] = None,
) -> None:
    """Prints JSON Schemas: of the contract, and of monitor files for editors (`monitor`)."""
    import json

    from driftline.errors import UsageError
    from driftline.schema import schemas
    from streams.monitors.document import suggestion
    from streams.monitors.schema import NAME, monitor_schema

    found = {**schemas(), NAME: monitor_schema()}
    if name is not None:
        if name not in found:
            raise UsageError(f"no schema {name!r}; {suggestion(name, found)}")
        found = {name: found[name]}
    if out is None:
        whole = found[name] if name is not None else found
        typer.echo(json.dumps(whole, indent=2))
        return
    out.mkdir(parents=True, exist_ok=True)
    for each, value in found.items():
        path = out / f"{each}.schema.json"
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        typer.echo(path)
