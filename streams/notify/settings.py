"""The rules of one destination, as the destinations file says them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.monitors.document import Document, Node
from streams.notify.api import KINDS, SEVERITIES, Traits
from streams.notify.rules import (
    GROUP_FIELDS,
    MATCH_FIELDS,
    Grouping,
    Matcher,
    Quiet,
    Retry,
    Storm,
)

COMMON = (
    *("name", "kind", "severities", "match", "group", "repeat", "quiet", "storm", "after"),
    *("resolved", "picture", "timeout", "retry", "pace", "limit"),
)
NONE = ("none", "never")
_REPEAT_S = 4 * 3600.0
_HOUR = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def rules(document: Document, fields: Mapping[str, Node], traits: Traits) -> dict[str, Any]:
    """The arguments of `Destination` that the common keys give; problems go to the document."""
    found: dict[str, Any] = {
        "traits": traits,
        "severities": _severities(document, fields.get("severities")),
        "matchers": _matchers(document, fields.get("match")),
        "grouping": _grouping(document, fields.get("group"), traits),
        "repeat_s": _seconds(document, fields.get("repeat"), _REPEAT_S if traits.repeats else None),
        "quiet": _quiet(document, fields.get("quiet")),
        "storm": _storm(document, fields.get("storm"), traits),
        "after_s": _seconds(document, fields.get("after"), 0.0),
        "resolved": _flag(document, fields.get("resolved")),
        "picture": _flag(document, fields.get("picture")),
        "retry": _retry(document, fields.get("retry"), traits),
        "pace_s": _seconds(document, fields.get("pace"), traits.pace_s),
        "timeout_s": _seconds(document, fields.get("timeout"), 10.0) or 10.0,
    }
    if "limit" in fields and (limit := document.whole(fields["limit"], least=1)) is not None:
        found["limit"] = limit
    return found


def _none(node: Node) -> bool:
    return node.text is not None and node.text in NONE


def _flag(document: Document, node: Node | None) -> bool:
    return node is None or document.choice(node, ("true", "false")) != "false"


def _seconds(document: Document, node: Node | None, default: float | None) -> float | None:
    """A duration; `none` or `never` is None."""
    if node is None:
        return default
    if _none(node):
        return None
    given = document.duration(node)
    return default if given is None else given / 1000


def _severities(document: Document, node: Node | None) -> frozenset[str]:
    if node is None:
        return frozenset(SEVERITIES)
    items = node.items if node.items is not None else [node]
    chosen = (document.choice(item, SEVERITIES) for item in items)
    if not items:
        document.problem(node, f"name at least one of {', '.join(SEVERITIES)}")
    return frozenset(severity for severity in chosen if severity)


def _matchers(document: Document, node: Node | None) -> tuple[Matcher, ...]:
    """One mapping, or a list of which any may match."""
    if node is None:
        return ()
    items = node.items if node.items is not None else [node]
    return tuple(_matcher(document, item) for item in items)


def _matcher(document: Document, node: Node) -> Matcher:
    fields = document.mapping(node, (*MATCH_FIELDS, "segment"))
    plain = {n: document.strings(f) for n, f in fields.items() if n != "segment"}
    for name, allowed in (("kind", KINDS), ("severity", SEVERITIES)):
        here = fields.get(name)
        for text in plain.get(name, ()) if here is not None else ():
            if "*" not in text and text not in allowed:
                document.problem(fields[name], f"{text!r} is not known; use {', '.join(allowed)}")
    segment: dict[str, list[str]] = {}
    if "segment" in fields:
        below = fields["segment"]
        if below.fields is None:
            document.problem(below, "expected `name: value` pairs, as in `segment: {region: eu}`")
        segment = {n: document.strings(f) for n, f in (below.fields or {}).items()}
    return Matcher(_frozen(plain), _frozen(segment))


def _frozen(found: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, tuple(texts)) for name, texts in sorted(found.items()))


def _grouping(document: Document, node: Node | None, traits: Traits) -> Grouping | None:
    default = Grouping()
    if node is None:
        return default if traits.groups else None
    if _none(node):
        return None
    if not traits.digests:
        document.problem(node, "this kind takes one alert a message; leave `group` out")
    fields = document.mapping(node, ("by", "wait", "interval"))
    by = document.strings(fields["by"]) if "by" in fields else default.by
    for text in by:
        if text not in GROUP_FIELDS:
            document.problem(fields["by"], f"{text!r} is not known; use {', '.join(GROUP_FIELDS)}")
    wait = _seconds(document, fields.get("wait"), default.wait_s)
    interval = _seconds(document, fields.get("interval"), default.interval_s)
    return Grouping(tuple(by), wait or 0.0, interval or 0.0)


def _storm(document: Document, node: Node | None, traits: Traits) -> Storm | None:
    default = Storm()
    if node is None:
        return default if traits.storm else None
    if _none(node):
        return None
    if not traits.digests:
        document.problem(node, "this kind takes one alert a message; leave `storm` out")
    fields = document.mapping(node, ("alerts", "within"))
    alerts = document.whole(fields["alerts"], least=1) if "alerts" in fields else None
    within = _seconds(document, fields.get("within"), default.within_s)
    return Storm(alerts or default.alerts, within or default.within_s)


def _quiet(document: Document, node: Node | None) -> Quiet | None:
    if node is None or _none(node):
        return None
    fields = document.mapping(node, ("from", "to", "timezone"))
    missing = [name for name in ("from", "to", "timezone") if name not in fields]
    if missing:
        example = "{from: '22:00', to: '07:00', timezone: Europe/Berlin}"
        document.problem(node, f"`{missing[0]}` is missing; write {example}")
        return None
    start, end = _hour(document, fields["from"]), _hour(document, fields["to"])
    zone = _zone(document, fields["timezone"])
    if start is None or end is None or zone is None:
        return None
    if start == end:
        document.problem(node, "`from` and `to` are the same; that is never or always")
        return None
    return Quiet(start, end, zone)


def _hour(document: Document, node: Node) -> time | None:
    match = _HOUR.fullmatch(node.text or "")
    if match is None:
        document.problem(node, "expected a time of day such as '22:00'")
        return None
    return time(int(match[1]), int(match[2]))


def _zone(document: Document, node: Node) -> ZoneInfo | None:
    text = document.string(node)
    try:
        return ZoneInfo(text) if text else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        document.problem(node, "no such time zone; write one such as Europe/Berlin or UTC")
        return None


def _retry(document: Document, node: Node | None, traits: Traits) -> Retry:
    default = Retry(attempts=traits.attempts, give_up_s=traits.give_up_s)
    if node is None:
        return default
    fields = document.mapping(node, ("attempts", "for"))
    attempts = document.whole(fields["attempts"], least=1) if "attempts" in fields else None
    give_up_s = _seconds(document, fields.get("for"), None)
    return Retry(attempts or default.attempts, give_up_s or default.give_up_s)
