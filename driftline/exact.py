"""The exact path: what is wrong with an event, and what of it can be kept.

Slower than `driftline.wire` and needed only where that path was in doubt: an array or an over-long
string among the features, an unknown field, a broken row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from driftline import rules
from driftline.errors import ContractError
from driftline.events import Decoded, FeatureValue, LabelEvent, Output, PredictionEvent
from driftline.rules import MAX_DEPTH, MAX_FEATURES, MAX_TEXT_CHARS, Reason, bounded, clip
from driftline.wire import Row, Shared

Json: TypeAlias = Any  # whatever json.decode gives: the point of this module is to find out
ROW_FIELDS = frozenset(Row.__struct_fields__)

_UNPARSED = msgspec.json.Decoder()


def parse(value: bytes) -> Json:
    """The message as plain JSON values. Raises: ContractError when it is not JSON as we read it.

    Stricter than many parsers: no NaN or Infinity, no 1e999, no lone surrogate, no byte order mark,
    at most 64 levels. Integers outside float64 pass here; `read` raises OverflowError for them.
    """
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise ContractError(Reason.NOT_UTF8, str(error)) from error
    try:
        parsed = _UNPARSED.decode(value)
    except RecursionError as error:
        raise ContractError(Reason.TOO_DEEP, _TOO_DEEP) from error
    except msgspec.MsgspecError as error:
        advice = ""
        if b"NaN" in value or b"Infinity" in value:
            advice = "; NaN and Infinity are not JSON, write null"
        raise ContractError(Reason.NOT_JSON, f"{error}{advice}") from error
    if value.count(b"[") + value.count(b"{") > MAX_DEPTH:
        _check_depth(parsed)
    return parsed


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def _check_depth(parsed: Json) -> None:
    """Raise for nesting beyond the limit, level by level so that no stack is needed."""
    level = [parsed] if isinstance(parsed, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[Json] = []
        for value in level:
            if isinstance(value, dict):
                below += [v for v in value.values() if isinstance(v, dict | list)]
            else:
                below += [v for v in value if isinstance(v, dict | list)]
        if not below:
            return
        level = below
    raise ContractError(Reason.TOO_DEEP, _TOO_DEEP)


def read(out: Decoded, row: Json, index: int, shared: Shared, need: str | None) -> None:
    """Add the row's prediction, label or both to `out`, arguments as in `wire.take`.

    Raises:
        ContractError: what is wrong with the row; nothing was added but the unknown fields counted.
        OverflowError: a number is outside float64, so this is not JSON as the contract reads it.
    """
    if not isinstance(row, dict):
        raise ContractError(Reason.WRONG_TYPE, f"an event is an object, not {kind(row)}")
    out.unknown_fields += sum(field not in ROW_FIELDS for field in row)
    prediction_id = rules.prediction_id(row.get("prediction_id"))
    if row.get(need or "prediction") is None and (need or row.get("label") is None):
        raise ContractError(Reason.MISSING_FIELD, _missing(need))
    ts = shared.ts if row.get("ts") is None else rules.ts(row["ts"])
    arrived = arrival(out, row.get("arrival"))
    arrived = shared.arrival if arrived is None else arrived
    prediction = label = None
    dropped = 0
    if row.get("prediction") is not None:
        prediction, dropped = _prediction(row, prediction_id, ts, arrived, shared)
    if row.get("label") is not None:
        label = _label(row, prediction_id, ts, arrived, shared)
    if prediction is not None:
        out.predictions.append(prediction)
        out.prediction_index.append(index)
        out.dropped_features += dropped
    if label is not None:
        out.labels.append(label)
        out.label_index.append(index)
    add_invalid(out, row.get("invalid"))


def _missing(need: str | None) -> str:
    return f"{need} is missing" if need else "an event needs a prediction, a label, or both"


def arrival(out: Decoded, value: Json) -> int | None:
    """The exported arrival; whatever else a live event calls so is an unknown field, no error."""
    if value is None:
        return None
    try:
        return rules.ts(value)
    except ContractError:
        out.unknown_fields += 1
        return None


def add_invalid(out: Decoded, counts: Json) -> None:
    """Add the client's counts of NaN and infinities; what is no count is an unknown field."""
    if counts is None:
        return
    if not isinstance(counts, dict):
        out.unknown_fields += 1
        return
    for feature, count in counts.items():
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            out.invalid[feature] = out.invalid.get(feature, 0) + count
        else:
            out.unknown_fields += 1


def _prediction(
    row: dict[str, Json], prediction_id: str, ts: int | None, arrived: int | None, shared: Shared
) -> tuple[PredictionEvent, int]:
    """The prediction, and how many of its features were over the limit."""
    model = rules.name(shared.model if row.get("model") is None else row["model"], "model")
    version = rules.name(
        shared.version if row.get("version") is None else row["version"], "version"
    )
    given = _object(row.get("features"), "features")
    names, dropped = feature_names(given)
    if dropped:
        given = {name: given[name] for name in names}
    unsupported = {k: n for k, v in given.items() if (n := unsupported_length(v)) is not None}
    features = {k: feature(v) for k, v in given.items() if k not in unsupported}
    event = PredictionEvent(
        prediction_id,
        model,
        version,
        ts,
        features,
        output(row["prediction"], "prediction"),
        scores(row.get("scores")),
        _mapped(row.get("segments"), "segments", text),
        _mapped(row.get("attributions"), "attributions", number),
        None if row.get("latency_ms") is None else number(row["latency_ms"], "latency_ms"),
        None if row.get("trace_id") is None else trace(row["trace_id"], "trace_id"),
        arrived,
        unsupported,
    )
    return event, dropped


def _label(
    row: dict[str, Json], prediction_id: str, ts: int | None, arrived: int | None, shared: Shared
) -> LabelEvent:
    model = shared.model if row.get("model") is None else rules.name(row["model"], "model")
    source = shared.source if row.get("source") is None else text(row["source"], "source")
    return LabelEvent(prediction_id, model, output(row["label"], "label"), ts, source, arrived)


def feature_names(features: Iterable[str]) -> tuple[list[str], int]:
    """The features that are kept, all or the first 500 in name order, and how many are not."""
    names = list(features)
    dropped = max(0, len(names) - MAX_FEATURES)
    return (sorted(names)[:MAX_FEATURES] if dropped else names), dropped


def unsupported_length(value: Json) -> int | None:
    """None if a feature can be watched; length of an over-long string; -1 for arrays, objects."""
    of = type(value)  # JSON values are of no subclasses, and this is the exact path's inner loop
    if of is float:
        return None
    if of is str:
        return len(value) if len(value) > MAX_TEXT_CHARS else None
    return -1 if of is dict or of is list else None


def feature(value: Json) -> FeatureValue:
    """A supported feature's value, integers as float64."""
    supported: FeatureValue = float(value) if type(value) is int else value
    return supported


def output(value: Json, field: str) -> Output:
    """A prediction's or label's value: a string, boolean or number."""
    if isinstance(value, str):
        return bounded(value)
    if isinstance(value, bool | int | float):
        float(value)  # raises for integers outside float64
        return value
    reason = Reason.BAD_PREDICTION if field == "prediction" else Reason.BAD_LABEL
    advice = "send one string, boolean or number per prediction id"
    if isinstance(value, list):
        advice += "; multi-label, ranking and embedding models: one id per element, or one score"
    raise ContractError(reason, f"{field} is {kind(value)}; {advice}")


def scores(value: Json) -> dict[str, float] | float | None:
    """Probabilities by class, or of the positive class; null entries are absent."""
    if isinstance(value, dict):
        given = {bounded(k): score(v, "scores") for k, v in value.items() if v is not None}
        return given or None
    return None if value is None else score(value, "scores")


def score(value: Json, _field: str) -> float:
    """A probability; rounding just outside [0, 1] is clipped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(
            Reason.BAD_SCORES,
            f"scores hold {kind(value)}; write an object of class to probability, or one number",
        )
    if not -rules.SCORE_SLACK <= value <= 1 + rules.SCORE_SLACK:
        raise ContractError(
            Reason.BAD_SCORES,
            f"score {clip(value)} is not in [0, 1]; send probabilities, not logits",
        )
    return min(max(float(value), 0.0), 1.0)


def text(value: Json, field: str) -> str:
    """A string that is compared: a segment, a source."""
    if isinstance(value, str):
        return bounded(value)
    raise ContractError(Reason.WRONG_TYPE, f"{field}: write {kind(value)} as a string")


def trace(value: Json, field: str) -> str:
    """A string that is only passed on."""
    if isinstance(value, str):
        return value
    raise ContractError(Reason.WRONG_TYPE, f"{field}: write {kind(value)} as a string")


def number(value: Json, field: str) -> float:
    """A finite number as float64."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ContractError(Reason.WRONG_TYPE, f"{field}: expected a number, not {kind(value)}")


def _object(value: Json, field: str) -> dict[str, Json]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise ContractError(Reason.WRONG_TYPE, f"{field} must be an object, not {kind(value)}")


def _mapped(value: Json, field: str, cell: Callable[[Json, str], Any]) -> dict[str, Any]:
    """An object's values, each checked, nulls left out."""
    entries = _object(value, field).items()
    return {bounded(k): cell(v, f"{field}.{clip(k)}") for k, v in entries if v is not None}


def kind(value: Json) -> str:
    """What JSON calls a value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
