"""The picture of an alert: reference against current distribution, or a metric's course, as PNG.

800 x 450 pixels with type that can be read on a phone. Drawn once per alert, in one thread of its
own, because drawing takes a tenth of a second that the worker's loop must not stand still.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from driftline.alerts import Alert
from driftline.evidence import Histogram
from driftline.rules import iso_ms
from streams.notify import render
from streams.notify.api import Message

SIZE_IN, DPI = (8.0, 4.5), 100
KEPT = 200
"""Pictures kept, of the latest alerts."""
COURSES, POINTS = 5_000, 200
"""Incidents whose values are remembered, and how many of each."""
REFERENCE, CURRENT, LIMIT = "#7f8c8d", "#c0392b", "#2c3e50"
_LEAST_TOTAL = 1e-12


class Pictures:
    """Draws and keeps. One per worker."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()
        self._courses: OrderedDict[str, deque[tuple[int, float]]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="picture")

    def note(self, alert: Alert) -> None:
        """Remembers the value that an alert event reports, for the course of the metric."""
        value = alert.statistic.value
        at = iso_ms(alert.window.end if alert.window else alert.detected_at)
        if value is None or at is None:
            return
        course = self._courses.setdefault(alert.fingerprint, deque(maxlen=POINTS))
        self._courses.move_to_end(alert.fingerprint)
        if not course or course[-1][0] < at:
            course.append((at, value))
        if len(self._courses) > COURSES:
            self._courses.popitem(last=False)

    async def of(self, message: Message) -> bytes | None:
        """The PNG of the message's leading alert; None: there is nothing to draw."""
        alert = message.alert
        if alert.id in self._kept:
            return self._kept[alert.id]
        course = list(self._courses.get(alert.fingerprint, ()))
        loop = asyncio.get_running_loop()
        png = await loop.run_in_executor(self._thread, partial(draw, alert, course))
        self._kept[alert.id] = png
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return png


def draw(alert: Alert, course: list[tuple[int, float]]) -> bytes | None:
    """The PNG of an alert, from its histogram or the values (ms, value) of its metric so far.

    None where it has neither, or matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  heavy
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return None
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    histogram = alert.evidence.histogram
    if histogram is not None and _drawable(histogram):
        _bars(axes, histogram)
    elif not _line(axes, alert, course):
        return None
    title = f"{alert.model}@{alert.version}  {alert.signal}"
    axes.set_title(_plain(title, 60), fontsize=17, loc="left")
    axes.tick_params(labelsize=13)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=14, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _drawable(histogram: Histogram) -> bool:
    n = len(histogram.reference)
    return 0 < n == len(histogram.current) == len(histogram.edges) - 1


def _bars(axes: Any, histogram: Histogram) -> None:
    """Shares per bin. Bins are drawn equally wide: those at the ends may span orders more."""
    n = len(histogram.reference)
    for values, at, label, colour in (
        (histogram.reference, -0.2, "reference", REFERENCE),
        (histogram.current, 0.2, "now", CURRENT),
    ):
        total = max(sum(values), _LEAST_TOTAL)
        shares = [100.0 * value / total for value in values]
        axes.bar([i + at for i in range(n)], shares, 0.4, label=label, color=colour)
    every = max(1, n // 8)
    ticks = list(range(0, n + 1, every))
    axes.set_xticks([i - 0.5 for i in ticks], [render.number(histogram.edges[i]) for i in ticks])
    axes.set_ylabel("% of values", fontsize=14)


def _line(axes: Any, alert: Alert, course: list[tuple[int, float]]) -> bool:
    """The metric over time against its reference and threshold; False: there is no value."""
    from matplotlib.dates import ConciseDateFormatter  # noqa: PLC0415  heavy

    statistic = alert.statistic
    if not course or (statistic.baseline is None and statistic.threshold is None):
        return False
    times = [datetime.fromtimestamp(at / 1000, UTC) for at, _ in course]
    axes.plot(times, [v for _, v in course], "o-", color=CURRENT, lw=2.5, ms=8, label="now")
    if statistic.interval is not None:
        low, high = statistic.interval
        axes.plot([times[-1]] * 2, [low, high], color=CURRENT, lw=6, alpha=0.3)
    for value, label, style, colour in (
        (statistic.baseline, "reference", "-", REFERENCE),
        (statistic.threshold, "threshold", "--", LIMIT),
    ):
        if value is not None:
            axes.axhline(value, ls=style, color=colour, lw=2.5, label=label)
    axes.set_ylabel(_plain(statistic.name, 30), fontsize=14)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.xaxis.get_offset_text().set_fontsize(13)
    return True


def _plain(text: str, most: int) -> str:
    """Text that matplotlib takes as it is: `$` would begin a formula."""
    return render.neutral(text, most).replace("$", r"\$")
