"""Alerts as words for people: titles, facts, plain text and HTML.

Everything in an alert may have been chosen by somebody else (feature names, categories, segment
values come from traffic), so each text passes `neutral` once: one line, no control characters, no
marks that turn the direction of writing, no mention of a chat that would call everybody.
"""

from __future__ import annotations

import html as markup
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from driftline.alerts import Alert
from streams.notify.api import SEVERITIES, Message

SHOWN = 20
"""Alerts of a digest that are listed; the rest is counted."""
MAX_TITLE = 180
MAX_VALUE = 400

_SPACES = re.compile(r"\s+")
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all|room)\b)|<(?=[@#!])", re.IGNORECASE)
_INSTEAD = {"Cc": " ", "Cf": "", "Cs": "", "Co": "", "Zl": " ", "Zp": " "}
"""Unicode categories that have no place in a line: controls, format marks (direction, zero width),
lone surrogates, private use, line and paragraph separators; and what stands there instead."""


class _Inert(dict[int, str]):
    """What each character becomes; looked up once, because alerts repeat their characters."""

    def __missing__(self, code: int) -> str:
        """The character itself, or what stands instead of its category."""
        character = chr(code)
        self[code] = _INSTEAD.get(unicodedata.category(character), character)
        return self[code]


_INERT = _Inert()


def neutral(text: str, most: int = MAX_VALUE) -> str:
    """The text in one line of at most `most` characters, free of what could act on a reader.

    `@everyone`, `<!channel>` and their like get a zero-width space behind their first character: no
    chat takes them for a call.
    """
    line = text[: 4 * most].translate(_INERT)
    line = _MENTION.sub("\\g<0>\u200b", _SPACES.sub(" ", line).strip())
    return line if len(line) <= most else line[: most - 1] + "…"


def word(alert: Alert) -> str:
    """What happened, in one word: a severity while it fires, otherwise how it ended."""
    if alert.status == "firing":
        return alert.severity.upper()
    return {"retracted": "RETRACTED", "expired": "EXPIRED"}.get(alert.reason, "RESOLVED")


def title(message: Message) -> str:
    """One line: `[CRITICAL] fraud@v1: error rose`, `[RESOLVED] ...`, `[12 alerts] ...`."""
    if message.is_digest:
        return neutral(_digest_title(message), MAX_TITLE)
    alert = message.alert
    prefix = {"repeat": "STILL ", "test": "TEST "}.get(message.cause, "")
    subject = f"{alert.model}@{alert.version}"
    return neutral(f"[{prefix}{word(alert)}] {subject}: {alert.summary}", MAX_TITLE)


def _digest_title(message: Message) -> str:
    words = Counter(word(part.alert) for part in message.parts)
    order = [*(s.upper() for s in reversed(SEVERITIES)), "RESOLVED", "RETRACTED", "EXPIRED"]
    counts = ", ".join(f"{words[w]:,} {w.lower()}" for w in order if words[w])
    subjects = Counter(f"{p.alert.model}@{p.alert.version}" for p in message.parts)
    named = ", ".join(name for name, _ in subjects.most_common(3))
    more = f" and {len(subjects) - 3:,} more" if len(subjects) > 3 else ""  # noqa: PLR2004  as named
    return f"[{len(message.parts):,} alerts] {named}{more}: {counts}"


def facts(alert: Alert) -> list[tuple[str, str]]:
    """What a person wants to know first: pairs of a label and a line."""
    found = [
        (
            "What",
            f"{alert.kind.replace('_', ' ')} of {alert.model}@{alert.version}, {alert.signal}",
        ),
        ("Where", ", ".join(f"{k}={v}" for k, v in (alert.segment or {}).items())),
        ("Since", alert.change_point or alert.started_at),
        ("Until", alert.ended_at or ""),
        ("Detected", alert.detected_at),
        ("Measured", _measured(alert)),
        ("Window", f"{alert.window.start} to {alert.window.end}" if alert.window else ""),
        (
            "Moved most",
            ", ".join(_share(c.feature, c.share) for c in alert.evidence.contributors[:3]),
        ),
        ("Perhaps", "; ".join(cause.text for cause in alert.causes[:3])),
        ("Elsewhere", "; ".join(f"{c.version}: {c.verdict}" for c in alert.counterparts[:3])),
    ]
    return [(label, neutral(value)) for label, value in found if value]


def _share(feature: str, share: float) -> str:
    return f"{feature} ({share:.0%})"


def _measured(alert: Alert) -> str:
    statistic = alert.statistic
    parts = [f"{statistic.name} {number(statistic.value)}"]
    for label, value in (("threshold", statistic.threshold), ("reference", statistic.baseline)):
        if value is not None:
            parts.append(f"{label} {number(value)}")
    if statistic.interval is not None:
        low, high = statistic.interval
        parts.append(f"95 % {number(low)} to {number(high)}")
    if statistic.sample_size is not None:
        parts.append(f"n {statistic.sample_size:,}")
    return ", ".join(parts)


def number(value: float | None) -> str:
    """Three significant digits, from a thousand on whole numbers, or `?`."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.3g}"  # noqa: PLR2004  as said


def links(alert: Alert) -> list[tuple[str, str]]:
    """Names and addresses; only http and https may be followed."""
    return [
        (neutral(name, 40), url)
        for name, url in alert.links.items()
        if url.startswith(("https://", "http://")) and neutral(url, 2000) == url
    ]


def mark(alert: Alert) -> str:
    """`driftline 19eb11cd r3`: what a person quotes to say which alert is meant."""
    return f"driftline {neutral(alert.fingerprint, 8)} r{alert.revision}"


def listed(message: Message) -> tuple[list[Alert], int]:
    """The alerts of a digest that are shown, the worst first, and how many are not."""
    alerts = sorted(
        (part.alert for part in message.parts),
        key=lambda a: (a.status != "firing", -SEVERITIES.index(a.severity), a.started_at),
    )
    return alerts[:SHOWN], max(0, len(alerts) - SHOWN)


def line(alert: Alert) -> str:
    """One alert of a digest in one line."""
    subject = f"{alert.model}@{alert.version}"
    return neutral(f"{word(alert)} {subject} {alert.signal}: {alert.summary}")


def text(message: Message) -> str:
    """The whole message as plain text."""
    if message.is_digest:
        alerts, more = listed(message)
        lines = [f"- {line(alert)} [{mark(alert)}]" for alert in alerts]
        if more:
            lines.append(f"and {more:,} more: driftline alerts")
        return "\n".join(lines)
    alert = message.alert
    width = max(len(label) for label, _ in facts(alert))
    lines = [neutral(alert.summary), ""]
    lines += [f"{label:<{width}}  {value}" for label, value in facts(alert)]
    lines += [f"{name}: {url}" for name, url in links(alert)]
    return "\n".join([*lines, "", f"[{mark(alert)}]"])


def html(message: Message, *, image: str | None = None) -> str:
    """The whole message as HTML. `image`: address of the picture, such as `cid:...`."""
    head = f"<h2 style='margin:0 0 8px'>{markup.escape(title(message))}</h2>"
    picture = f"<p><img src='{image}' alt='chart' style='max-width:100%'></p>" if image else ""
    if message.is_digest:
        alerts, more = listed(message)
        items = "".join(f"<li>{markup.escape(line(alert))}</li>" for alert in alerts)
        rest = f"<p>and {more:,} more: <code>driftline alerts</code></p>" if more else ""
        return _page(f"{head}<ul>{items}</ul>{rest}{picture}")
    alert = message.alert
    return _page(head + picture + _table(facts(alert)) + _anchors(alert))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><th align='left' valign='top'>{markup.escape(label)}</th>"
        f"<td>{markup.escape(value)}</td></tr>"
        for label, value in rows
    )
    return f"<table cellpadding='4'>{cells}</table>"


def _anchors(alert: Alert) -> str:
    anchors = " · ".join(
        f"<a href='{markup.escape(url)}'>{markup.escape(name)}</a>" for name, url in links(alert)
    )
    return f"<p>{anchors}</p><p><small>{markup.escape(mark(alert))}</small></p>"


def _page(body: str) -> str:
    return f"<html><body style='font-family:sans-serif'>{body}</body></html>"
