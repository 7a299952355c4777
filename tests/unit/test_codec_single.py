"""contract.md sections 2 and 3 on single events, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.codec import decode, encode
from driftline.events import Decoded, LabelEvent, PredictionEvent
from driftline.rules import Reason
from driftline.testing import make_label, make_prediction

GOOD: dict[str, Any] = {
    "prediction_id": "p-1",
    "model": "fraud",
    "version": "2026-11-01",
    "ts": 1_793_500_000_123,
    "features": {"amount": 12.5, "country": "DE", "device": None, "vip": True, "n": 3},
    "prediction": "legit",
    "scores": {"fraud": 0.02, "legit": 0.98},
    "segments": {"region": "eu"},
    "attributions": {"amount": -0.4},
    "latency_ms": 7.2,
    "trace_id": "abc",
}
UNSET = object()


def read(**changes: Any) -> Decoded:
    event = {k: v for k, v in (GOOD | changes).items() if v is not UNSET}
    return decode(json.dumps(event).encode())


def taken(**changes: Any) -> PredictionEvent:
    decoded = read(**changes)
    assert decoded.rejects == []
    assert decoded.prediction_index == [0]
    return decoded.predictions[0]


def reject(value: bytes | None = None, **changes: Any) -> tuple[Reason, str]:
    decoded = read(**changes) if value is None else decode(value)
    assert decoded.predictions == decoded.labels == decoded.columns == []
    (only,) = decoded.rejects
    assert only.index is None
    return only.reason, only.detail


def test_a_whole_prediction_is_read_field_by_field():
    event = taken()
    assert event == PredictionEvent(
        prediction_id="p-1",
        model="fraud",
        version="2026-11-01",
        ts=1_793_500_000_123,
        features={"amount": 12.5, "country": "DE", "device": None, "vip": True, "n": 3.0},
        prediction="legit",
        scores={"fraud": 0.02, "legit": 0.98},
        segments={"region": "eu"},
        attributions={"amount": -0.4},
        latency_ms=7.2,
        trace_id="abc",
    )
    assert isinstance(event.features["n"], float)
    assert event.features["vip"] is True


def test_only_id_model_version_and_prediction_are_required():
    value = b'{"prediction_id":"a","model":"m","version":"v","prediction":0}'
    (event,) = decode(value).predictions
    assert (event.ts, event.features, event.scores, event.segments) == (None, {}, None, {})
    optional = ("ts", "features", "scores", "segments", "attributions", "latency_ms", "trace_id")
    assert taken(**dict.fromkeys(optional)) == taken(**dict.fromkeys(optional, UNSET))


@pytest.mark.parametrize("field", ["prediction_id", "model", "version", "prediction"])
@pytest.mark.parametrize("value", [UNSET, None])
def test_a_missing_required_field_is_named(field, value):
    reason, detail = reject(**{field: value})
    assert reason == Reason.MISSING_FIELD
    assert field in detail


@pytest.mark.parametrize("good", ["a", "x" * 128, "🦊" * 128, "a\x00b", " ", "naïve\n"])
def test_an_id_is_any_string_of_1_to_128_characters(good):
    assert taken(prediction_id=good).prediction_id == good


@pytest.mark.parametrize("bad", ["", "x" * 129, 17, 1.5, True, ["a"], {"a": 1}, 10**400])
def test_other_ids_are_rejected(bad):
    assert reject(prediction_id=bad)[0] == Reason.BAD_ID


@pytest.mark.parametrize(
    ("field", "reason"), [("model", Reason.BAD_MODEL), ("version", Reason.BAD_VERSION)]
)
@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, 1.10, 3, True, ["v"], {"v": 1}])
def test_model_and_version_are_names_never_numbers(field, reason, bad):
    assert reject(**{field: bad})[0] == reason


@pytest.mark.parametrize("field", ["model", "version"])
def test_names_with_an_underscore_in_front_are_reserved(field):
    assert reject(**{field: "_driftline"})[0] == Reason.RESERVED_NAME
    assert taken(**{field: "a_b"})


@pytest.mark.parametrize(
    "bad",
    [
        *(1_793_500_000, 1_793_500_000_123_456, -1, 1.5, True, [1], {}),
        *("2026-11-01T10:30:00", "1969-12-31T23:59:59Z", "soon", ""),
    ],
)
def test_a_bad_time_rejects_the_event(bad):
    assert reject(ts=bad)[0] == Reason.BAD_TS


def test_a_time_may_be_rfc3339_or_an_integral_float():
    assert taken(ts="2026-11-01T10:30:00.123+02:00").ts == 1_793_521_800_123
    assert taken(ts=1_793_500_000_123.0).ts == 1_793_500_000_123


@pytest.mark.parametrize(
    ("value", "length"), [([1, 2], -1), ({"a": 1}, -1), ([], -1), ("x" * 257, 257)]
)
def test_a_feature_that_cannot_be_watched_never_costs_the_event(value, length):
    event = taken(features={"amount": 1, "odd": value, "flag": False})
    assert event.features == {"amount": 1.0, "flag": False}
    assert isinstance(event.features["amount"], float)
    assert event.unsupported == {"odd": length}


def test_a_feature_string_may_have_256_characters():
    assert taken(features={"a": "x" * 256}).unsupported == {}


def test_of_more_than_500_features_the_first_500_by_name_are_kept():
    names = [f"f{i:04d}" for i in range(512)]
    decoded = read(features=dict.fromkeys(reversed(names), 1.0))
    assert sorted(decoded.predictions[0].features) == names[:500]
    assert decoded.dropped_features == 12
    assert read(features=dict.fromkeys(names[:500], 1)).dropped_features == 0


@pytest.mark.parametrize("bad", [[1.0], "amount", 3, True])
def test_features_that_are_no_object_are_of_the_wrong_type(bad):
    assert reject(features=bad)[0] == Reason.WRONG_TYPE


@pytest.mark.parametrize("good", ["legit", "", True, False, 0, 1, -3, 1.5, -0.0, 2**63, 10**300])
def test_a_prediction_is_a_string_boolean_or_number_and_keeps_its_type(good):
    got = taken(prediction=good).prediction
    assert got == good
    assert type(got) is type(good)


def test_a_prediction_list_is_rejected_with_advice():
    reason, detail = reject(prediction=["a", "b"])
    assert reason == Reason.BAD_PREDICTION
    assert "one id per element" in detail
    assert reject(prediction={"a": 1})[0] == Reason.BAD_PREDICTION


def test_a_long_prediction_is_shortened_and_still_meets_its_label():
    long = "spam " * 1000
    decoded = read(prediction=long, label=long)
    assert len(decoded.predictions[0].prediction) == 256
    assert decoded.predictions[0].prediction == decoded.labels[0].label


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        (0.25, 0.25),
        (1, 1.0),
        ({"a": 0, "b": 1}, {"a": 0.0, "b": 1.0}),
        ({"a": None, "b": 0.5}, {"b": 0.5}),
        ({}, None),
        ({"a": None}, None),
        (1.0000001, 1.0),
        ({"a": -1e-7}, {"a": 0.0}),
        ({"x" * 255: 0.5}, {"x" * 255: 0.5}),
    ],
)
def test_scores_are_one_probability_or_one_for_each_class(given, read_as):
    assert taken(scores=given).scores == read_as


@pytest.mark.parametrize(
    "bad", [1.01, -0.1, 35, "0.5", True, [0.1, 0.9], {"a": 1.5}, {"a": "x"}, {"a": [1]}]
)
def test_scores_outside_0_to_1_are_rejected(bad):
    assert reject(scores=bad)[0] == Reason.BAD_SCORES


def test_segments_are_texts_and_null_is_absent():
    assert taken(segments={"a": "x", "b": None}).segments == {"a": "x"}
    assert len(taken(segments={"a": "x" * 300}).segments["a"]) == 256
    for bad in ({"a": 1}, ["a"], {"a": ["x"]}):
        assert reject(segments=bad)[0] == Reason.WRONG_TYPE


@pytest.mark.parametrize(
    "changes",
    [
        {"attributions": {"a": "x"}},
        {"attributions": [1]},
        {"attributions": {"a": True}},
        {"latency_ms": "7"},
        {"latency_ms": True},
        {"trace_id": 7},
    ],
)
def test_optional_fields_of_the_wrong_type_are_rejected(changes):
    assert reject(**changes)[0] == Reason.WRONG_TYPE


def test_null_attributions_are_absent_and_integers_are_numbers():
    event = taken(attributions={"a": 1, "b": None}, latency_ms=7)
    assert event.attributions == {"a": 1.0}
    assert event.latency_ms == 7.0


def test_unknown_fields_are_kept_out_and_counted_and_weight_is_reserved():
    decoded = read(colour="red", nested={"a": [1]}, weight=2.0)
    assert decoded.unknown_fields == 3
    assert decoded.predictions == [taken()]


def test_values_the_client_could_not_write_are_counted():
    decoded = read(invalid={"amount": 1, "n": 2})
    assert decoded.invalid == {"amount": 1, "n": 2}
    assert decoded.unknown_fields == 0
    assert read(client_dropped=12).client_dropped == 12


@pytest.mark.parametrize("bad", [{"amount": -1}, {"amount": "x"}, {"amount": True}, [1], 5, "x"])
def test_senseless_client_counts_cost_no_event(bad):
    for field in ("invalid", "client_dropped"):
        decoded = read(**{field: bad})
        assert decoded.predictions == [taken()]
        assert decoded.invalid == {}
        if field == "invalid" or bad != 5:
            assert (decoded.unknown_fields, decoded.client_dropped) == (1, 0)


def test_an_exported_arrival_is_read_and_anything_else_by_that_name_is_unknown():
    assert taken(arrival=1_793_500_000_500).arrival == 1_793_500_000_500
    for other in ("2h", 17, [1], True):
        decoded = read(arrival=other)
        assert decoded.predictions == [taken()]
        assert decoded.unknown_fields == 1


def test_the_last_of_two_equal_keys_counts():
    value = json.dumps(GOOD).encode()[:-1] + b', "prediction": "fraud"}'
    assert decode(value).predictions[0].prediction == "fraud"


def label(**fields: Any) -> Decoded:
    return decode(json.dumps({"prediction_id": "p-1", "label": "fraud"} | fields).encode())


def test_a_label_needs_an_id_and_a_label_only():
    assert label().labels == [LabelEvent("p-1", None, "fraud")]
    whole = label(model="fraud", ts="2026-11-01T10:30:00Z", source="review")
    assert whole.labels == [LabelEvent("p-1", "fraud", "fraud", 1_793_529_000_000, "review")]
    assert whole.label_index == [0]
    assert whole.predictions == []


@pytest.mark.parametrize("good", ["", "x", True, 0, 1.5, -0.0])
def test_a_label_is_a_string_boolean_or_number(good):
    assert label(label=good).labels[0].label == good


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"label": None}, Reason.MISSING_FIELD),
        ({"prediction_id": None}, Reason.MISSING_FIELD),
        ({"label": ["a"]}, Reason.BAD_LABEL),
        ({"label": {"a": 1}}, Reason.BAD_LABEL),
        ({"prediction_id": 5}, Reason.BAD_ID),
        ({"model": 5}, Reason.BAD_MODEL),
        ({"model": "a b"}, Reason.BAD_MODEL),
        ({"model": "_x"}, Reason.RESERVED_NAME),
        ({"ts": 1_793_500_000}, Reason.BAD_TS),
        ({"source": 5}, Reason.WRONG_TYPE),
    ],
)
def test_bad_labels_are_rejected(fields, reason):
    decoded = label(**fields)
    assert decoded.labels == []
    assert decoded.rejects[0].reason == reason


def test_a_label_goes_to_every_version_so_what_else_it_carries_is_ignored():
    expected = label(model="m").labels
    assert label(model="m", version=3, features=[1], scores="x").labels == expected


def test_an_outcome_is_exactly_its_prediction_then_its_label():
    decoded = read(label="fraud", source="review")
    assert decoded.predictions == [taken()]
    assert decoded.labels == [LabelEvent("p-1", "fraud", "fraud", 1_793_500_000_123, "review")]
    assert decoded.prediction_index == decoded.label_index == [0]


def test_a_null_label_or_prediction_is_absent():
    assert read(label=None).labels == []
    assert read(prediction=None, label="fraud").predictions == []
    assert read(prediction=None, label="fraud").labels[0].label == "fraud"


@pytest.mark.parametrize("changes", [{"version": None}, {"label": ["x"]}, {"scores": 7}])
def test_a_half_good_outcome_is_rejected_as_a_whole(changes):
    reject(**({"label": "fraud"} | changes))


@pytest.mark.parametrize(
    "event",
    [
        make_prediction(3),
        make_prediction(4, ts=None, scores=0.5, prediction=1.5, latency_ms=3.0, trace_id="t"),
        make_prediction(5, prediction="", features={}, segments={}),
        make_prediction(6, prediction=False, attributions={"amount": 0.5}),
    ],
)
def test_an_encoded_prediction_reads_back(event):
    assert decode(encode(event)).predictions == [event]


@pytest.mark.parametrize(
    "event", [make_label(3), make_label(4, model=None, ts=None, source=None, label=0)]
)
def test_an_encoded_label_reads_back(event):
    assert decode(encode(event)).labels == [event]
    assert b"null" not in encode(event)
