"""JSON Schemas (2020-12) of everything that crosses the boundary, for producers in other languages.

They say what `driftline.codec` takes without a dead letter. Three rules cannot be said in a schema
and stand in a description: all columns have one length, numbers are finite float64, and a message
has at most 1 MiB.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from driftline.alerts import Alert, Command, WindowSummary
from driftline.rules import (
    MAX_ID_CHARS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    MAX_TEXT_CHARS,
    MAX_TS_MS,
    MIN_TS_MS,
    NAME_PATTERN,
    RESERVED_PREFIX,
)

Schema: TypeAlias = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TIME_PATTERN = (
    r"^\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)

_NAME: Schema = {"type": "string", "pattern": f"^(?!{RESERVED_PREFIX}){NAME_PATTERN}$"}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS}
_MS: Schema = {
    "type": "integer",
    "minimum": MIN_TS_MS,
    "maximum": MAX_TS_MS,
    "description": "milliseconds since 1970",
}
_TEXT: Schema = {"type": "string", "description": f"compared; over {MAX_TEXT_CHARS} cut"}
_NUMBER: Schema = {"type": "number"}
_SCORE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_OUTPUT: Schema = {"type": ["string", "boolean", "number"], "description": "compared as text"}
_TIME: Schema = {"anyOf": [_MS, {"type": "string", "pattern": TIME_PATTERN}]}
_COUNTS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "integer", "minimum": 0},
    "description": "values that were NaN or infinite and became null, by feature",
}


def _optional(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _column(values: Schema) -> Schema:
    return {"type": "array", "items": values, "maxItems": MAX_ROWS}


_PREDICTION: dict[str, Schema] = {
    "prediction_id": _ID,
    "model": _NAME,
    "version": _NAME,
    "ts": _optional(_TIME),
    "features": _optional(
        {
            "type": "object",
            "description": "number, string, boolean, or null for missing; a feature that is an"
            f" array, an object or a string over {MAX_TEXT_CHARS} characters is not watched",
        }
    ),
    "prediction": _OUTPUT,
    "scores": _optional({"anyOf": [_SCORE, _map(_optional(_SCORE))]}),
    "segments": _optional(_map(_optional(_TEXT))),
    "attributions": _optional(_map(_optional(_NUMBER))),
    "latency_ms": _optional(_NUMBER),
    "trace_id": _optional({"type": "string"}),
    "label": _optional(_OUTPUT),
    "source": _optional(_TEXT),
    "arrival": {"description": "when an exported event arrived, ms; for replay"},
    "invalid": _COUNTS,
}
_LABEL: dict[str, Schema] = {
    "prediction_id": _ID,
    "model": _optional(_NAME),
    "label": _OUTPUT,
    "ts": _optional(_TIME),
    "source": _optional(_TEXT),
}
_SHARED: dict[str, Schema] = {
    "model": _optional(_NAME),
    "version": _optional(_NAME),
    "ts": _optional(_TIME),
    "source": _optional(_TEXT),
    "invalid": _COUNTS,
    "client_dropped": {"type": "integer", "minimum": 0},
}
_COLUMNS: dict[str, Schema] = {
    "prediction_id": _column(_ID),
    "ts": _optional(_column(_optional(_TIME))),
    "features": _optional(_map(_column({}))),
    "prediction": _column(_OUTPUT),
    "scores": _optional({"anyOf": [_column(_optional(_SCORE)), _map(_column(_optional(_SCORE)))]}),
    "segments": _optional(_map(_column(_optional(_TEXT)))),
    "attributions": _optional(_map(_column(_optional(_NUMBER)))),
    "latency_ms": _optional(_column(_optional(_NUMBER))),
    "trace_id": _optional(_column(_optional({"type": "string"}))),
    "label": _optional(_column(_optional(_OUTPUT))),
    "source": _optional(_column(_optional(_TEXT))),
}


def schemas() -> dict[str, Schema]:
    """Every public event's schema by name; a fresh dictionary of plain JSON values."""
    label_columns = _COLUMNS | {"label": _column(_OUTPUT)}
    found = {
        "prediction": _object(
            "One output of one version of one model; with a label, an outcome",
            _PREDICTION,
            ["prediction_id", "model", "version", "prediction"],
        ),
        "predictions": _rows("predictions", _PREDICTION, "prediction", ["model", "version"]),
        "prediction_columns": _columns(
            "A columnar batch of predictions, or of outcomes", _COLUMNS, ["prediction"]
        )
        | {"required": ["model", "version", "columns"]},
        "label": _object("The truth for one prediction id", _LABEL, ["prediction_id", "label"]),
        "labels": _rows("labels", _LABEL, "label", []),
        "label_columns": _columns("A columnar batch of labels", label_columns, ["label"]),
        "alert": _generated(Alert),
        "window": _generated(WindowSummary),
        "command": _generated(Command),
    }
    parsed: dict[str, Schema] = msgspec.json.decode(msgspec.json.encode(found))
    return parsed


def _object(description: str, properties: dict[str, Schema], required: list[str]) -> Schema:
    size = f"at most {MAX_MESSAGE_BYTES} bytes; unknown fields are kept out and counted"
    return {
        "$schema": DRAFT,
        "description": f"{description}; {size}.",
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _rows(field: str, row: dict[str, Schema], need: str, shareable: list[str]) -> Schema:
    """A batch of rows; what a row lacks of the shareable fields must stand beside the list."""
    items = {"type": "object", "properties": row, "required": ["prediction_id", need]}
    batch = _object(f"A batch of {field}", _SHARED | {field: _column(items)}, [field])
    beside_or_inside = [
        {"anyOf": [_given(name), {"properties": {field: {"items": {"required": [name]}}}}]}
        for name in shareable
    ]
    return batch | ({"allOf": beside_or_inside} if beside_or_inside else {})


def _given(name: str) -> Schema:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _columns(description: str, columns: dict[str, Schema], needs: list[str]) -> Schema:
    inner = {
        "type": "object",
        "properties": columns,
        "required": ["prediction_id", *needs],
        "description": "all columns have the same length; null where missing",
    }
    return _object(description, _SHARED | {"columns": inner}, ["columns"])


def _generated(event: type[msgspec.Struct]) -> Schema:
    return {"$schema": DRAFT, **msgspec.json.schema(event)}
