"""The destinations file: who is told, how, of what, and when. docs/alerts.md has every key.

    destinations:
      - name: oncall
        kind: webhook
        url: ${ONCALL_URL}                    # or url_file: PATH
        secret_file: /run/secrets/oncall      # or secret_env: NAME; whsec_..., two while rotating
        severities: [critical, warning]       # default: all
        match: {kind: [performance, concept_drift], model: "fraud*"}
        retry: {for: 1h}                      # then the alert goes to the dead letters
      - name: journal
        kind: log

Secrets stand in files or the environment, never here. Without a file alerts go to the log, and to
a webhook if `DRIFTLINE_WEBHOOK_URL` and `DRIFTLINE_WEBHOOK_SECRET` (or either with `_FILE`) say so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from driftline.errors import DriftlineError
from streams.monitors.document import Document, Node, parse, suggestion
from streams.notify.log import Log
from streams.notify.registry import NOTIFIERS
from streams.notify.rules import Destination
from streams.notify.secrets import Environment
from streams.notify.settings import COMMON, rules

INLINE = ("secret", "secrets", "token", "password", "api_key", "signing_secret")
"""Keys that people try first; answered with where secrets belong."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class DestinationsError(DriftlineError):
    """The destinations file is wrong; the message has one `file:line:col: path: ...` a problem."""


def load(
    path: Path | None,
    environ: Environment | None = None,
    models: Mapping[str, Collection[str]] | None = None,
) -> list[Destination]:
    """The destinations that a file names, or without one those of the environment, never none.

    Args:
        path: the file; None: the log, and the webhook that variables may name.
        environ: variables; None: this process's.
        models: model to the destinations its monitor file names (`alerts: {notify: [...]}`).

    Raises:
        DestinationsError: with every problem found; none of them repeats a value.
    """
    environ = os.environ if environ is None else environ
    if path is None:
        return _for_models([Destination(Log("log")), *_from_environment(environ)], models)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DestinationsError(f"{path}: cannot be read: {why}") from None
    return _for_models(read(text, str(path), environ), models)


def _for_models(
    found: list[Destination], models: Mapping[str, Collection[str]] | None
) -> list[Destination]:
    """The destinations, each knowing which models name whom. Raises: DestinationsError."""
    if not models:
        return found
    names = {destination.name for destination in found}
    for model, named in models.items():
        unknown = sorted(set(named) - names)
        if unknown:
            raise DestinationsError(
                f"the monitor of {model} notifies `{unknown[0]}`, which is no destination; "
                f"{suggestion(unknown[0], sorted(names))}"
            )
    routes = {model: frozenset(named) for model, named in models.items()}
    return [replace(destination, models=routes) for destination in found]


def read(text: str, file: str, environ: Environment) -> list[Destination]:
    """The destinations of a YAML text. `file`: what problems call it; relative paths start there.

    Raises:
        DestinationsError: with every problem found.
    """
    document = parse(text, file)
    found = _all(document, document.root, environ) if document.root else []
    if not found and not document.problems:
        raise DestinationsError(f"{file}: names no destination; remove the file to log alerts only")
    if document.problems:
        raise DestinationsError("\n".join(map(str, document.problems)))
    return found


def _all(document: Document, root: Node, environ: Environment) -> list[Destination]:
    listed = document.mapping(root, ["destinations"]).get("destinations")
    if listed is None:
        return []
    if listed.items is None:
        document.problem(listed, "expected a list: one `- name: ...` for each destination")
        return []
    found: dict[str, Destination] = {}
    for node in listed.items:
        destination = _one(document, node, environ)
        if destination is None:
            continue
        if destination.name in found:
            document.problem(node, f"the name {destination.name} stands here twice; change one")
        found[destination.name] = destination
    return list(found.values())


def _one(document: Document, node: Node, environ: Environment) -> Destination | None:
    raw = node.fields or {}
    for key in INLINE:
        if key in raw:
            document.problem(
                raw[key], "no secrets in this file: use `secret_file: PATH` or `secret_env: NAME`"
            )
    kind = document.choice(raw["kind"], NOTIFIERS) if "kind" in raw else None
    if kind is None:
        if "kind" not in raw:
            document.problem(node, f"`kind` is missing; use one of {', '.join(NOTIFIERS)}")
        return None
    fields = document.mapping(node, (*COMMON, *NOTIFIERS[kind].keys, *INLINE))
    name = _name(document, node, fields)
    chosen = rules(document, fields, NOTIFIERS[kind].traits)
    notifier = NOTIFIERS[kind].build(name or "", document, node, environ)
    return Destination(notifier, **chosen) if name and notifier else None


def _name(document: Document, node: Node, fields: Mapping[str, Node]) -> str | None:
    if "name" not in fields:
        document.problem(node, "`name` is missing; it is what logs and metrics will say")
        return None
    name = document.string(fields["name"])
    if name is not None and not _NAME.fullmatch(name):
        document.problem(fields["name"], "use 1 to 64 letters, digits, and . _ -")
        return None
    return name


def _from_environment(environ: Environment) -> list[Destination]:
    """The one webhook that variables may name, read as if it stood in a file."""
    lines = []
    for key in ("url", "secret"):
        variable = f"DRIFTLINE_WEBHOOK_{key.upper()}"
        if environ.get(f"{variable}_FILE"):
            lines.append(f"{key}_file: {_quoted(environ[f'{variable}_FILE'])}")
        elif environ.get(variable):
            lines.append(f"url: ${{{variable}}}" if key == "url" else f"secret_env: {variable}")
    if not lines:
        return []
    entry = "".join(f"\n    {line}" for line in lines)
    text = f"destinations:\n  - name: webhook\n    kind: webhook{entry}\n"
    return read(text, "DRIFTLINE_WEBHOOK_*", environ)


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
