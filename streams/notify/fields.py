"""Fields of the destinations file that several kinds have: addresses and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

from streams.monitors.document import Document, Node
from streams.notify.secrets import (
    Environment,
    PlainText,
    Source,
    checked,
    file_source,
    is_reference,
    variable_source,
)

_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""A part of a path that looks like a secret: long, letters and digits mixed."""


def url_source(
    document: Document,
    node: Node,
    environ: Environment,
    *,
    name: str = "url",
    default: str | None = None,
) -> Source | None:
    """Where `url: ${VARIABLE}`, `url_file: PATH` or a plain URL says to post; None: a problem.

    Args:
        document: takes the problems.
        node: the destination's entry.
        environ: variables.
        name: of the field; its file form has `_file` behind it.
        default: URL where the field is absent; None: it must be there.
    """
    fields: Mapping[str, Node] = node.fields or {}
    in_file = f"{name}_file"
    here = fields.get(name, fields.get(in_file))
    if here is None and default is not None:
        return PlainText(default)
    if here is None or (name in fields and in_file in fields):
        document.problem(node, f"say where to post: `{name}: ${{VARIABLE}}` or `{in_file}: PATH`")
        return None
    if in_file in fields:
        source = file_source(document, here)
    elif is_reference(here.text or ""):
        source = variable_source(document, here, environ)
    else:
        text = document.string(here)
        source = PlainText(text) if text else None
    source = checked(document, here, source)
    problem = url_problem(source.read(), plain=isinstance(source, PlainText)) if source else None
    if problem:
        document.problem(here, problem)
        return None
    return source


def url_problem(text: str, *, plain: bool) -> str | None:
    """What is wrong with a URL, without repeating it; `plain`: it stands in the file itself."""
    try:
        url = URL(text)
    except ValueError:
        return "not a valid URL"
    if url.scheme not in {"http", "https"} or not url.host:
        return "expected an http:// or https:// URL with a host"
    secret = url.user or url.password or url.query_string or any(map(_TOKEN.fullmatch, url.parts))
    if plain and secret:
        return "this URL seems to hold a secret; put it in a file (`url_file`) or use ${VARIABLE}"
    return None


def secret_source(
    document: Document,
    node: Node,
    environ: Environment,
    name: str,
    what: str,
    *,
    need: bool = True,
    advice: str = "",
) -> Source | None:
    """The secret that `NAME_file: PATH` or `NAME_env: VARIABLE` names; None: none, or a problem.

    Args:
        document: takes the problems.
        node: the destination's entry.
        environ: variables.
        name: of the field, without `_file` or `_env`.
        what: the secret is, for people.
        need: whether it must be there.
        advice: how to get one.
    """
    fields: Mapping[str, Node] = node.fields or {}
    in_file, in_env = f"{name}_file", f"{name}_env"
    here = fields.get(in_file, fields.get(in_env))
    if here is None and not need:
        return None
    if here is None or (in_file in fields and in_env in fields):
        where = f"say where {what} is: `{in_file}: PATH` or `{in_env}: NAME`"
        document.problem(node, f"{where}; {advice}" if advice else where)
        return None
    if in_file in fields:
        return checked(document, here, file_source(document, here))
    return checked(document, here, variable_source(document, here, environ))
