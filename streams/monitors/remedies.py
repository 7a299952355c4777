"""`remediation:` of a monitor file: which alerts set off what, and what holds it back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from detectors.remedy_spec import HOUR_MS, Remedy
from streams.monitors.document import Document, Node, required
from streams.monitors.words import DO, KEYS, KINDS, MODES, PER_HOURS, SEVERITIES

NEEDED: Mapping[str, str] = {"webhook": "destination", "hook": "name"}
"""What `with` must say for an action that Driftline carries out itself."""

_LIMIT = re.compile(rf"([1-9]\d*) per ({'|'.join(PER_HOURS)})")


def remedies(document: Document, node: Node) -> tuple[Remedy, ...]:
    """The policies in order; each has a name of its own."""
    found: dict[str, Remedy] = {}
    for item in document.entries(node):
        remedy = _remedy(document, item)
        if remedy is None:
            continue
        if remedy.name in found:
            advice = "give one of them a `name` of its own"
            document.problem(item, f"two policies are called {remedy.name!r}; {advice}")
        found[remedy.name] = remedy
    return tuple(found.values())


def _remedy(document: Document, node: Node) -> Remedy | None:
    fields = document.mapping(node, KEYS["remediation"])
    if not required(document, node, "on", "do"):
        return None
    action = document.choice(fields["do"], DO)
    values: dict[str, Any] = _on(document, fields["on"])  # Any: each field has a type of its own
    readers: Mapping[str, tuple[str, Callable[[Node], object]]] = {
        "mode": ("mode", lambda at: document.choice(at, MODES)),
        "name": ("name", document.string),
        "cool_down": ("cool_down_ms", lambda at: document.duration(at, least_ms=0)),
        "at_once": ("most_versions", lambda at: document.whole(at, least=1)),
        "max_traffic": ("max_traffic", lambda at: document.number(at, least=0, most=1)),
        "approve_within": ("approve_within_ms", document.duration),
        "verify_within": ("verify_within_ms", document.duration),
        "to": ("to", document.string),
    }
    for key, (name, read) in readers.items():
        if key in fields:
            values[name] = read(fields[key])
    if "limit" in fields:
        values |= _limit(document, fields["limit"])
    if "with" in fields:
        values["params"] = _params(document, fields["with"])
    if action is None or any(value is None for value in values.values()):
        return None  # each is a problem of its own
    needed = NEEDED.get(action)
    if needed is not None and needed not in values.get("params", {}):
        document.problem(node, f"`do: {action}` needs `with: {{{needed}: ...}}`")
        return None
    if "to" in values and action != "rollback":
        document.problem(fields["to"], "only a rollback goes to a version; leave `to` out")
    kinds = "-or-".join(values.get("kinds", ())) or "any-alert"
    return Remedy(**{"name": f"{action}-on-{kinds}", "action": action, **values})


def _on(document: Document, node: Node) -> dict[str, Any]:
    on = document.mapping(node, KEYS["remediation.on"])
    values: dict[str, Any] = {}
    for key, name, words in (("kind", "kinds", KINDS), ("severity", "severities", SEVERITIES)):
        if key in on:
            for item in on[key].items or [on[key]]:
                document.choice(item, words)
            values[name] = tuple(document.strings(on[key]))
    if "signal" in on:
        values["signals"] = tuple(document.strings(on["signal"]))
    return values


def _limit(document: Document, node: Node) -> dict[str, Any]:
    text = document.string(node) or ""
    match = _LIMIT.fullmatch(text)
    if match is None:
        document.problem(
            node, f"{text!r}: write how many per {', '.join(PER_HOURS)}, as `1 per day`"
        )
        return {}
    return {"limit": int(match[1]), "per_ms": int(PER_HOURS[match[2]] * HOUR_MS)}


def _params(document: Document, node: Node) -> dict[str, str]:
    if node.fields is None:
        document.problem(node, "expected names and texts, as {destination: rollbacks}")
        return {}
    return {name: document.string(child) or "" for name, child in node.fields.items()}
