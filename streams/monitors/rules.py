"""The parts of a monitor file that decide what alarms: metrics, thresholds, drift."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from detectors.baseline import Baseline
from detectors.reference.profile import ReferenceProfile
from detectors.spec import MetricSpec, MonitorSpec, Threshold
from detectors.thresholds import WEEK_MS, Known
from streams.monitors import detectors as monitor_detectors
from streams.monitors.document import Document, Node, required, suggestion
from streams.monitors.words import (
    BASELINES,
    DAYS,
    HELD,
    HELD_PATTERN,
    KEYS,
    METRIC_PARAMS,
    METRICS,
    MISSING_RATE,
    SEVERITIES,
)

DRIFT_RULE = "drift"
"""The rule of alerts that no threshold opened; no threshold may be named so."""

_RATE = re.compile(rf"(\d+(?:\.\d+)?) per ({'|'.join(DAYS)})")


def metrics(document: Document, node: Node) -> tuple[MetricSpec, ...]:
    """`metrics:`, a list of names and of mappings with a name and its parameters."""
    found: dict[tuple[str, str], MetricSpec] = {}
    for item in document.entries(node):
        metric = _metric(document, item)
        if metric is None:
            continue
        key = metric.name, str(sorted(metric.params.items()))
        if key in found:
            document.problem(item, f"{metric.name!r} stands here twice; remove one")
        found[key] = metric
    return tuple(found.values())


def _metric(document: Document, node: Node) -> MetricSpec | None:
    """One metric; None if it is wrong."""
    if node.fields is None:
        name = document.choice(node, METRICS)
        if name is not None and name in METRIC_PARAMS:
            document.problem(node, f"{name!r} needs its numbers; write {_form(name)}")
            return None
        return None if name is None else MetricSpec(name=name)
    if not required(document, node, "name"):
        return None
    name = document.choice(node.fields["name"], METRICS)
    if name is None:
        return None
    names = METRIC_PARAMS.get(name, ())
    params: dict[str, float] = {}
    for key, child in node.fields.items():
        if key in names:
            value = _parameter(document, child, name)
            if value is not None:
                params[key] = value
        elif key != "name":
            advice = suggestion(key, names) if names else "it takes no numbers; write only its name"
            document.problem(child, f"unknown key for {name!r}; {advice}")
    missing = [key for key in names if key not in node.fields]
    if missing:
        document.problem(node, f"`{missing[0]}` is missing; write {_form(name)}")
    return MetricSpec(name=name, params=params)


def _parameter(document: Document, node: Node, name: str) -> float | None:
    if name == "top_k":
        return document.whole(node, least=1)
    value = document.number(node, least=0)
    if value is not None and (name == "f_beta" and value == 0):
        document.problem(node, "0 is out of range; write more than 0, such as 2")
    if value is not None and name == "quantile_loss" and not 0 < value < 1:
        document.problem(node, f"{node.text} is no quantile; write one between 0 and 1, as 0.9")
    return value


def _form(name: str) -> str:
    """How a metric with parameters is written."""
    example = {"cost": "fn: 500, fp: 5", "f_beta": "beta: 2", "quantile_loss": "quantile: 0.9"}
    return f"{{name: {name}, {example.get(name, 'k: 3')}}}"


def thresholds(document: Document, node: Node) -> tuple[Threshold, ...]:
    """`thresholds:`, a list of limits; each has a rule of its own."""
    found: dict[str, Threshold] = {}
    for item in document.entries(node):
        threshold = _threshold(document, item)
        if threshold is None:
            continue
        if threshold.rule in found:
            advice = "a second limit of a metric needs a `name` of its own"
            document.problem(item, f"two thresholds are called {threshold.rule!r}; {advice}")
        found[threshold.rule] = threshold
    return tuple(found.values())


def _threshold(document: Document, node: Node) -> Threshold | None:
    """One limit; None if something is missing."""
    fields = document.mapping(node, KEYS["thresholds"])
    if not required(document, node, "metric"):
        return None
    if ("above" in fields) == ("below" in fields):
        document.problem(node, "give exactly one of `above` and `below`")
        return None
    readers: Mapping[str, tuple[str, Callable[[Node], object]]] = {
        "metric": ("metric", lambda at: _held(document, at)),
        "above": ("above", document.number),
        "below": ("below", document.number),
        "clear": ("clear", document.number),
        "min_samples": ("min_samples", lambda at: document.whole(at, least=1)),
        "for": ("for_windows", lambda at: _windows(document, at)),
        "relative": ("relative", lambda at: document.choice(at, BASELINES)),
        "severity": ("severity", lambda at: document.choice(at, SEVERITIES)),
        "name": ("name", lambda at: _name(document, at)),
    }
    values: dict[str, Any] = {  # Any: each field has a type of its own
        readers[key][0]: readers[key][1](at) for key, at in fields.items()
    }
    if any(value is None for value in values.values()):
        return None  # each is a problem of its own
    threshold = Threshold(**values)
    _levels(document, fields, threshold)
    return threshold


def agree(
    document: Document, node: Node, values: Mapping[str, Any], profile: ReferenceProfile | None
) -> list[tuple[Node, str]]:
    """Whether thresholds can ever be judged, as the rest of the file has it; else problems.

    Args:
        document: the file.
        node: its `thresholds`.
        values: what its other keys say, as fields of a MonitorSpec.
        profile: the reference it names.

    Returns: places with what to know of them, which is not wrong.
    """
    window_ms = values.get("window_ms", MonitorSpec(model="").window_ms)
    metrics = {metric.name for metric in values.get("metrics") or ()}
    notes = []
    for item in node.items or []:
        fields = item.fields or {}
        metric = fields["metric"].text or "" if "metric" in fields else ""
        relative = fields["relative"].text if "relative" in fields else None
        if relative == "last_week" and WEEK_MS % window_ms:
            text = "windows of this size do not begin again after a week; choose 1h, 1d or the like"
            document.problem(fields["relative"], text)
        if metric in METRIC_PARAMS and metric not in metrics:
            advice = f"write it there with its numbers, as {_form(metric)}"
            notes.append((item, f"{metric} is computed only if `metrics` names it; {advice}"))
        if relative == "reference" and profile is not None:
            known = Known(profile, Baseline(0).at(0, profile))
            if known.of(metric) is None:
                warmup = values.get("warmup", MonitorSpec(model="").warmup)
                reason = f"the reference has no labels; the first {warmup:,} will tell"
                if profile.metrics or metric.startswith(MISSING_RATE):
                    reason = known.why_not(metric)
                notes.append((item, f"{metric}: {reason}"))
    return notes


def _held(document: Document, node: Node) -> str | None:
    """What a threshold is about: a metric, or the missing rate of a feature."""
    if node.text is not None and re.match(HELD_PATTERN, node.text):
        return node.text
    return document.choice(node, (*HELD, f"{MISSING_RATE}FEATURE"))


def _levels(document: Document, fields: Mapping[str, Node], threshold: Threshold) -> None:
    """`clear` stands on the good side of the limit; shares of a baseline are not negative."""
    t = threshold
    if t.relative is not None:
        for key in ("above", "below", "clear"):
            if key in fields:
                document.number(fields[key], least=0)
    if t.clear is None:
        return
    at = fields["clear"]
    most = t.above if t.relative is None else t.above or t.below
    if most is not None and t.clear > most:
        limit = "above" if t.above is not None else "below"
        document.problem(at, f"{t.clear:g} is beyond `{limit}`; write at most {most:g}")
    elif most is None and t.below is not None and t.clear < t.below:
        document.problem(at, f"{t.clear:g} is beyond `below`; write at least {t.below:g}")


def _name(document: Document, node: Node) -> str | None:
    name = document.string(node)
    if name == DRIFT_RULE:
        document.problem(node, "`drift` is the rule of drift alerts; choose another name")
    return name


def _windows(document: Document, node: Node) -> int | None:
    text = document.string(node) or ""
    count, _, unit = text.partition(" ")
    if unit in {"window", "windows"} and count.isdecimal() and int(count) >= 1:
        return int(count)
    document.problem(node, f"{text!r}: write a number of windows, as `2 windows`")
    return None


def drift(document: Document, node: Node) -> dict[str, Any]:
    """`drift:` as fields of a MonitorSpec."""
    fields = document.mapping(node, KEYS["drift"])
    values: dict[str, Any] = {}
    if "false_alarms" in fields:
        per_week = _per_week(document, fields["false_alarms"])
        if per_week is not None:
            values["false_alarms"] = per_week
    if "detectors" in fields:
        listed = monitor_detectors.read(document, fields["detectors"])
        values["detectors"] = tuple(listed.names)
        values["configured"] = tuple(listed.configured)
    return values


def _per_week(document: Document, node: Node) -> float | None:
    """False alarms a week; None if it is not written as `N per week`."""
    text = document.string(node) or ""
    match = _RATE.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        advice = f"write how many per {', '.join(list(DAYS)[:-1])} or year, as `1 per week`"
        document.problem(node, f"{text!r}: {advice}")
        return None
    return float(match[1]) * 7 / DAYS[match[2]]
