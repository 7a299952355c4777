"""Columnar batches of predictions, labels and outcomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.codec import decode
from driftline.events import Decoded, LabelEvent, PredictionColumns
from driftline.rules import MAX_ROWS, Reason

TS = 1_793_500_000_000
GOOD: dict[str, Any] = {
    "prediction_id": ["a", "b", "c"],
    "ts": [TS, TS + 1, TS + 2],
    "features": {"amount": [1, 2.5, None], "country": ["DE", None, "FR"], "vip": [True, 1, "x"]},
    "prediction": ["legit", "fraud", "legit"],
    "scores": {"fraud": [0.1, 0.9, None]},
    "segments": {"region": ["eu", None, "us"]},
    "attributions": {"amount": [0.5, None, -1]},
    "latency_ms": [1, 2.5, None],
    "trace_id": ["t", None, "u"],
}


def columns(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (GOOD | changes).items() if v is not ...}


def read(given: Any = None, /, *, beside: dict[str, Any] | None = None, **changes: Any) -> Decoded:
    batch = columns(**changes) if given is None else given
    message = {"model": "m", "version": "v", "columns": batch} | (beside or {})
    return decode(json.dumps({k: v for k, v in message.items() if v is not ...}).encode())


def batch_of(decoded: Decoded) -> PredictionColumns:
    (only,) = decoded.columns
    return only


def reasons(decoded: Decoded) -> list[tuple[int | None, str]]:
    return [(reject.index, reject.reason) for reject in decoded.rejects]


def test_a_columnar_batch_is_read_column_by_column():
    decoded = read()
    assert decoded.rejects == []
    assert batch_of(decoded) == PredictionColumns(
        model="m",
        version="v",
        n=3,
        prediction_id=["a", "b", "c"],
        ts=[TS, TS + 1, TS + 2],
        features={
            "amount": [1.0, 2.5, None],
            "country": ["DE", None, "FR"],
            "vip": [True, 1.0, "x"],
        },
        prediction=["legit", "fraud", "legit"],
        scores={"fraud": [0.1, 0.9, None]},
        segments={"region": ["eu", None, "us"]},
        attributions={"amount": [0.5, None, -1.0]},
        latency_ms=[1.0, 2.5, None],
        trace_id=["t", None, "u"],
        arrival=None,
        index=[0, 1, 2],
    )


def test_id_and_prediction_are_all_it_takes():
    batch = batch_of(read({"prediction_id": ["a"], "prediction": [1]}))
    assert (batch.n, batch.ts, batch.features, batch.scores) == (1, [None], {}, None)
    assert (batch.prediction, batch.index) == ([1], [0])


def test_null_columns_are_absent():
    nothing = dict.fromkeys(
        ("ts", "features", "scores", "segments", "attributions", "latency_ms", "label", "source")
    )
    bare = {"prediction_id": ["a"], "prediction": [1]}
    assert read(bare | nothing) == read(bare)


def test_the_positive_class_may_have_the_only_score():
    assert batch_of(read(scores=[0.1, 0.2, None])).scores == [0.1, 0.2, None]
    assert batch_of(read(scores={})).scores is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prediction", ["legit"]),
        ("ts", [TS] * 4),
        ("features", {"amount": [1, 2, 3], "country": ["DE"]}),
        ("features", {"amount": []}),
        ("scores", {"fraud": [0.1]}),
        ("scores", [0.1]),
        ("segments", {"region": ["eu"] * 4}),
        ("label", ["x"]),
        ("trace_id", []),
        ("prediction_id", ["a"]),
        ("prediction_id", []),
    ],
)
def test_unequal_columns_reject_the_batch(field, value):
    decoded = read(**{field: value})
    assert reasons(decoded) == [(None, Reason.UNEQUAL_COLUMNS)]
    assert decoded.columns == decoded.labels == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prediction_id": "a"}, Reason.WRONG_TYPE),
        ({"prediction": "legit"}, Reason.WRONG_TYPE),
        ({"features": [1, 2, 3]}, Reason.WRONG_TYPE),
        ({"features": {"amount": 5}}, Reason.WRONG_TYPE),
        ({"features": [{"amount": 5}] * 3}, Reason.WRONG_TYPE),
        ({"segments": ["eu"] * 3}, Reason.WRONG_TYPE),
        ({"scores": 0.5}, Reason.WRONG_TYPE),
        ({"prediction_id": ...}, Reason.MISSING_FIELD),
        ({"prediction": ...}, Reason.MISSING_FIELD),
        ({"prediction": None}, Reason.MISSING_FIELD),
    ],
)
def test_a_batch_of_another_shape_is_rejected_as_a_whole(changes, reason):
    decoded = read(**changes)
    assert reasons(decoded) == [(None, reason)]
    assert decoded.columns == []


@pytest.mark.parametrize("whole", [[], "x", 3, True, [{"a": 1}]])
def test_columns_must_be_an_object(whole):
    assert reasons(read(whole)) == [(None, Reason.WRONG_TYPE)]


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"version": ...}, Reason.MISSING_FIELD),
        ({"model": None}, Reason.MISSING_FIELD),
        ({"version": 1.1}, Reason.BAD_VERSION),
        ({"model": "_x"}, Reason.RESERVED_NAME),
        ({"ts": 5}, Reason.BAD_TS),
    ],
)
def test_model_and_version_stand_beside_the_columns(beside, reason):
    assert reasons(read(beside=beside)) == [(None, reason)]


BAD_CELLS = [
    ("prediction_id", 7, Reason.BAD_ID),
    ("prediction_id", "", Reason.BAD_ID),
    ("prediction_id", None, Reason.MISSING_FIELD),
    ("prediction", None, Reason.MISSING_FIELD),
    ("prediction", ["a"], Reason.BAD_PREDICTION),
    ("ts", 1_793_500_000, Reason.BAD_TS),
    ("ts", "2026-11-01T10:30:00", Reason.BAD_TS),
    ("ts", "1969-12-31T23:59:59Z", Reason.BAD_TS),
    ("ts", True, Reason.BAD_TS),
    ("latency_ms", "7", Reason.WRONG_TYPE),
    ("trace_id", 7, Reason.WRONG_TYPE),
]


@pytest.mark.parametrize(("field", "value", "reason"), BAD_CELLS)
def test_a_bad_value_costs_its_row_only(field, value, reason):
    decoded = read(**{field: [GOOD[field][0], value, GOOD[field][2]]})
    assert reasons(decoded) == [(1, reason)]
    batch = batch_of(decoded)
    assert batch.prediction_id == ["a", "c"]
    assert batch.index == [0, 2]
    assert batch.n == 2
    assert batch.features == {"amount": [1.0, None], "country": ["DE", "FR"], "vip": [True, "x"]}
    assert batch.scores == {"fraud": [0.1, None]}
    assert batch.ts == [TS, TS + 2]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("scores", {"fraud": [0.1, 1.5, None]}, Reason.BAD_SCORES),
        ("scores", [0.1, "x", None], Reason.BAD_SCORES),
        ("scores", [{"fraud": 1}, 0.5, 0.5], Reason.BAD_SCORES),
        ("segments", {"region": ["eu", 7, None]}, Reason.WRONG_TYPE),
        ("attributions", {"amount": [True, 7, None]}, Reason.WRONG_TYPE),
    ],
)
def test_a_bad_value_inside_an_object_of_columns_costs_its_row_only(field, value, reason):
    decoded = read(**{field: value})
    ((_, found),) = reasons(decoded)
    assert found == reason
    assert batch_of(decoded).n == 2


def test_a_row_with_two_faults_is_one_dead_letter():
    decoded = read(prediction_id=["a", 7, "c"], ts=[TS, 5, TS], scores={"fraud": [0, 2, 1]})
    assert reasons(decoded) == [(1, Reason.BAD_ID)]


def test_unsupported_features_cost_no_row_and_are_found_by_position():
    decoded = read(
        prediction_id=["a", None, "c"],  # so that position and place in the batch differ
        features={"odd": ["x" * 300, 1, [1, 2]], "fine": [1, 2, 3]},
    )
    batch = batch_of(decoded)
    assert batch.features == {"odd": [None, None], "fine": [1.0, 3.0]}
    assert batch.unsupported == {"odd": {0: 300, 1: -1}}
    assert batch.index == [0, 2]


def test_of_more_than_500_feature_columns_the_first_500_by_name_are_kept():
    names = [f"f{i:04d}" for i in range(503)]
    decoded = read(features={name: [1, 2, 3] for name in reversed(names)})
    assert sorted(batch_of(decoded).features) == names[:500]
    assert decoded.dropped_features == 9


def test_times_may_be_texts_in_part_and_fall_back_on_the_shared_one():
    mixed = [TS, "2026-11-01T10:30:00Z", None]
    assert batch_of(read(ts=mixed)).ts == [TS, 1_793_529_000_000, None]
    assert batch_of(read(ts=mixed, beside={"ts": TS + 9})).ts == [TS, 1_793_529_000_000, TS + 9]
    assert batch_of(read(ts=..., beside={"ts": TS + 9})).ts == [TS + 9] * 3


def test_more_than_20_000_rows_are_too_many():
    def message(n: int) -> bytes:
        rows = {"prediction_id": ["a"] * n, "prediction": [1] * n}
        return json.dumps({"model": "m", "version": "v", "columns": rows}).encode()

    assert batch_of(decode(message(MAX_ROWS))).n == MAX_ROWS
    assert reasons(decode(message(MAX_ROWS + 1))) == [(None, Reason.TOO_MANY_ROWS)]


@pytest.mark.parametrize("extra", [{}, {"colour": 1}])
def test_an_empty_batch_is_nothing(extra):
    decoded = read({"prediction_id": [], "prediction": []} | extra)
    assert decoded.rejects == decoded.columns == []


def test_a_batch_of_bad_rows_only_leaves_no_empty_columns():
    decoded = read({"prediction_id": [1, 2], "prediction": ["x", "y"]})
    assert decoded.columns == []
    assert [reject.index for reject in decoded.rejects] == [0, 1]


def test_unknown_columns_are_kept_out_and_counted_whatever_their_length():
    decoded = read(weight=[1], colour="red")
    assert decoded.unknown_fields == 2
    assert batch_of(decoded) == batch_of(read())


def test_the_clients_counts_stand_beside_the_columns():
    decoded = read(beside={"invalid": {"amount": 1}, "client_dropped": 3})
    assert (decoded.invalid, decoded.client_dropped, decoded.unknown_fields) == (
        {"amount": 1},
        3,
        0,
    )


def test_exported_arrivals_are_kept_and_others_are_unknown():
    at = [TS + 5, TS + 6, TS + 7]
    assert batch_of(read(arrival=at)).arrival == at
    assert batch_of(read(arrival=at, colour=1)).arrival == at
    decoded = read(arrival=["soon"] * 3)
    assert batch_of(decoded).arrival is None
    assert decoded.unknown_fields == 1


def test_long_texts_are_shortened_in_columns_as_in_rows():
    batch = batch_of(read(prediction=["x" * 300, "b", "c"], segments={"s": ["y" * 300, "b", "c"]}))
    assert len(batch.prediction[0]) == len(batch.segments["s"][0]) == 256


def test_label_columns_become_labels():
    decoded = read(
        {"prediction_id": ["a", "b"], "label": ["x", 1], "ts": [TS, None], "source": ["s", None]},
        beside={"version": ...},
    )
    assert decoded.labels == [LabelEvent("a", "m", "x", TS, "s"), LabelEvent("b", "m", 1)]
    assert decoded.label_index == [0, 1]
    assert decoded.columns == []


def test_label_columns_need_no_model():
    decoded = read(
        {"prediction_id": ["a"], "label": [True]},
        beside={"model": ..., "version": ..., "source": "review", "ts": TS},
    )
    assert decoded.labels == [LabelEvent("a", None, True, TS, "review")]


@pytest.mark.parametrize(
    ("value", "reason"), [(None, Reason.MISSING_FIELD), (["x"], Reason.BAD_LABEL)]
)
def test_a_bad_label_costs_its_row_only(value, reason):
    decoded = read({"prediction_id": ["a", "b", "c"], "label": ["x", value, "z"]})
    assert reasons(decoded) == [(1, reason)]
    assert [event.prediction_id for event in decoded.labels] == ["a", "c"]
    assert decoded.label_index == [0, 2]


def test_outcome_columns_are_predictions_and_labels_under_one_index():
    decoded = read(label=["legit", None, "fraud"])
    assert decoded.rejects == []
    assert batch_of(decoded).index == [0, 1, 2]
    assert [(e.prediction_id, e.label, e.ts) for e in decoded.labels] == [
        ("a", "legit", TS),
        ("c", "fraud", TS + 2),
    ]
    assert decoded.label_index == [0, 2]


def test_in_outcome_columns_a_row_without_prediction_is_a_label():
    decoded = read(prediction=["legit", None, None], label=["legit", "fraud", None])
    assert batch_of(decoded).index == [0]
    assert decoded.label_index == [0, 1]
    assert reasons(decoded) == [(2, Reason.MISSING_FIELD)]


def test_a_half_bad_outcome_row_gives_neither_prediction_nor_label():
    decoded = read(label=["legit", ["x"], "fraud"])
    assert reasons(decoded) == [(1, Reason.BAD_LABEL)]
    assert batch_of(decoded).index == decoded.label_index == [0, 2]
    other = read(label=["legit", "x", "fraud"], scores={"fraud": [0, 2, 0]})
    assert reasons(other) == [(1, Reason.BAD_SCORES)]
    assert batch_of(other).index == other.label_index == [0, 2]
