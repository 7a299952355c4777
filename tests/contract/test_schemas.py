"""The published JSON Schemas say what the codec does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from driftline.codec import decode
from driftline.schema import schemas

V1 = Path(__file__).parent / "v1"
SCHEMAS = schemas()
SAMPLES = {"outcome": "prediction"}  # a sample whose schema has another name


def errors(name: str, event: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMAS[name]).iter_errors(event)]


def sample(name: str) -> Any:
    return json.loads((V1 / f"{name}.json").read_bytes())


def test_the_schemas_are_schemas_and_their_names_are_pinned():
    assert sorted(SCHEMAS) == [
        "alert",
        "command",
        "label",
        "label_columns",
        "labels",
        "prediction",
        "prediction_columns",
        "predictions",
        "window",
    ]
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(V1.iterdir()), ids=lambda path: path.stem)
def test_every_frozen_sample_is_valid(path):
    assert errors(SAMPLES.get(path.stem, path.stem), sample(path.stem)) == []


BAD_PREDICTIONS = [
    {"prediction_id": ""},
    {"prediction_id": "x" * 129},
    {"prediction_id": 7},
    {"prediction_id": None},
    {"model": "a b"},
    {"model": "_x"},
    {"version": 1.1},
    {"version": "x" * 65},
    {"ts": 1_793_500_000},
    {"ts": 1_793_500_000_123_456},
    {"ts": "2026-11-01T10:30:00"},
    {"ts": True},
    {"features": [1]},
    {"prediction": None},
    {"prediction": ["a"]},
    {"prediction": {"a": 1}},
    {"scores": 1.5},
    {"scores": [0.5]},
    {"scores": {"a": -1}},
    {"scores": {"a": "x"}},
    {"segments": {"a": 1}},
    {"attributions": {"a": "x"}},
    {"latency_ms": "7"},
    {"trace_id": 7},
    {"label": ["a"]},
]
GOOD_PREDICTIONS = [
    {},
    {"ts": None},
    {"ts": "2026-11-01T10:30:00.123Z"},
    {"ts": 1_793_500_000_123.0},
    {"features": {"a": [1, 2], "b": {"c": 1}, "d": "x" * 300, "e": None}},
    {"prediction": ""},
    {"prediction": False},
    {"prediction": 1.5},
    {"scores": 0},
    {"scores": {}},
    {"scores": {"a": None}},
    {"segments": None},
    {"segments": {"a": None}},
    {"attributions": {"a": None}},
    {"label": None},
    {"label": "fraud"},
    {"colour": "red", "weight": 2},
    {"arrival": "2h"},
]


@pytest.mark.parametrize("changes", BAD_PREDICTIONS)
def test_schema_and_codec_reject_the_same_predictions(changes):
    event = sample("prediction") | changes
    assert errors("prediction", event)
    assert decode(json.dumps(event).encode()).rejects
    batch = {"predictions": [event]}
    assert errors("predictions", batch)
    assert decode(json.dumps(batch).encode()).rejects


@pytest.mark.parametrize("changes", GOOD_PREDICTIONS)
def test_schema_and_codec_take_the_same_predictions(changes):
    event = sample("prediction") | changes
    assert errors("prediction", event) == []
    assert decode(json.dumps(event).encode()).rejects == []
    batch = {"predictions": [event]}
    assert errors("predictions", batch) == []
    assert decode(json.dumps(batch).encode()).rejects == []


@pytest.mark.parametrize("field", ["prediction_id", "model", "version", "prediction"])
def test_required_fields_of_predictions_are_required_by_both(field):
    event = sample("prediction")
    del event[field]
    assert errors("prediction", event)
    assert decode(json.dumps(event).encode()).rejects


def test_model_and_version_may_stand_beside_the_rows_but_must_stand_somewhere():
    batch = sample("predictions")
    assert errors("predictions", batch) == []
    for field in ("model", "version"):
        lacking = {k: v for k, v in batch.items() if k != field}
        assert errors("predictions", lacking)
        assert decode(json.dumps(lacking).encode()).rejects


@pytest.mark.parametrize(
    "changes",
    [
        {"label": None},
        {"label": [1]},
        {"prediction_id": 5},
        {"model": 7},
        {"ts": 5},
        {"source": 5},
    ],
)
def test_schema_and_codec_reject_the_same_labels(changes):
    event = sample("label") | changes
    assert errors("label", event)
    assert errors("labels", {"labels": [event]})
    assert decode(json.dumps(event).encode()).rejects
    assert decode(json.dumps({"labels": [event]}).encode()).rejects


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction_id": ["c-1", 5]},
        {"ts": [1_793_500_000, None]},
        {"prediction": ["a", None]},
        {"prediction": "a"},
        {"scores": {"fraud": [2, 0]}},
        {"features": {"amount": 5}},
        {"segments": {"region": [1, None]}},
    ],
)
def test_schema_and_codec_reject_the_same_columns(changes):
    batch = sample("prediction_columns")
    batch["columns"] |= changes
    assert errors("prediction_columns", batch)
    assert decode(json.dumps(batch).encode()).rejects


def test_columns_need_model_and_version_and_label_columns_do_not():
    for field in ("model", "version", "columns"):
        batch = sample("prediction_columns")
        del batch[field]
        assert errors("prediction_columns", batch)
    assert errors("label_columns", sample("label_columns") | {"model": "m"}) == []
    assert errors("label_columns", {"columns": {"prediction_id": ["a"]}})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("alert", {"status": "open"}),
        ("alert", {"kind": "gremlins"}),
        ("alert", {"severity": None}),
        ("alert", {"statistic": {}}),
        ("window", {"metrics": {"accuracy": "high"}}),
        ("command", {"command": "reboot"}),
    ],
)
def test_what_driftline_would_never_say_is_invalid(name, changes):
    assert errors(name, sample(name) | changes)
