"""Properties of the codec: nothing raises, and every way of sending the same event is the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline import codec, exact, wire
from driftline.codec import decode
from driftline.errors import ContractError
from driftline.events import Decoded
from driftline.rules import Reason

TS = 1_793_500_000_000
rows = msgspec.json.Decoder(wire.Row)
FIELDS = [*wire.Message.__struct_fields__, "weight", "x"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["2026-11-01T10:30:00Z", "2026-11-01", TS, TS * 1.0, 1_793_500_000, "m", -0.0]
    )
    | st.sampled_from(["x" * 300, 2**63, 10**30, 0.5, 1, "_m", "1.10", 1.0000001])
)
huge = st.just(10**400)
anything = st.recursive(
    scalars | huge,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
outputs = st.sampled_from(["a", "", "x" * 300, True, 0, 1.5, -0.0, 2**70])
times = st.sampled_from([TS, TS + 1, "2026-11-01T10:30:00.5+02:00", None])
names = st.sampled_from(["m", "v-1", "2026-11-01"])
features = st.dictionaries(st.sampled_from(["a", "b", "c"]), scalars, max_size=3)
good = st.fixed_dictionaries(
    {
        "prediction_id": st.text(min_size=1, max_size=128),
        "model": names,
        "version": names,
        "prediction": outputs,
    },
    optional={
        "ts": times,
        "features": features,
        "scores": st.sampled_from([0.5, {"a": 0.25, "b": None}, {}, None, 1]),
        "segments": st.sampled_from([{}, {"r": "eu", "s": None}, None]),
        "attributions": st.sampled_from([{"a": 1}, {"a": -0.5, "b": None}, None]),
        "latency_ms": st.sampled_from([1, 2.5, None]),
        "trace_id": st.sampled_from(["t", None]),
        "label": st.none() | outputs,
        "source": st.sampled_from(["s", None]),
        "arrival": st.sampled_from([TS, None]),
        "invalid": st.sampled_from([{"a": 1}, {}, None]),
    },
)
odd = st.builds(
    lambda event, changes: event | changes,
    good,
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=2),
)


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def check(decoded: Decoded) -> None:
    """What must hold of whatever `decode` returned."""
    assert len(decoded.predictions) == len(decoded.prediction_index)
    assert len(decoded.labels) == len(decoded.label_index)
    for reject in decoded.rejects:
        assert reject.reason in Reason
        assert reject.detail
    for event in decoded.predictions:
        assert 1 <= len(event.prediction_id) <= 128
        assert event.ts is None or type(event.ts) is int
        assert all(type(v) in (float, str, bool, type(None)) for v in event.features.values())
    for batch in decoded.columns:
        assert batch.n == len(batch.prediction_id) == len(batch.ts) == len(batch.index) > 0
        assert all(len(column) == batch.n for column in batch.features.values())
        assert len(batch.prediction) == batch.n
        assert None not in batch.prediction
    lost = {reject.index for reject in decoded.rejects}
    assert lost.isdisjoint({*decoded.prediction_index, *decoded.label_index})
    assert lost.isdisjoint({i for batch in decoded.columns for i in batch.index})


@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 100_000)
def test_no_bytes_raise(value):
    decoded = decode(value)
    check(decoded)
    assert decoded.rejects or value.lstrip().startswith(b"{")


@given(anything | odd | st.dictionaries(st.sampled_from(FIELDS), anything, max_size=6))
def test_no_json_value_raises(value):
    check(decode(as_bytes(value)))


@given(
    st.dictionaries(
        st.sampled_from(wire.Columns.__struct_fields__),
        st.lists(scalars, min_size=2, max_size=2)
        | st.dictionaries(st.sampled_from("ab"), st.lists(scalars, min_size=2, max_size=2))
        | anything,
    )
)
def test_no_columns_raise(columns):
    check(decode(as_bytes({"model": "m", "version": "v", "columns": columns})))


@given(good)
def test_good_events_are_taken(event):
    decoded = decode(as_bytes(event))
    assert decoded.rejects == []
    assert len(decoded.predictions) == 1
    assert len(decoded.labels) == (event.get("label") is not None)
    assert decoded.unknown_fields == 0


@given(good | odd)
def test_the_fast_path_and_the_exact_path_agree(event):
    value = as_bytes(event)
    slow = codec._decode_exactly(value)
    assert decode(value) == slow
    try:
        row = rows.decode(value)
    except msgspec.ValidationError:
        return
    fast = Decoded()
    if wire.take(fast, row, 0, wire.NOTHING):
        assert msgspec.structs.replace(slow, client_dropped=0) == fast


@given(good | odd, st.booleans())
def test_an_event_alone_and_in_a_batch_are_the_same(event, labelled):
    event = {k: v for k, v in event.items() if k in exact.ROW_FIELDS or k == "weight"}
    word = "labels" if labelled and event.get("label") is not None else "predictions"
    if event.get("prediction") is None and word == "predictions":
        return
    alone, batch = decode(as_bytes(event)), decode(as_bytes({word: [event]}))
    assert [r.reason for r in alone.rejects] == [r.reason for r in batch.rejects]
    assert (alone.predictions, alone.labels) == (batch.predictions, batch.labels)
    assert alone.rejects or (alone.unknown_fields, alone.invalid) == (
        batch.unknown_fields,
        batch.invalid,
    )


cells = {
    "prediction_id": st.sampled_from(["a", "b", "", None, 7]),
    "ts": times | st.just(5),
    "prediction": outputs | st.none() | st.just([1]),
    "label": outputs | st.none() | st.just({}),
    "score": st.sampled_from([0, 0.5, 1.0000001, None, 2, "x"]),
    "feature": scalars | huge | st.just([1]),
    "segment": st.sampled_from(["eu", None, "x" * 300, 5]),
    "latency_ms": st.sampled_from([1, 2.5, None, "x"]),
}


@given(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=4))
def test_columns_are_their_rows(rows):
    columns = {
        name: [row[name] for row in rows] for name in ("prediction_id", "ts", "latency_ms")
    } | {
        "prediction": [row["prediction"] for row in rows],
        "label": [row["label"] for row in rows],
        "scores": {"k": [row["score"] for row in rows]},
        "features": {"f": [row["feature"] for row in rows]},
        "segments": {"s": [row["segment"] for row in rows]},
    }
    got = decode(as_bytes({"model": "m", "version": "v", "columns": columns}))
    if any(reject.index is None for reject in got.rejects):
        assert any(row["feature"] == 10**400 for row in rows)
        return
    taken: dict[int, Any] = {
        i: (batch, position) for batch in got.columns for position, i in enumerate(batch.index)
    }
    labels = dict(zip(got.label_index, got.labels, strict=True))
    for i, row in enumerate(rows):
        alone = decode(
            as_bytes(
                {
                    "model": "m",
                    "version": "v",
                    "prediction_id": row["prediction_id"],
                    "ts": row["ts"],
                    "latency_ms": row["latency_ms"],
                    "prediction": row["prediction"],
                    "label": row["label"],
                    "scores": {"k": row["score"]},
                    "features": {"f": row["feature"]},
                    "segments": {"s": row["segment"]},
                }
            )
        )
        event = alone.predictions[0] if alone.predictions else None
        if row["prediction"] is not None or row["label"] is None:
            assert bool(alone.rejects) == any(r.index == i for r in got.rejects)
        assert (event is not None) == (i in taken)
        if event is not None:
            batch, at = taken[i]
            assert batch.ts[at] == event.ts
            assert batch.prediction[at] == event.prediction
            assert batch.features["f"][at] == event.features.get("f")
            assert batch.unsupported.get("f", {}).get(at) == event.unsupported.get("f")
            assert batch.segments["s"][at] == event.segments.get("s")
            assert batch.scores["k"][at] == (event.scores or {}).get("k")
            assert alone.labels == ([labels[i]] if i in labels else [])


@given(good | odd)
def test_a_second_reading_is_the_same(event):
    value = as_bytes(event)
    assert decode(value) == decode(value)


@pytest.mark.parametrize(
    ("value", "word"), [(None, "null"), (True, "boolean"), (1, "number"), ("", "string")]
)
def test_the_exact_reader_says_what_it_found(value, word):
    with pytest.raises(ContractError, match=word):
        exact.read(Decoded(), value, 0, wire.NOTHING, None)
