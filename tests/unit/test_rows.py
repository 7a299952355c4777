"""Rows become frames: types split, times judged, shards agreed with every other reader of ids."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from detectors.frame import Frame
from detectors.order_key import order
from driftline.codec import decode
from driftline.rules import MAX_AHEAD_MS, Reason
from streams.rows.builder import RowBuilder, id_hash, id_hashes, model_partition, shard_of
from tests.strategies import rows_of

T = 1_793_500_000_000


def event(i: int = 0, **fields: object) -> bytes:
    base = {"prediction_id": f"p{i}", "model": "m", "version": "1", "ts": T + i, "prediction": "a"}
    return orjson.dumps(base | fields)


def built(*values: bytes, shards: int = 1, arrival: int | None = T) -> dict[int, list[Frame]]:
    builder = RowBuilder(0, 3, shards)
    for offset, value in enumerate(values):
        decoded = decode(value)
        assert decoded.rejects == []
        assert builder.add(decoded, offset=offset, arrival=arrival) == []
    return builder.frames()


def only(frames: dict[int, list[Frame]]) -> Frame:
    ((frame,),) = frames.values()
    return frame


def floats(frame: Frame, name: str) -> list[float | None]:
    column = frame.columns[name]
    return [x if ok else None for x, ok in zip(column.data.tolist(), column.mask, strict=True)]


def test_a_feature_has_a_column_for_each_json_type_that_occurs():
    frame = only(
        built(
            event(0, features={"f": 1.5}),
            event(1, features={"f": "DE"}),
            event(2, features={"f": True}),
            event(3, features={"f": None}),
            event(4, features={}),
        )
    )
    assert floats(frame, "x:f") == [1.5, None, None, None, None]
    assert frame.columns["c:f"].texts() == [None, "DE", None, None, None]
    assert floats(frame, "b:f") == [None, None, True, None, None]


def test_a_feature_that_is_always_null_is_seen_to_exist_and_to_be_missing():
    frame = only(built(event(features={"f": None})))
    assert floats(frame, "x:f") == [None]


def test_numbers_and_classes_lie_in_separate_columns_and_booleans_are_class_text():
    frame = only(built(event(0, prediction=1), event(1, prediction="1"), event(2, prediction=True)))
    assert floats(frame, "prediction_value") == [1.0, None, None]
    assert frame.columns["prediction"].texts() == [None, "1", "true"]


def test_scores_segments_attributions_and_latency_have_their_columns():
    frame = only(
        built(
            event(0, scores={"a": 0.25, "b": 0.75}, segments={"region": "eu"}, latency_ms=7.5),
            event(1, scores=0.5, attributions={"amount": -0.25}),
        )
    )
    assert floats(frame, "s:a") == [0.25, None]
    assert floats(frame, "score") == [None, 0.5]
    assert frame.columns["g:region"].texts() == ["eu", None]
    assert floats(frame, "a:amount") == [None, -0.25]
    assert floats(frame, "latency_ms") == [7.5, None]


def test_an_unsupported_feature_keeps_its_length():
    frame = only(built(event(0, features={"f": "x" * 300}), event(1, features={"f": [1, 2]})))
    assert floats(frame, "u:f") == [300, -1]
    assert not frame.columns["x:f"].mask.any() if "x:f" in frame.columns else True


def test_a_columnar_batch_gives_the_frame_that_its_rows_would_have_given():
    rows = [
        {"prediction_id": f"p{i}", "ts": T + i, "features": {"x": i * 0.5, "c": f"v{i % 3}"}}
        for i in range(20)
    ]
    shared = {"model": "m", "version": "1"}
    batch = {
        **shared,
        "columns": {
            "prediction_id": [row["prediction_id"] for row in rows],
            "ts": [row["ts"] for row in rows],
            "features": {
                "x": [row["features"]["x"] for row in rows],
                "c": [row["features"]["c"] for row in rows],
            },
            "prediction": ["a"] * 20,
            "scores": {"a": [0.5] * 20},
        },
    }
    by_rows = only(
        built(
            orjson.dumps(
                {
                    **shared,
                    "predictions": [r | {"prediction": "a", "scores": {"a": 0.5}} for r in rows],
                }
            )
        )
    )
    by_columns = only(built(orjson.dumps(batch)))
    assert set(by_rows.columns) == set(by_columns.columns)
    for name, column in by_rows.columns.items():
        other = by_columns.columns[name]
        assert column.values == other.values, name
        assert np.array_equal(column.data, other.data), name
        assert np.array_equal(column.mask, other.mask), name


def test_a_row_dated_over_five_minutes_ahead_is_refused_and_the_rest_of_its_batch_is_not():
    builder = RowBuilder(0, 0, 1)
    batch = orjson.dumps(
        {
            "model": "m",
            "version": "1",
            "columns": {
                "prediction_id": ["a", "b"],
                "ts": [T + MAX_AHEAD_MS, T + MAX_AHEAD_MS + 1],
                "prediction": [1.0, 2.0],
            },
        }
    )
    (reject,) = builder.add(decode(batch), offset=0, arrival=T)
    assert (reject.reason, reject.index) == (Reason.CLOCK_AHEAD, 1)
    assert only(builder.frames()).columns["id"].data.tolist() == [id_hash("a")]


def test_a_refused_outcome_is_one_reject_and_leaves_no_label_behind():
    builder = RowBuilder(0, 0, 1)
    outcome = decode(event(ts=T + 10 * MAX_AHEAD_MS, label="a"))
    rejects = builder.add(outcome, offset=0, arrival=T)
    assert [reject.reason for reject in rejects] == [Reason.CLOCK_AHEAD]
    assert builder.frames() == {}


def test_the_record_time_stands_in_for_an_absent_ts_and_arrival_stays_monotone():
    builder = RowBuilder(1, 2, 1)
    for offset, arrival in enumerate([T, T - 500]):
        value = orjson.dumps({"prediction_id": "p", "label": 1})
        builder.add(decode(value), offset=offset, arrival=arrival, record_ts=arrival)
    frame = only(builder.frames())
    assert frame.subject == "@"
    assert frame.ints("ts").tolist() == [T, T - 500]
    assert frame.ints("arrival").tolist() == [T, T]
    assert frame.ints("source").tolist() == [1 << 32 | 2] * 2
    assert builder.reached == T


def test_in_a_replay_a_row_arrives_at_its_arrival_else_its_ts_and_needs_one_of_them():
    builder = RowBuilder(0, 0, 1)
    bare = {"prediction_id": "p", "model": "m", "version": "1", "prediction": 1}
    for offset, times in enumerate(
        [{"ts": T}, {"ts": T + 1, "arrival": T + 9}, {"arrival": T + 5}]
    ):
        assert builder.add(decode(orjson.dumps(bare | times)), offset=offset, arrival=None) == []
    (reject,) = builder.add(decode(orjson.dumps(bare)), offset=3, arrival=None)
    assert reject.reason is Reason.NO_TS
    frame = only(builder.frames())
    assert frame.ints("arrival").tolist() == [T, T + 9, T + 9]
    assert frame.ints("ts").tolist() == [T, T + 1, T + 5]


def test_shards_hold_every_row_once_and_only_the_texts_they_use():
    values = [event(i, features={"c": f"v{i}"}) for i in range(64)]
    frames = built(*values, shards=4)
    seen = []
    for shard, parts in frames.items():
        (frame,) = parts
        ids = frame.columns["id"].data.tolist()
        seen += ids
        assert {int.from_bytes(i[:8], "little") % 4 for i in ids} == {shard}
        texts = frame.columns["c:c"].texts()
        assert len(frame.columns["c:c"].values or []) == frame.n
        assert [id_hash("p" + str(text)[1:]) for text in texts] == ids
    assert sorted(seen) == sorted(id_hash(f"p{i}") for i in range(64))


def test_frames_come_per_subject_and_kind_and_the_builder_starts_afresh():
    builder = RowBuilder(0, 0, 1)
    builder.add(decode(event(0)), offset=0, arrival=T)
    builder.add(decode(event(1, version="2", label="b")), offset=1, arrival=T)
    builder.add(decode(orjson.dumps({"prediction_id": "x", "label": 1})), offset=2, arrival=T)
    kinds = [(frame.subject, frame.kind, frame.n) for frame in builder.frames()[0]]
    assert kinds == [("m@1", "prediction", 1), ("m@2", "prediction", 1),
                     ("m@", "label", 1), ("@", "label", 1)]  # fmt: skip
    assert builder.rows == 0
    assert builder.frames() == {}


def test_a_models_partition_is_the_first_eight_bytes_of_its_hash():
    expected = int.from_bytes(blake2b(b"fraud", digest_size=16).digest()[:8], "little") % 7
    assert model_partition("fraud", 7) == expected


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.integers(1, 12))
def test_hashing_many_ids_is_hashing_each(ids: list[str], shards: int):
    ids = [i.encode("utf-8", "replace").decode() for i in ids]
    hashes = id_hashes(ids)
    assert [bytes(h) for h in hashes] == [id_hash(i) for i in ids]
    expected = [int.from_bytes(id_hash(i)[:8], "little") % shards for i in ids]
    assert shard_of(hashes, shards).tolist() == expected


cells = st.one_of(
    st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), cells), min_size=1, max_size=8))
def test_every_cell_is_in_exactly_one_column_or_missing(rows: list[dict[str, object]]):
    frame = only(built(*[event(i, features=row) for i, row in enumerate(rows)]))
    for name in "abc":
        for i, row in enumerate(rows):
            found = [
                prefix
                for prefix in ("x:", "c:", "b:", "u:")
                if prefix + name in frame.columns and frame.columns[prefix + name].mask[i]
            ]
            value = row.get(name)
            kind = {type(None): [], bool: ["b:"], float: ["x:"], str: ["c:"]}[type(value)]
            assert found == kind
    assert order(frame).tolist() == sorted(
        range(len(rows)), key=lambda i: (T + i, id_hash(f"p{i}"), i)
    )


def test_a_columnar_batch_makes_the_rows_that_its_events_make_one_by_one():
    events = [
        {"prediction_id": f"p{i}", "ts": T + i, "prediction": "ab"[i % 2], "features": {"f": i / 2}}
        for i in range(9)
    ]
    labels = [{"prediction_id": f"p{i}", "ts": T + i, "label": i} for i in range(9)]
    head = {"model": "m", "version": "1"}
    columns = {name: [e[name] for e in events] for name in ("prediction_id", "ts", "prediction")}
    batch = columns | {"features": {"f": [e["features"]["f"] for e in events]}}
    truth = {name: [e[name] for e in labels] for name in ("prediction_id", "ts", "label")}
    for one, many in (
        (orjson.dumps(head | {"columns": batch}), orjson.dumps(head | {"predictions": events})),
        (orjson.dumps({"columns": truth}), orjson.dumps({"labels": labels})),
    ):
        at_once, row_by_row = built(one, shards=3), built(many, shards=3)
        assert at_once.keys() == row_by_row.keys()
        for shard, frames in at_once.items():
            assert [rows_of(f) for f in frames] == [rows_of(f) for f in row_by_row[shard]]


def test_a_batch_with_one_row_ahead_of_its_clock_loses_that_row_only():
    ids, ts = ["p0", "p1", "p2"], [T, T + MAX_AHEAD_MS + 1, T + 2]
    for columns in ({"prediction": [1, 2, 3]}, {"label": [1, 2, 3]}):
        value = {
            "model": "m",
            "version": "1",
            "columns": {"prediction_id": ids, "ts": ts} | columns,
        }
        builder = RowBuilder(0, 0, 1)
        rejects = builder.add(decode(orjson.dumps(value)), offset=0, arrival=T)
        assert [(r.reason, r.index) for r in rejects] == [(Reason.CLOCK_AHEAD, 1)]
        assert only(builder.frames()).ints("index").tolist() == [0, 2]
