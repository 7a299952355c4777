"""A replay per setting: what a detector's delay costs in false alarms, on one's own history.

The files are read once. A setting is set as if it stood in the monitor file, so the checker judges
it by the same rules and with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftline.alerts import Alert, WindowSummary
from driftline.errors import UsageError
from driftline.rules import iso_ms
from streams.kafka.frames import Message
from streams.monitors import document
from streams.monitors import file as monitor_file
from streams.monitors import load as monitors
from streams.monitors.document import Document, Node
from streams.monitors.load import MonitorError, Monitors, Report
from streams.offline.replay import Feed, Replay

MOST: Final = 200
"""Settings in one sweep."""
FALSE_ALARMS: Final = "drift.false_alarms"

Setting: TypeAlias = dict[str, str]
"""Key in the monitor file, such as `windows.size`, to its value as it would be written there."""


@dataclass(frozen=True, slots=True)
class Caught:
    """The first alert after a change: `rows` and `labels` of its model came between the two."""

    model: str
    version: str
    kind: str
    signal: str
    detected_at: str
    rows: int
    labels: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What one setting did.

    Attributes:
        setting: what was set.
        opened: alerts that opened.
        before: those that opened before the first change: false alarms; all, without a change.
        caught: by change, in order of time, the first alert before the next; None: missed.
    """

    setting: Setting
    opened: int
    before: int
    caught: list[Caught | None]


@dataclass(slots=True)
class _Opened:
    """A sink that keeps alerts as they opened."""

    alerts: list[Alert] = field(default_factory=list)

    def alert(self, alert: Alert) -> None:
        """Keeps what opened."""
        if alert.reason == "opened":
            self.alerts.append(alert)

    def window(self, window: WindowSummary) -> None:
        """Windows do not matter here."""


def settings(given: Iterable[str]) -> list[Setting]:
    """Every combination of `KEY=VALUE,VALUE...`, in the order given.

    Raises:
        UsageError: one is not of that form, stands twice, or there are too many in all.
    """
    values: dict[str, list[str]] = {}
    for text in given:
        key, _, listed = text.partition("=")
        found = [value.strip() for value in listed.split(",")]
        if not key or not all(found):
            raise UsageError(
                f"--sweep {text}: write KEY=VALUE,VALUE..., as {FALSE_ALARMS}=0.1,1,10"
            )
        if key in values:
            raise UsageError(f"--sweep {key} stands twice; give all its values at once")
        values[key] = [_written(key, value) for value in found]
    whole = [dict(zip(values, each, strict=True)) for each in product(*values.values())]
    if len(whole) > MOST:
        raise UsageError(f"--sweep: {len(whole)} settings are too many; at most {MOST}")
    return whole


def _written(key: str, value: str) -> str:
    """A bare number of false alarms is one per week."""
    return value if key != FALSE_ALARMS or " " in value else f"{value} per week"


def changes(given: Iterable[str]) -> list[int]:
    """Times of known changes in ms, in order; RFC 3339, a date, or a time without a zone in UTC.

    Raises:
        UsageError: one is no time.
    """
    found = []
    for text in given:
        at = next(
            (at for form in (text, f"{text}Z", f"{text}T00:00:00Z") if (at := iso_ms(form))), None
        )
        if at is None:
            raise UsageError(f"--change-at {text}: write a time, as 2026-11-01T00:00:00Z")
        found.append(at)
    return sorted(found)


def sweep(
    feed: Feed,
    config: Path | None,
    tried: Sequence[Setting],
    changed: Sequence[int],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Trial]:
    """Runs a feed once per setting.

    Args:
        feed: is kept in memory.
        config: monitor files that the settings change.
        tried: the settings.
        changed: when something really changed, in ms, in order.
        progress: called with the number of settings done.

    Raises:
        MonitorError: a setting is wrong where it would stand.
        UsageError: it would stand in a list entry that is not there.
    """
    messages = feed.keep()
    traffic = _Traffic(messages)
    configured = [monitors_with(config, traffic.models, setting) for setting in tried]
    trials = []
    for done, (setting, each) in enumerate(zip(tried, configured, strict=True), 1):
        sink = _Opened()
        Replay.over(feed, each, sink).run()
        trials.append(_judge(setting, sink.alerts, changed, traffic))
        progress(done)
    return trials


class _Traffic:
    """How many rows of each model arrived by when."""

    def __init__(self, messages: Iterable[Message]) -> None:
        parts: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        for message in messages:
            for frame in message.frames:
                model = frame.subject.partition("@")[0]
                parts.setdefault((frame.kind, model), []).append(frame.ints("arrival"))
        self._arrivals = {key: np.sort(np.concatenate(each)) for key, each in parts.items()}

    @property
    def models(self) -> list[str]:
        """Models with predictions."""
        return sorted(model for kind, model in self._arrivals if kind == "prediction")

    def between(self, kind: str, model: str, start: int, end: int) -> int:
        """Rows that arrived in [start, end]; labels that name no model count for every one."""
        names = {model, ""} if kind == "label" else {model}
        found = [a for name in names if (a := self._arrivals.get((kind, name))) is not None]
        return sum(
            int(np.searchsorted(a, end, "right") - np.searchsorted(a, start, "left")) for a in found
        )


def _judge(
    setting: Setting, opened: Sequence[Alert], changed: Sequence[int], traffic: _Traffic
) -> Trial:
    times = [(iso_ms(alert.detected_at) or 0, alert) for alert in opened]
    ends = [*changed[1:], None]
    caught = []
    for start, end in zip(changed, ends, strict=False):
        hits = [hit for hit in times if hit[0] >= start and (end is None or hit[0] < end)]
        first = min(hits, key=lambda hit: hit[0], default=None)
        caught.append(None if first is None else _caught(*first, start, traffic))
    before = sum(at < changed[0] for at, _ in times) if changed else len(times)
    return Trial(setting, len(opened), before, caught)


def _caught(at: int, alert: Alert, start: int, traffic: _Traffic) -> Caught:
    return Caught(
        model=alert.model,
        version=alert.version,
        kind=alert.kind,
        signal=alert.signal,
        detected_at=alert.detected_at,
        rows=traffic.between("prediction", alert.model, start, at),
        labels=traffic.between("label", alert.model, start, at),
    )


def monitors_with(
    config: Path | None, models: Iterable[str], setting: Mapping[str, str]
) -> Monitors:
    """The monitors of the files and of all other models, each with the setting in it.

    Raises:
        MonitorError: the setting, or a file, is wrong.
        UsageError: the setting is about a list entry that is not there.
    """
    report = Report()
    for parsed, folder in _documents(config, models):
        if parsed.root is not None:
            for key, value in setting.items():
                _set(parsed.root, key, value)
        found = monitor_file.read(parsed, folder)
        report.problems += parsed.problems
        if found is not None:
            report.files.append(found)
    if report.problems:
        raise MonitorError(report.problems)
    return monitors.monitors_of(report)


def _documents(config: Path | None, models: Iterable[str]) -> list[tuple[Document, Path]]:
    """The monitor files, and one in place of each that is not there."""
    paths = [] if config is None else monitors.files_of([config])
    parsed = [(document.parse(monitors.text_of(path), str(path)), path.parent) for path in paths]
    known = {
        each.root.fields["model"].text
        for each, _ in parsed
        if each.root is not None and each.root.fields and "model" in each.root.fields
    }
    missing = [model for model in models if model not in known]
    return parsed + [(document.parse(f"model: {name}", "--sweep"), Path()) for name in missing]


def _set(root: Node, key: str, value: str) -> None:
    """Puts a text where the key points to; mappings on the way come into being, entries do not."""
    node, path = root, ""
    steps = key.split(".")
    for at, step in enumerate(steps):
        path = f"{path}.{step}" if path else step
        last = at == len(steps) - 1
        if node.items is not None:
            if not step.isdecimal() or int(step) >= len(node.items):
                raise UsageError(f"--sweep {key}: there is no entry {path}; the first is 0")
            if last:
                node.items[int(step)] = Node(path, 1, 1, value)
            node = node.items[int(step)]
            continue
        if node.fields is None:
            node.text, node.fields = None, {}
        if last:
            node.fields[step] = Node(path, 1, 1, value)
        node = node.fields.setdefault(step, Node(path, 1, 1, fields={}))
