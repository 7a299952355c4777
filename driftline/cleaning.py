"""Cleaning: columns as serving code gave them become what contract.md sections 2 and 3 ask.

A value that is no feature spoils that feature only; what makes a row unusable drops that row, with
the reason the worker would have given. A column of plain values costs a look at its types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, TypeAlias

from driftline import rules
from driftline.blocks import Block
from driftline.errors import ContractError
from driftline.rules import Reason
from driftline.values import READY, UNSUPPORTED, Plain, epoch_ms, plain, wire_safe

Bad: TypeAlias = dict[int, tuple[str, str]]
"""Why the row at a position cannot be sent: the reason, and a detail for the log."""

_CLASSES = frozenset({str, bool})
_INTEGERS = frozenset({int})
_FLOATS = frozenset({float})
_NEVER_NAN = frozenset({str, bool, int, type(None)})


def clean_predictions(block: Block) -> tuple[Block, Bad]:
    """The rows that can be sent, and why the others cannot. The block is used up."""
    bad = _check_names(block, versioned=True)
    if bad:
        return block.take([]), bad
    raw, invalid = block.columns, dict[str, int]()
    columns = {
        "prediction_id": _ids(raw["prediction_id"], bad),
        "ts": _times(raw["ts"], bad),
        "features": {
            str(name): _feature(str(name), values, invalid)
            for name, values in raw["features"].items()
        },
        "prediction": _classes(raw["prediction"], bad, Reason.BAD_PREDICTION),
        "scores": _scores(raw["scores"], bad),
        "segments": _filled(raw["segments"], _texts),
        "attributions": _filled(raw["attributions"], _numbers),
        "latency_ms": _numbers(raw["latency_ms"]),
        "trace_id": _texts(raw["trace_id"]),
    }
    for name in ("scores", "segments", "attributions", "latency_ms", "trace_id"):
        if _is_empty(columns[name]):
            del columns[name]
    return _without(bad, Block(block.model, block.version, block.n, columns, invalid))


def clean_labels(block: Block) -> tuple[Block, Bad]:
    """The rows that can be sent, and why the others cannot. The block is used up."""
    bad = _check_names(block, versioned=False)
    if bad:
        return block.take([]), bad
    raw = block.columns
    columns = {
        "prediction_id": _ids(raw["prediction_id"], bad),
        "ts": _times(raw["ts"], bad),
        "label": _classes(raw["label"], bad, Reason.BAD_LABEL),
        "source": _texts(raw["source"]),
    }
    if _is_empty(columns["source"]):
        del columns["source"]
    return _without(bad, Block(block.model, None, block.n, columns))


def made_safe(block: Block) -> tuple[Block, Bad]:
    """The block with what JSON or UTF-8 cannot carry replaced; rows whose id has such are bad."""
    bad: Bad = {}
    for at, text in enumerate(block.columns["prediction_id"]):
        if wire_safe(text) != text:
            bad[at] = Reason.BAD_ID, "prediction_id is not Unicode text"
    invalid = {str(wire_safe(name)): count for name, count in block.invalid.items()}
    columns = block.map(_safe_values)
    for name, column in columns.items():
        if isinstance(column, dict):
            columns[name] = {wire_safe(key): values for key, values in column.items()}
    if "features" in columns:  # integers beyond float64 are infinite by now
        columns["features"] = {
            name: _feature(name, values, invalid) for name, values in columns["features"].items()
        }
    safe = Block(block.model, block.version, block.n, columns, invalid)
    return _without(bad, safe)


def _safe_values(values: list[Any]) -> list[Any]:
    return [wire_safe(value) for value in values]


def _without(bad: Bad, block: Block) -> tuple[Block, Bad]:
    if bad:
        block = block.take([at for at in range(block.n) if at not in bad])
    return block, bad


def _check_names(block: Block, *, versioned: bool) -> Bad:
    """Model and version; one fault here is that of every row."""
    try:
        if versioned or block.model is not None:
            block.model = str(rules.name(block.model, "model"))
        if versioned:
            block.version = str(rules.name(block.version, "version"))
    except ContractError as error:
        return dict.fromkeys(range(block.n), (error.reason, error.detail))
    return {}


def _ids(values: list[Any], bad: Bad) -> list[Any]:
    for at, value in enumerate(values):
        try:
            rules.prediction_id(value)
        except ContractError as error:
            bad[at] = error.reason, error.detail
    return values


def _times(values: list[Any], bad: Bad) -> list[Any]:
    low, high = rules.MIN_TS_MS, rules.MAX_TS_MS
    out: list[Any] = []
    for at, value in enumerate(values):
        if type(value) is int and low <= value <= high:
            out.append(value)
            continue
        try:
            out.append(epoch_ms(value))
        except ContractError as error:
            bad[at] = error.reason, error.detail
            out.append(None)
    return out


def _classes(values: list[Any], bad: Bad, reason: Reason) -> list[Any]:
    """Predictions or labels: text, boolean or finite number."""
    kinds = set(map(type, values))
    if kinds <= _CLASSES or (kinds == _FLOATS and isfinite(sum(values))):
        return values
    if kinds == _INTEGERS and min(values) >= -(2**63) and max(values) < 2**63:
        return values
    out = [_narrow(plain(value)) for value in values]
    for at, value in enumerate(out):
        if value is None or value is UNSUPPORTED or (type(value) is float and not isfinite(value)):
            shown = f"{rules.clip(values[at])} ({type(values[at]).__name__})"
            bad[at] = reason, f"{shown} is neither text, boolean nor a finite number"
    return out


def _narrow(value: Plain) -> Plain:
    """An integer beyond 64 bits as a float, perhaps infinite; everything else as it is."""
    return wire_safe(value) if type(value) is int else value


def _feature(name: str, values: list[Any], invalid: dict[str, int]) -> list[Any]:
    kinds = set(map(type, values))
    if kinds <= _NEVER_NAN or (kinds == _FLOATS and isfinite(sum(values))):
        return values
    out = values if kinds <= READY else [plain(value) for value in values]
    nulled = [None if type(value) is float and not isfinite(value) else value for value in out]
    lost = nulled.count(None) - out.count(None)
    if lost:
        invalid[name] = invalid.get(name, 0) + lost
    return nulled


def _scores(raw: Any, bad: Bad) -> Any:
    """Probabilities: one list, or one per class."""
    if not isinstance(raw, dict):
        return [_score(value, at, bad) for at, value in enumerate(raw)]
    columns = {
        _class_name(name): [_score(value, at, bad) for at, value in enumerate(values)]
        for name, values in raw.items()
    }
    return {name: values for name, values in columns.items() if not _is_empty(values)}


def _class_name(name: Any) -> str:
    """A class as predictions name it: NumPy's True is `true`, 1.0 is `1`."""
    value = plain(name)
    if isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value)):
        return rules.class_text(value)
    return str(name)


def _score(value: Any, at: int, bad: Bad) -> float | None:
    if type(value) is not float:
        value = plain(value)
    if value is None or (type(value) is float and 0.0 <= value <= 1.0):
        return value
    slack = rules.SCORE_SLACK
    if isinstance(value, int | float) and not isinstance(value, bool):
        if -slack <= value <= 1 + slack:
            return min(max(float(value), 0.0), 1.0)
        if type(value) is float and not isfinite(value):
            return None
    bad[at] = Reason.BAD_SCORES, f"score {rules.clip(value)} is no probability in [0, 1]"
    return None


def _filled(columns: dict[Any, list[Any]], clean: Callable[[list[Any]], list[Any]]) -> Any:
    """The cleaned columns that have any value."""
    cleaned = {str(name): clean(values) for name, values in columns.items()}
    return {name: values for name, values in cleaned.items() if not _is_empty(values)}


def _is_empty(column: Any) -> bool:
    return not column or (isinstance(column, list) and column.count(None) == len(column))


def _texts(values: Iterable[Any]) -> list[Any]:
    return [value if type(value) is str else _text(value) for value in values]


def _text(value: Any) -> str | None:
    """A segment's value, where numbers and booleans read like classes."""
    value = plain(value)
    if value is None or value is UNSUPPORTED or (type(value) is float and not isfinite(value)):
        return None
    return rules.class_text(value)


def _numbers(values: Iterable[Any]) -> list[Any]:
    return [
        value if type(value) is float and isfinite(value) else _number(value) for value in values
    ]


def _number(value: Any) -> float | None:
    value = _narrow(plain(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isfinite(value) else None
