"""`driftline health`: what a container asks every few seconds."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Annotated

import typer

TIMEOUT_S = 3.0


def health(
    port: Annotated[
        int | None, typer.Option(help="Health port; default: DRIFTLINE_HEALTH_PORT or 8081.")
    ] = None,
    host: Annotated[str, typer.Option(help="Host of the worker.")] = "127.0.0.1",
    live: Annotated[bool, typer.Option("--live", help="Ask only if it lives.")] = False,
) -> None:
    """Asks a worker whether it is ready.

    Exit code 0 if so, 1 if not: what container health checks expect.
    """
    from streams.cli.options import settings

    chosen = settings().health_port if port is None else port
    url = f"http://{host}:{chosen}/healthz/{'live' if live else 'ready'}"
    ok, why = ask(url)
    print(why, file=sys.stdout if ok else sys.stderr)
    if not ok:
        raise typer.Exit(1)


def ask(url: str) -> tuple[bool, str]:
    """Whether the health endpoint says yes, and what it says, in one line."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  http only
            return answer.status == HTTPStatus.OK, "ok"
    except urllib.error.HTTPError as error:
        return False, _reason(error.read())
    except OSError as error:
        return False, f"no worker answers at {url}: {getattr(error, 'reason', error)}"


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("why", "not ready"))
    except (ValueError, AttributeError):
        return "not ready"
