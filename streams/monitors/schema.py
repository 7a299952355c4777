"""The JSON Schema of a monitor file, for editors: completion, hints and red lines while typing.

It is draft-07, which editors' YAML services know best. It is never stricter than `driftline check`,
which knows more: files that must exist, spellings of two classes, durations that are too short.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, TypeAlias

from detectors.api import Setting
from detectors.registry import DETECTORS
from driftline.rules import NAME_PATTERN, RESERVED_PREFIX
from streams.monitors.words import (
    BASELINES,
    DAYS,
    DETECTOR_NAMES,
    DO,
    FAIRNESS_METRICS,
    FEATURE_PATTERN,
    HELD,
    HELD_PATTERN,
    KEYS,
    KINDS,
    METRIC_PARAMS,
    METRICS,
    MODES,
    PER_HOURS,
    SEVERITIES,
    SIGNALS,
    TASKS,
)

Schema: TypeAlias = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
NAME = "monitor"
"""What `driftline schema` calls it."""

_RANGE = ("minimum", "maximum")
_TEXT: Schema = {"type": ["string", "number", "boolean"]}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_DURATION: Schema = {
    "type": "string",
    "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d|w)$",
    "examples": ["15m", "24h", "7d"],
}


def monitor_schema() -> Schema:
    """The schema; what it says is made of the words that the checker takes."""
    root = _mapping(
        "",
        {
            "model": {
                "anyOf": [
                    {"type": "string", "pattern": f"^(?!{RESERVED_PREFIX}){NAME_PATTERN}$"},
                    {"type": ["number", "boolean"]},
                ],
                "description": "The model, as its prediction events name it.",
            },
            "task": _words(TASKS, "What it predicts; absent: decided in warm-up, then kept."),
            "positive": _TEXT | {"description": "The class that is looked for, such as fraud."},
            "classes": {
                "type": "object",
                "additionalProperties": _texts(),
                "description": "CLASS: other spellings of it in predictions and labels.",
            },
            "labels": _labels(),
            "windows": _mapping(
                "windows",
                {
                    "size": _DURATION | {"default": "1h"},
                    "lateness": _DURATION | {"default": "10m"},
                },
                "Event-time windows, and how long after its end one takes rows.",
            ),
            "features": _texts() | {"description": "`auto`, or the names of those to watch."},
            "segments": _texts() | {"description": "Names of segments or categorical features."},
            "fairness": _list(_fairness()),
            "metrics": _list(_metric()) | {"uniqueItems": True},
            "thresholds": _list(_threshold()),
            "drift": _drift(),
            "reference": {
                "type": "string",
                "anyOf": [
                    {"pattern": r"^warmup +0*[1-9]\d{2,}$"},
                    {"not": {"pattern": "^warmup( |$)"}},
                ],
                "description": "`warmup 5000` (rows), or a profile of `driftline reference build`.",
                "default": "warmup 5000",
            },
            "alerts": _alerts(),
            "remediation": _list(_remediation()),
        },
        required=("model",),
    )
    return {
        "$schema": DRAFT,
        "$id": "urn:driftline:schema:monitor:1",
        "title": "Driftline monitor",
        "description": "How one model is watched. `driftline check FILE` says more than an editor.",
        **root,
    }


def _mapping(
    at: str, properties: dict[str, Schema], text: str = "", *, required: tuple[str, ...] = ()
) -> Schema:
    """A mapping whose keys are those the checker knows there."""
    assert set(properties) == set(KEYS[at]), at
    schema: Schema = {
        "type": "object",
        "properties": {key: properties[key] for key in KEYS[at]},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    return schema | ({"description": text} if text else {})


def _words(words: tuple[str, ...], text: str = "") -> Schema:
    return {"enum": list(words)} | ({"description": text} if text else {})


def _texts(item: Schema = _TEXT) -> Schema:
    """A list of texts, or one of them alone."""
    return {"anyOf": [{"type": "array", "items": item, "uniqueItems": True}, item]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _labels() -> Schema:
    horizon = _DURATION | {
        "default": "24h",
        "description": "How long a prediction waits for its label.",
    }
    sample = {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 1,
        "description": "Share of predictions, by their id, whose labels are taken.",
    }
    return {
        "anyOf": [
            {"const": "none"},
            _mapping("labels", {"horizon": horizon, "sample": sample}),
        ]
    }


def _alerts() -> Schema:
    cool_down = _DURATION | {
        "description": "After its end an incident that is told again goes on; absent: one window.",
    }
    notify = _texts() | {"description": "Destinations that hear of this model; absent: all."}
    return _mapping("alerts", {"notify": notify, "cool_down": cool_down})


def _fairness() -> Schema:
    metrics = _texts(_words(FAIRNESS_METRICS))
    return _mapping(
        "fairness",
        {"group": _TEXT, "metrics": metrics, "tolerance": {"type": "number", "minimum": 0}},
        "Not in force yet.",
        required=("group",),
    )


def _metric() -> Schema:
    """A name, or a mapping with the numbers that the metric needs."""
    plain = [name for name in METRICS if name not in METRIC_PARAMS]
    kinds: dict[str, Schema] = {
        "beta": {"type": "number", "exclusiveMinimum": 0},
        "quantile": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "k": _COUNT,
    }
    cost: Schema = {"type": "number", "minimum": 0}
    forms: list[Schema] = [{"enum": plain}, _form({"name": {"enum": plain}})]
    for name, params in METRIC_PARAMS.items():
        values = {param: kinds.get(param, cost) for param in params}
        forms.append(_form({"name": {"const": name}, **values}))
    return {"anyOf": forms}


def _form(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _threshold() -> Schema:
    rules: Schema = {
        "oneOf": [{"required": ["above"]}, {"required": ["below"]}],
        "if": {"required": ["relative"]},
        "then": {"properties": {key: {"minimum": 0} for key in ("above", "below", "clear")}},
    }
    return rules | _mapping(
        "thresholds",
        {
            "name": _TEXT | {"not": {"const": "drift"}, "description": "The rule of its alerts."},
            "metric": {"anyOf": [_words(HELD), {"type": "string", "pattern": HELD_PATTERN}]},
            "above": _NUMBER | {"description": "Violated by values over this."},
            "below": _NUMBER | {"description": "Violated by values under this."},
            "relative": _words(
                BASELINES,
                "Limits are shares of this: above 0.1 is 10 % more, below 0.1 is 10 % less.",
            ),
            "for": {
                "type": "string",
                "pattern": "^0*[1-9][0-9]* windows?$",
                "default": "1 window",
                "description": "Windows in a row that must violate it.",
            },
            "clear": _NUMBER | {"description": "The level that ends the alert; absent: the limit."},
            "min_samples": _COUNT
            | {"default": 100, "description": "Outcomes that a window needs."},
            "severity": _words(SEVERITIES) | {"default": "warning"},
        },
        required=("metric",),
    )


def _drift() -> Schema:
    amount = rf"^(?=.*[1-9].* per )\d+(\.\d+)? per ({'|'.join(DAYS)})$"
    detectors = _texts({"anyOf": [_words(DETECTOR_NAMES), *map(_detector, DETECTORS)]})
    return _mapping(
        "drift",
        {
            "false_alarms": {
                "type": "string",
                "pattern": amount,
                "default": "1 per week",
                "description": "What one model version may cost, over all its signals.",
            },
            "detectors": detectors | {"description": "Further ones; adwin alone: on all signals."},
        },
    )


def _detector(name: str) -> Schema:
    """A detector, the signals it may be on, and its settings."""
    kind = DETECTORS[name]
    signal: Schema = {"const": "error"}
    if kind.takes != "errors":
        signal = {"anyOf": [_words(SIGNALS), {"type": "string", "pattern": FEATURE_PATTERN}]}
    params = {key: _setting(setting) for key, setting in kind.settings.items()}
    return _mapping(
        "drift.detectors",
        {
            "name": {"const": name},
            "on": _texts(signal),
            "opens": {
                "type": "boolean",
                "default": False,
                "description": "Whether it may open alerts, beside being counted and shown.",
            },
            "params": {"type": "object", "properties": params, "additionalProperties": False},
        },
        required=("name", "on"),
    )


def _setting(setting: Setting) -> Schema:
    default: Schema = {"default": setting.default}
    if isinstance(setting.default, bool):
        return {"type": "boolean"} | default
    if isinstance(setting.default, str):
        return _words(setting.words) | default
    kind = "number" if isinstance(setting.default, float) else "integer"
    lower, upper = ("exclusiveMinimum", "exclusiveMaximum") if setting.inside else _RANGE
    schema: Schema = {"type": kind, lower: setting.least}
    if isfinite(setting.most):
        schema[upper] = setting.most
    return schema | default


def _remediation() -> Schema:
    on = _mapping(
        "remediation.on",
        {
            "kind": _texts(_words(KINDS)),
            "severity": _texts(_words(SEVERITIES)) | {"default": "critical"},
            "signal": _texts() | {"description": "Signals, with * for anything."},
        },
        "Alerts that ask for it, when they open or become worse.",
    )
    limit = {
        "type": "string",
        "pattern": f"^[1-9][0-9]* per ({'|'.join(PER_HOURS)})$",
        "default": "1 per day",
        "description": "Actions of this policy, over all versions.",
    }
    return _mapping(
        "remediation",
        {
            "on": on,
            "do": _words(DO, "Published on driftline.actions; webhook and hook are also run."),
            "mode": _words(MODES) | {"default": "dry-run"},
            "name": _TEXT | {"description": "Its identity; absent: made of what and when."},
            "limit": limit,
            "cool_down": _DURATION | {"default": "6h", "description": "Between two on a version."},
            "at_once": _COUNT | {"default": 1, "description": "Versions acted upon at a time."},
            "max_traffic": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "default": 1,
                "description": "Share of the traffic above which `auto` needs approval.",
            },
            "approve_within": _DURATION | {"default": "24h"},
            "verify_within": _DURATION | {"default": "2h", "description": "Did it help by then?"},
            "to": _TEXT | {"default": "previous", "description": "Version that a rollback is to."},
            "with": {"type": "object", "additionalProperties": _TEXT},
        },
        required=("on", "do"),
    )
