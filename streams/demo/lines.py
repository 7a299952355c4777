"""The words of the story: alerts, months and spans of time as text. Pure functions."""

from __future__ import annotations

from rich.markup import escape

from driftline.alerts import Alert
from driftline.rules import iso_ms, rfc3339

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

INDENT = " " * 18
"""As wide as a time and two blanks."""

_STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_METRICS = {"accuracy": "accuracy", "mae": "mean absolute error"}
"""What a month's line shows, the first that a subject has, and how people call it."""


def minute(ts: int) -> str:
    """`2011-09-12 15:30`, UTC."""
    return rfc3339(ts)[:16].replace("T", " ")


def day(ts: int) -> str:
    """`2011-09-12`, UTC."""
    return rfc3339(ts)[:10]


def at(text: str) -> int:
    """Ms since the epoch of an alert's time. Raises ValueError: it is none."""
    ts = iso_ms(text)
    if ts is None:
        raise ValueError(f"not a time: {text!r}")
    return ts


def span(ms: int) -> str:
    """A length of time for people: minutes under two hours, hours under two days, then days."""
    if ms < 2 * HOUR_MS:
        return f"{ms // MINUTE_MS} min"
    if ms < 2 * DAY_MS:
        return f"{ms // HOUR_MS} h"
    return f"{ms // DAY_MS} days"


def subject(alert: Alert) -> str:
    """`model@version`."""
    return f"{alert.model}@{alert.version}"


def alert_lines(alert: Alert) -> list[str]:
    """An alert as lines of markup: what, where, since when, how sure."""
    if alert.status == "resolved":
        head = f"[bold green]RESOLVED ({alert.reason}): {escape(_what(alert))}[/]"
    else:
        style = _STYLES[alert.severity]
        head = f"[{style}]ALERT ({alert.severity}): {escape(_what(alert))}[/]"
    rest = (alert.summary, _when(alert), sureness(alert))
    return [head, *(escape(line) for line in rest if line)]


def _what(alert: Alert) -> str:
    return f"{alert.kind} of {subject(alert)}, {alert.signal}"


def _when(alert: Alert) -> str:
    started = at(alert.started_at)
    if alert.status == "firing":
        return f"since {minute(started)}, known {span(at(alert.detected_at) - started)} later"
    if alert.ended_at is None:
        return f"it began {minute(started)}"
    ended = at(alert.ended_at)
    return f"from {minute(started)} to {minute(ended)}: {span(ended - started)}"


def sureness(alert: Alert) -> str:
    """The detector's numbers, those that it gave: value, reference, threshold, effect, sample."""
    statistic, numbers = alert.statistic, []
    if statistic.value is not None:
        numbers.append(f"{statistic.name} {statistic.value:.3g}")
    if statistic.baseline is not None:
        numbers.append(f"reference {statistic.baseline:.3g}")
    if statistic.threshold is not None:
        numbers.append(f"threshold {statistic.threshold:.3g}")
    if statistic.effect_size is not None:
        numbers.append(f"effect size {statistic.effect_size:+.2g}")
    if statistic.interval is not None:
        low, high = statistic.interval
        numbers.append(f"95 % interval {low:.3g} to {high:.3g}")
    if statistic.sample_size is not None:
        numbers.append(f"n = {statistic.sample_size:,}")
    return f"{alert.detector.name}: " + ", ".join(numbers) if numbers else ""


def delivery_line(alert: Alert) -> str:
    """That the webhook came."""
    what = f"{alert.kind} of {subject(alert)} {alert.status}"
    return f"[dim]webhook received, signature valid: {escape(what)}[/dim]"


def month_line(subject: str, month: str, counts: tuple[int, int], metrics: dict[str, float]) -> str:
    """A month of one subject: predictions, labels, and how good it was.

    Args:
        subject: `model@version`.
        month: `2011-09`.
        counts: predictions and outcomes of the month.
        metrics: name to value over the month's outcomes.
    """
    shown = ((text, metrics[name]) for name, text in _METRICS.items() if name in metrics)
    name, value = next(shown, ("", 0.0))
    if not counts[1]:  # a subject that warms up does not score its outcomes yet
        return f"[dim]{escape(subject):<21} {month}  {counts[0]:>5,} predictions, warming up[/dim]"
    quality = f"{name} {value:.3f}" if name == "accuracy" else f"{name} {value:.1f}"
    text = (
        f"{counts[0]:>5,} predictions, {counts[1]:>5,} labels, {quality if name else 'no metric'}"
    )
    return f"[dim]{escape(subject):<21} {month}  {text}[/dim]"
