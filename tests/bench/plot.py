"""The figures as one PNG: rates, latencies, and cost against partitions and features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from tests.bench.measure import Run
from tests.bench.report import ENGINES, Results, median

OURS, OTHERS = "#1f5f8b", "#9aa5b1"


def draw(results: Results, path: Path) -> None:
    """Writes the plot; panels of what was not measured stay empty and say so."""
    figure, ((rates, latency), (partitions, features)) = plt.subplots(2, 2, figsize=(12, 8))
    try:
        _rates(rates, results)
        _latency(latency, results)
        _swept(partitions, results.partitions, "partitions")
        _swept(features, results.features, "numeric features")
        figure.suptitle(str(results.setting.get("broker", "")), fontsize=9)
        figure.tight_layout()
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)


def draw_memory(seen: Sequence[tuple[int, float]], mark: int, limit: float, path: Path) -> None:
    """Writes resident memory over events as a PNG.

    Args:
        seen: (events, MiB) in order.
        mark: events where the limit begins.
        limit: MiB that must not be passed from there on.
    """
    figure, axes = plt.subplots(figsize=(9, 5))
    try:
        millions = [events / 1e6 for events, _ in seen]
        axes.plot(millions, [mib for _, mib in seen], color=OURS, label="resident")
        right = max([mark / 1e6, *millions])
        axes.plot([mark / 1e6, right], [limit, limit], color=OTHERS, ls="--", label="limit")
        axes.set_xlabel("million events")
        axes.set_ylabel("MiB")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")
        axes.set_title("resident memory of the worker")
        figure.tight_layout()
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)


def _rates(axes: Axes, results: Results) -> None:
    shown = [name for name in reversed(ENGINES) if results.runs.get(name)]
    values = [median(results.runs[name]).events_per_cpu_s for name in shown]
    colours = [OURS if name.startswith(("worker", "limit")) else OTHERS for name in shown]
    bars = axes.barh([ENGINES[name] for name in shown], values, color=colours)
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
    axes.set_title("events per CPU second")
    axes.margins(x=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _latency(axes: Axes, results: Results) -> None:
    axes.set_title("event to alert at half load")
    values = sorted(results.latency.milliseconds) if results.latency else []
    if not values:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return
    axes.step(values, [100 * (at + 1) / len(values) for at in range(len(values))], color=OURS)
    axes.set_xlabel("ms")
    axes.set_ylabel("% of alerts")
    axes.set_xlim(left=0)


def _swept(axes: Axes, swept: dict[int, Run], what: str) -> None:
    axes.set_title(f"CPU microseconds an event, by {what}")
    if not swept:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return
    sizes = [str(size) for size in swept]
    costs = [1e6 / run.events_per_cpu_s if run.events else 0.0 for run in swept.values()]
    bars = axes.bar(sizes, costs, color=OURS)
    axes.bar_label(bars, [f"{cost:.1f}" for cost in costs], padding=2, fontsize=8)
