"""Batches of rows: `{"predictions": [...]}` and `{"labels": [...]}`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.codec import decode, encode
from driftline.events import Decoded, LabelEvent
from driftline.rules import MAX_ROWS, Reason
from driftline.testing import make_prediction


def read(**message: Any) -> Decoded:
    return decode(json.dumps(message).encode())


def row(number: int = 0, **fields: Any) -> dict[str, Any]:
    event = json.loads(encode(make_prediction(number)))
    return {k: v for k, v in (event | fields).items() if v is not None}


def reasons(decoded: Decoded) -> list[tuple[int | None, str]]:
    return [(reject.index, reject.reason) for reject in decoded.rejects]


def test_a_batch_of_rows_holds_its_events_in_order():
    decoded = read(predictions=[row(i) for i in range(5)])
    assert decoded.predictions == [make_prediction(i) for i in range(5)]
    assert decoded.prediction_index == [0, 1, 2, 3, 4]
    assert decoded.rejects == []


def test_model_version_and_ts_may_stand_once_beside_the_list():
    bare = [row(i, model=None, version=None, ts=None) for i in range(2)]
    decoded = read(model="m", version="v", ts="2026-11-01T10:30:00Z", predictions=bare)
    assert {(e.model, e.version, e.ts) for e in decoded.predictions} == {
        ("m", "v", 1_793_529_000_000)
    }


def test_what_a_row_says_itself_counts_before_what_stands_beside():
    rows = [row(0), row(1, model=None), row(2, ts=None)]
    decoded = read(model="m", version="v", ts=1_793_400_000_000, predictions=rows)
    first, second, third = decoded.predictions
    assert first == make_prediction(0)
    assert (second.model, second.version) == ("m", "2026-11-01")
    assert third.ts == 1_793_400_000_000


BAD_ROWS = [
    (row(1, version=1.1), Reason.BAD_VERSION),
    (row(1, prediction=None), Reason.MISSING_FIELD),
    (row(1, prediction=None, label="x"), Reason.MISSING_FIELD),
    (row(1, prediction=[1]), Reason.BAD_PREDICTION),
    (row(1, ts=1_793_500_000), Reason.BAD_TS),
    (row(1, scores={"a": 2}), Reason.BAD_SCORES),
    (row(1, model="_x"), Reason.RESERVED_NAME),
    (row(1, features=3), Reason.WRONG_TYPE),
    ({}, Reason.MISSING_FIELD),
    (None, Reason.WRONG_TYPE),
    ([], Reason.WRONG_TYPE),
    ("row", Reason.WRONG_TYPE),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS)
def test_a_bad_row_is_lost_alone(bad, reason):
    decoded = read(predictions=[row(0), bad, row(2)])
    assert decoded.predictions == [make_prediction(0), make_prediction(2)]
    assert decoded.prediction_index == [0, 2]
    assert reasons(decoded) == [(1, reason)]


def test_an_odd_feature_costs_no_row():
    decoded = read(predictions=[row(0), row(1, features={"a": [1], "b": 2})])
    assert decoded.rejects == []
    assert decoded.predictions[1].unsupported == {"a": -1}
    assert decoded.predictions[1].features == {"b": 2.0}


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"version": 1.1}, Reason.BAD_VERSION),
        ({"model": "a b"}, Reason.BAD_MODEL),
        ({"model": "_x"}, Reason.RESERVED_NAME),
        ({"ts": 1_793_500_000}, Reason.BAD_TS),
        ({"ts": "2026-11-01T10:30:00"}, Reason.BAD_TS),
        ({"ts": "1969-12-31T23:59:59Z"}, Reason.BAD_TS),
        ({"source": 3}, Reason.WRONG_TYPE),
    ],
)
def test_a_bad_value_beside_the_list_rejects_the_batch(beside, reason):
    decoded = read(predictions=[row(0)], **beside)
    assert reasons(decoded) == [(None, reason)]
    assert decoded.predictions == []


@pytest.mark.parametrize("rows", [{}, "rows", 3, True])
def test_rows_must_be_a_list(rows):
    assert reasons(read(predictions=rows)) == [(None, Reason.WRONG_TYPE)]
    assert reasons(read(labels=rows)) == [(None, Reason.WRONG_TYPE)]


def test_an_empty_batch_is_nothing():
    assert read(predictions=[]) == Decoded()
    assert read(labels=[]) == Decoded()


def test_more_than_20_000_rows_are_too_many():
    tiny = {"prediction_id": "a", "label": 1}
    assert len(read(labels=[tiny] * MAX_ROWS).labels) == MAX_ROWS
    assert reasons(read(labels=[tiny] * (MAX_ROWS + 1))) == [(None, Reason.TOO_MANY_ROWS)]
    both = read(labels=[tiny] * MAX_ROWS, predictions=[row(0)])
    assert reasons(both) == [(None, Reason.TOO_MANY_ROWS)]


def test_labels_come_as_rows_too_with_model_source_and_ts_beside():
    rows = [{"prediction_id": "a", "label": 1}, {"prediction_id": "b", "label": 2, "model": "n"}]
    decoded = read(model="m", source="review", ts=1_793_500_000_000, labels=rows)
    assert decoded.labels == [
        LabelEvent("a", "m", 1, 1_793_500_000_000, "review"),
        LabelEvent("b", "n", 2, 1_793_500_000_000, "review"),
    ]
    assert decoded.label_index == [0, 1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"prediction_id": "b"}, Reason.MISSING_FIELD),
        ({"prediction_id": "b", "label": None}, Reason.MISSING_FIELD),
        ({"prediction_id": "", "label": 1}, Reason.BAD_ID),
        ({"prediction_id": "b", "label": [1]}, Reason.BAD_LABEL),
        ({"prediction_id": "b", "label": 1, "model": 7}, Reason.BAD_MODEL),
        (row(1), Reason.MISSING_FIELD),
        (7, Reason.WRONG_TYPE),
    ],
)
def test_a_bad_label_row_is_lost_alone(bad, reason):
    good = {"prediction_id": "a", "label": "x"}
    decoded = read(labels=[good, bad, good])
    assert decoded.labels == [LabelEvent("a", None, "x")] * 2
    assert decoded.label_index == [0, 2]
    assert reasons(decoded) == [(1, reason)]


@pytest.mark.parametrize("topic_word", ["predictions", "labels"])
def test_outcomes_come_as_rows_under_either_word(topic_word):
    decoded = read(**{topic_word: [row(0, label="fraud"), row(1, label="legit")]})
    assert decoded.predictions == [make_prediction(0), make_prediction(1)]
    assert [event.label for event in decoded.labels] == ["fraud", "legit"]
    assert [event.ts for event in decoded.labels] == [event.ts for event in decoded.predictions]
    assert decoded.prediction_index == decoded.label_index == [0, 1]


def test_predictions_and_labels_may_stand_side_by_side_labels_last():
    decoded = read(
        predictions=[row(0), row(1)],
        labels=[{"prediction_id": "a", "label": 1}, {"prediction_id": 5, "label": 1}],
    )
    assert (decoded.prediction_index, decoded.label_index) == ([0, 1], [2])
    assert reasons(decoded) == [(3, Reason.BAD_ID)]


def test_unknown_fields_are_counted_in_the_batch_and_in_its_rows():
    decoded = read(predictions=[row(0, colour="red"), row(1)], shade="dark", features={"a": 1})
    assert decoded.unknown_fields == 3  # a batch has no features of its own
    assert decoded.predictions == [make_prediction(0), make_prediction(1)]


def test_the_clients_counts_are_read_from_beside_and_from_the_rows():
    decoded = read(
        predictions=[row(0, invalid={"a": 1}), row(1)], invalid={"a": 2, "b": 1}, client_dropped=7
    )
    assert decoded.invalid == {"a": 3, "b": 1}
    assert decoded.client_dropped == 7
    assert decoded.unknown_fields == 0
    same = read(
        predictions=[row(0, invalid={"a": 1}, colour=1), row(1)],
        invalid={"a": 2, "b": 1},
        client_dropped=7,
    )
    assert (same.invalid, same.client_dropped) == (decoded.invalid, 7)


def test_rows_and_columns_do_not_mix():
    decoded = read(predictions=[row(0)], columns={"prediction_id": [], "prediction": []})
    assert reasons(decoded) == [(None, Reason.WRONG_TYPE)]
    assert decoded.predictions == []


def test_an_arrival_beside_the_rows_is_theirs():
    at = 1_793_500_009_000
    decoded = read(predictions=[row(0), row(1, arrival=at + 1)], arrival=at)
    assert [event.arrival for event in decoded.predictions] == [at, at + 1]
    assert read(predictions=[row(0)], arrival="soon").unknown_fields == 1
