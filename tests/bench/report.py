"""From runs to figures: medians, a table for people and for the docs, and the line of JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.bench.latency import Latency
from tests.bench.measure import Run

ENGINES = {
    "limit": "limit in memory, single events",
    "limit_columns": "limit in memory, columns",
    "worker_columns": "worker, columns",
    "worker_single": "worker, single events",
    "plain_loop": "plain loop in memory",
    "quix": "Quix Streams",
    "stock_faust": "stock Faust",
}
"""Name in the JSON -> name for people; in the table's order."""
IN_MEMORY = ("limit", "limit_columns", "plain_loop")
KEYS = (
    "worker_single_events_per_cpu_s", "worker_columns_events_per_cpu_s",
    "stock_faust_events_per_cpu_s", "quix_events_per_cpu_s", "plain_loop_events_per_cpu_s",
    "limit_events_per_cpu_s", "alert_latency_p99_ms", "peak_rss_mb",
)  # fmt: skip
"""What the line of JSON has at least; null: left out, and `left_out` says why."""
QUANTILES = (50, 90, 95, 99)


@dataclass
class Results:
    """All that one benchmark found.

    Attributes:
        setting: broker, cores, load average, versions and the like.
        runs: engine -> its runs.
        latency: None: not measured.
        partitions, features: a worker on single events with so many of them.
        two: two workers on eight partitions; `shares`: events of each.
        left_out: engine -> why.
    """

    setting: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    latency: Latency | None = None
    partitions: dict[int, Run] = field(default_factory=dict)
    features: dict[int, Run] = field(default_factory=dict)
    two: list[Run] = field(default_factory=list)
    one: list[Run] = field(default_factory=list)
    shares: list[int] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def median(runs: Sequence[Run]) -> Run:
    """The run with the median events per CPU second; of an even number, the lower one.

    Raises:
        ValueError: there are none.
    """
    ordered = sorted(runs, key=lambda run: run.events_per_cpu_s)
    if not ordered:
        raise ValueError("no runs")
    return ordered[(len(ordered) - 1) // 2]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent of the values do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def two_to_one(results: Results) -> float | None:
    """Events per CPU second of two workers together, relative to one's; None: not measured."""
    if not results.two or not results.one:
        return None
    return median(results.two).events_per_cpu_s / median(results.one).events_per_cpu_s


def as_json(results: Results) -> dict[str, Any]:
    """The figures under fixed names: `KEYS` are always there."""
    out: dict[str, Any] = dict.fromkeys(KEYS)
    for name, runs in results.runs.items():
        typical = median(runs)
        out[f"{name}_events_per_cpu_s"] = round(typical.events_per_cpu_s)
        out[f"{name}_events_per_s"] = round(typical.events_per_s)
        if name not in IN_MEMORY:
            out[f"{name}_peak_rss_mb"] = round(max(run.peak_rss_mb for run in runs), 1)
        out[f"{name}_runs"] = [round(run.events_per_cpu_s) for run in runs]
    peaks = [
        run.peak_rss_mb
        for name in ("worker_single", "worker_columns")
        for run in results.runs.get(name, [])
    ]
    out["peak_rss_mb"] = round(max(peaks), 1) if peaks else None
    if results.latency is not None:
        for percent in QUANTILES:
            value = percentile(results.latency.milliseconds, percent)
            out[f"alert_latency_p{percent}_ms"] = None if value is None else round(value, 1)
        out["alerts_timed"] = len(results.latency.milliseconds)
        out["alerts_expected"] = results.latency.expected
        out["latency_load_events_per_s"] = round(results.latency.events_per_s)
    for name, swept in (("partitions", results.partitions), ("features", results.features)):
        if swept:
            out[f"events_per_cpu_s_by_{name}"] = {
                str(size): round(run.events_per_cpu_s) for size, run in swept.items()
            }
    ratio = two_to_one(results)
    if ratio is not None:
        out["two_workers_to_one"] = round(ratio, 3)
        out["two_workers_shares"] = results.shares
    if results.left_out:
        out["left_out"] = results.left_out
    return out | results.setting


def table(results: Results) -> list[list[str]]:
    """Head and rows: each engine's medians."""
    base = results.runs.get("stock_faust")
    rows = [["", "events/CPU s", "all runs", "events/s wall", "peak MB", "x Faust"]]
    for name, title in ENGINES.items():
        if name not in results.runs:
            if name in results.left_out:
                rows.append([title, "left out", "", "", "", ""])
            continue
        runs = results.runs[name]
        typical = median(runs)
        rates = [run.events_per_cpu_s for run in runs]
        ratio = typical.events_per_cpu_s / median(base).events_per_cpu_s if base else None
        rows.append([
            title,
            f"{typical.events_per_cpu_s:,.0f}",
            f"{min(rates):,.0f} - {max(rates):,.0f}" if len(rates) > 1 else "",
            f"{typical.events_per_s:,.0f}",
            # In memory the load itself is resident, too: that says nothing about the engine.
            "" if name in IN_MEMORY else f"{max(run.peak_rss_mb for run in runs):,.0f}",
            "" if ratio is None else f"{ratio:.1f}",
        ])  # fmt: skip
    return rows


def lines_below(results: Results) -> list[str]:
    """What stands under the table."""
    out = []
    if (found := results.latency) is not None:
        shown = ", ".join(
            f"p{percent} {value:,.0f} ms"
            for percent in QUANTILES
            if (value := percentile(found.milliseconds, percent)) is not None
        )
        out.append(
            f"event to alert at {found.events_per_s:,.0f} events/s: {shown or 'no alert came'}"
            f" ({len(found.milliseconds)} of {found.expected} alerts)"
        )
    for name, swept in (("partitions", results.partitions), ("features", results.features)):
        if swept:
            sizes = ", ".join(f"{n}: {run.events_per_cpu_s:,.0f}" for n, run in swept.items())
            out.append(f"worker, single events, per CPU s by {name}: {sizes}")
    ratio = two_to_one(results)
    if ratio is not None:
        shares = " and ".join(f"{share:,}" for share in results.shares)
        out.append(f"two workers to one, per CPU s: {ratio:.2f} (aim: 0.85; {shares} events)")
    out += [f"left out, {name}: {why}" for name, why in results.left_out.items()]
    return out


def text(results: Results) -> str:
    """The table for a terminal."""
    rows = table(results)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([_where(results), *lines, *lines_below(results)])


def markdown(results: Results) -> str:
    """The same, to paste into docs/performance.md."""
    head, *rows = table(results)
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    below = [f"- {line}" for line in lines_below(results)]
    return "\n".join([_where(results), "", *lines, "", *below])


def _where(results: Results) -> str:
    """Broker and machine, in one line."""
    known = results.setting
    return (
        f"{known.get('broker', 'no broker')}; {known.get('cores', '?')} cores,"
        f" load {known.get('load_average', '?')}; Python {known.get('python', '?')};"
        f" {known.get('date', '')}"
    ).rstrip("; ")


def last_line(results: Results) -> str:
    """The line of JSON."""
    return orjson.dumps(as_json(results)).decode()


def half_load(results: Results) -> float | None:
    """Half of what the worker did per second on single events; None: not measured."""
    runs = results.runs.get("worker_single")
    if not runs:
        return None
    return statistics.median(run.events_per_s for run in runs) / 2
