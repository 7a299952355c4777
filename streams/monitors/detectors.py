"""`drift: {detectors: [...]}` of a monitor file: which detectors, on which signals, set how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from detectors.api import Setting
from detectors.configured.feeds import FEATURE
from detectors.registry import DETECTORS
from detectors.spec import DetectorSpec
from streams.monitors.document import Document, Node, required, suggestion
from streams.monitors.words import DETECTOR_NAMES, FEATURE_PATTERN, KEYS, SIGNALS

Value = str | bool | int | float

OF_NUMBERS = [name for name, kind in DETECTORS.items() if kind.takes != "errors"]
"""Detectors that may run on any signal."""


@dataclass(slots=True)
class Listed:
    """`names`: of those that run on every signal and may open alerts; `configured`: the others."""

    names: list[str] = field(default_factory=list)
    configured: list[DetectorSpec] = field(default_factory=list)


def read(document: Document, node: Node) -> Listed:
    """The entries of the list, or of one that stands alone."""
    listed = Listed()
    used: set[tuple[str, str]] = set()
    for item in node.items if node.items is not None else [node]:
        if item.fields is None:
            _by_name(document, item, listed)
        elif (found := _by_keys(document, item)) is not None:
            for signal in found.on:
                if (found.name, signal) in used:
                    text = f"{found.name} stands on {signal} twice; remove one"
                    document.problem(item, text)
                used.add((found.name, signal))
            listed.configured.append(found)
    return listed


def _by_name(document: Document, node: Node, listed: Listed) -> None:
    name = document.choice(node, DETECTORS)
    if name is None:
        return
    if name not in DETECTOR_NAMES:
        document.problem(node, f"{name!r} needs to know what it watches; write {form(name)}")
    elif name in listed.names:
        document.problem(node, f"{name!r} stands here twice; remove one")
    else:
        listed.names.append(name)


def form(name: str) -> str:
    """How a detector is written."""
    on = "error" if DETECTORS[name].takes == "errors" else f'"{FEATURE}*"'
    return f"{{name: {name}, on: {on}, opens: true}}"


def _by_keys(document: Document, node: Node) -> DetectorSpec | None:
    """One detector; None if something is missing or wrong."""
    before = len(document.problems)
    fields = document.mapping(node, KEYS["drift.detectors"])
    if not required(document, node, "name", "on"):
        return None
    name = document.choice(fields["name"], DETECTORS)
    if name is None:
        return None
    on = _signals(document, fields["on"], name)
    opens = "opens" in fields and _flag(document, fields["opens"]) is True
    params = _params(document, fields["params"], name) if "params" in fields else {}
    if len(document.problems) > before:
        return None
    try:
        DETECTORS[name](**params)
    except ValueError as error:
        document.problem(fields.get("params", node), f"{error}; choose others")
        return None
    return DetectorSpec(name=name, on=on, opens=opens, params=params)


def _signals(document: Document, node: Node, name: str) -> tuple[str, ...]:
    found = document.strings(node)
    places = node.items if node.items is not None else [node]
    for place, signal in zip(places, found, strict=False):
        if signal not in SIGNALS and re.match(FEATURE_PATTERN, signal) is None:
            advice = suggestion(signal, (*SIGNALS, f"{FEATURE}NAME", f"{FEATURE}*"))
            document.problem(place, f"{signal!r} is no signal; {advice}")
        elif signal != "error" and DETECTORS[name].takes == "errors":
            advice = f"write `on: error`, or for {signal} one of {', '.join(OF_NUMBERS)}"
            document.problem(place, f"{name} counts errors (0 right, 1 wrong); {advice}")
    return tuple(found)


def _params(document: Document, node: Node, name: str) -> dict[str, Value]:
    settings = DETECTORS[name].settings
    params: dict[str, Value] = {}
    for key, child in document.mapping(node, settings).items():
        value = _value(document, child, settings[key])
        if value is not None:
            params[key] = value
    return params


def _value(document: Document, node: Node, setting: Setting) -> Value | None:
    if isinstance(setting.default, bool):
        return _flag(document, node)
    if isinstance(setting.default, str):
        return document.choice(node, setting.words)
    value = document.number(node, least=setting.least, most=setting.most)
    if value is None:
        return None
    if setting.inside and value in (setting.least, setting.most):
        document.problem(node, f"{node.text} is out of range; write one like {setting.default}")
    if isinstance(setting.default, float):
        return value
    if not value.is_integer():
        document.problem(node, "expected a whole number")
    return int(value)


def _flag(document: Document, node: Node) -> bool | None:
    if node.quoted or node.text not in {"true", "false"}:
        document.problem(node, "expected true or false, without quotes")
        return None
    return node.text == "true"


def agree(document: Document, node: Node, values: Mapping[str, object]) -> None:
    """Whether there is what the detectors are on, as far as the file tells; else problems.

    Args:
        document: the file.
        node: its `drift`.
        values: what its other keys say.
    """
    listed = (node.fields or {}).get("detectors")
    for item in [] if listed is None else listed.items or [listed]:
        on = (item.fields or {}).get("on")
        for place in [] if on is None else on.items or [on]:
            _there(document, place, values)


def _there(document: Document, node: Node, values: Mapping[str, object]) -> None:
    signal, features = node.text or "", values.get("features")
    if signal == "residual" and values.get("task") in {"binary", "multiclass"}:
        text = f"classes have no residual (task {values['task']}); write `on: error`"
        document.problem(node, text)
    if not signal.startswith(FEATURE) or not isinstance(features, tuple):
        return
    name = signal.removeprefix(FEATURE)
    if name not in ("*", *features):
        text = f"{name!r} is not among `features`; {suggestion(name, features)}"
        document.problem(node, text)
