"""Alerts for people: two lines each that fit the terminal, and bars where a distribution moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

    from driftline.alerts import Alert, Histogram

STYLES = {"critical": "bold red", "warning": "yellow", "info": "blue"}
BLOCKS = " ▁▂▃▄▅▆▇█"
INDENT = "  "


def show_alerts(
    found: Iterable[Alert], out: Console, opened: Mapping[tuple[str, str], Alert] | None = None
) -> None:
    """Prints alerts: when and what, what they say, and how the values moved.

    Args:
        found: the latest state of each incident.
        out: where to.
        opened: by fingerprint and start, how incidents looked when they opened: what one that is
            over is then told by, since its last state says only that all is well again.
    """
    from rich.padding import Padding
    from rich.text import Text

    for alert in found:
        shown = alert
        if alert.status != "firing" and opened is not None:
            shown = opened.get((alert.fingerprint, alert.started_at), alert)
        for line in _head(alert, out.width):
            out.print(line)
        out.print(Padding(Text(shown.summary, "dim"), (0, 0, 0, len(INDENT))))
        if shown.evidence.histogram is not None and shown.status == "firing":
            for row in bars(shown.evidence.histogram):
                out.print(Text(f"{INDENT}{row}"), no_wrap=True, overflow="ellipsis")


def _head(alert: Alert, width: int) -> list[Text]:
    """Severity, status, since when, of what; on one line if it fits, else on two."""
    from rich.text import Text

    status = alert.status if alert.status == "firing" else alert.reason
    line = Text(f"{alert.severity:<8}", STYLES[alert.severity])
    line.append(f"  {status:<9}  {_minute(alert.started_at)}", "default")
    if alert.ended_at is not None:
        line.append(f" to {_minute(alert.ended_at)}", "default")
    line.append(f"  {alert.kind}", "bold default")
    segment = ", ".join(f"{k}={v}" for k, v in sorted((alert.segment or {}).items()))
    what = "  ".join(
        part for part in (f"{alert.model}@{alert.version}", alert.signal, segment) if part
    )
    if len(line) + len(what) + 2 <= width:
        return [line.append(f"  {what}", "default")]
    return [line, Text(f"{INDENT}{what}")]


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def bars(histogram: Histogram) -> list[str]:
    """The reference and the present as rows of blocks, one per bin, on the same scale.

    A bin with anything in it shows at least the lowest block.
    """
    rows = {"reference": histogram.reference, "now": histogram.current}
    shares = {name: _shares(counts) for name, counts in rows.items()}
    most = max((share for row in shares.values() for share in row), default=0.0)
    if most <= 0:
        return []
    ends = f"  {histogram.edges[0]:.4g} to {histogram.edges[-1]:.4g}" if histogram.edges else ""
    return [
        f"{name:<9} |{''.join(_block(share / most) for share in row)}|{ends}"
        for name, row in shares.items()
    ]


def _shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts)
    return [count / whole if whole > 0 else 0.0 for count in counts]


def _block(height: float) -> str:
    """One of nine heights, the empty one for 0 alone."""
    top = len(BLOCKS) - 1
    return BLOCKS[0] if height <= 0 else BLOCKS[max(1, round(height * top))]
