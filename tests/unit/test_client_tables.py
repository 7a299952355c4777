"""Tables of any make are sent alike."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftline import Client, MemoryTransport, decode
from driftline.columns import NotATableError, as_list, read_columns

MODEL = {"model": "fraud", "version": "2026-11-01"}
TS = 1_793_500_000_123
COLUMNS = {
    "id": ["a", "b", "c"],
    "at": [TS, TS + 1, TS + 2],
    "amount": [12.5, -1.0, 1e300],
    "count": [1, 2, -3],
    "new": [True, False, True],
    "country": ["DE", "FR", None],
    "region": ["eu", "eu", "us"],
    "p": [0.25, 0.5, 0.75],
    "y": ["legit", "fraud", "legit"],
    "ms": [1.5, 2.5, 3.5],
}
STRUCTURED = np.array(
    list(zip(*COLUMNS.values(), strict=True)),
    dtype=[
        (name, type(values[0]) if name in {"count", "at", "new", "amount", "p", "ms"} else object)
        for name, values in COLUMNS.items()
    ],
)
FRAMES = {
    "pandas": pd.DataFrame(COLUMNS),
    "pandas with Arrow types": pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "pandas with nullable types": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas with categories": pd.DataFrame(COLUMNS).astype({"region": "category"}),
    "polars": pl.DataFrame(COLUMNS),
    "Arrow table": pa.table(COLUMNS),
    "Arrow record batch": pa.RecordBatch.from_pydict(COLUMNS),
    "Arrow table in chunks": pa.concat_tables([pa.table(COLUMNS)[:1], pa.table(COLUMNS)[1:]]),
    "dict of lists": COLUMNS,
    "dict of tuples": {name: tuple(values) for name, values in COLUMNS.items()},
    "dict of NumPy arrays": {
        name: np.array(values, object if None in values else None)
        for name, values in COLUMNS.items()
    },
    "dict of series": {name: pd.Series(values, dtype=object) for name, values in COLUMNS.items()},
    "dict of polars series": {name: pl.Series(values) for name, values in COLUMNS.items()},
    "dict of Arrow arrays": {name: pa.array(values) for name, values in COLUMNS.items()},
    "list of dicts": [
        dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)
    ],
    "structured NumPy array": STRUCTURED,
}


@pytest.fixture
def transport():
    return MemoryTransport()


@pytest.fixture
def client(transport):
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        yield client


@pytest.mark.parametrize("make", FRAMES)
def test_every_kind_of_table_gives_the_same_message(client, transport, make):
    ids = client.log_batch(
        **MODEL,
        frame=FRAMES[make],
        prediction="y",
        scores={"fraud": "p"},
        prediction_id="id",
        ts="at",
        segments=["region"],
        latency_ms="ms",
    )
    assert client.close()
    assert client.stats().dropped == {}
    assert ids == ["a", "b", "c"]
    (message,) = transport.messages
    expected = MODEL | {
        "columns": {
            "prediction_id": ["a", "b", "c"],
            "ts": COLUMNS["at"],
            "prediction": COLUMNS["y"],
            "scores": {"fraud": COLUMNS["p"]},
            "segments": {"region": COLUMNS["region"]},
            "latency_ms": COLUMNS["ms"],
            "features": {name: COLUMNS[name] for name in ("amount", "count", "new", "country")},
        }
    }
    assert orjson.loads(message.value) == expected
    assert decode(message.value).columns[0].n == 3


def test_new_ids_come_back_in_row_order(client, transport):
    ids = client.log_batch(**MODEL, frame=FRAMES["pandas"], prediction="y")
    client.close()
    assert [row["prediction_id"] for row in transport.predictions] == ids == sorted(ids)
    assert set(transport.predictions[0]["features"]) == set(COLUMNS) - {"y"}


def test_parts_may_be_sequences_and_single_values(client, transport):
    client.log_batch(
        **MODEL,
        frame={"x": [1.0, 2.0]},
        prediction=np.array([1, 0]),
        scores=np.array([0.9, 0.1], dtype=np.float32),
        prediction_id=pd.Series([7, 8]),
        ts=datetime(2026, 11, 1, tzinfo=UTC),
        segments={"region": ["eu", "us"]},
        attributions=pl.DataFrame({"x": [0.5, -0.5]}),
        latency_ms=3.0,
    )
    client.close()
    assert transport.predictions[1] == MODEL | {
        "prediction_id": "8",
        "ts": 1_793_491_200_000,
        "features": {"x": 2.0},
        "prediction": 0,
        "scores": pytest.approx(0.1),
        "segments": {"region": "us"},
        "attributions": {"x": -0.5},
        "latency_ms": 3.0,
    }


def test_a_matrix_takes_its_names_from_features(client, transport):
    client.log_batch(
        **MODEL, frame=np.array([[1.0, 2.0], [3.0, 4.0]]), features=["a", "b"], prediction=[1, 0]
    )
    client.close()
    assert [row["features"] for row in transport.predictions] == [
        {"a": 1.0, "b": 2.0},
        {"a": 3.0, "b": 4.0},
    ]


def test_features_choose_columns_and_leave_the_truth_out(client, transport):
    client.log_batch(
        **MODEL, frame=FRAMES["polars"], features=["amount", "country"], prediction="y"
    )
    client.close()
    assert transport.predictions[2]["features"] == {"amount": 1e300, "country": None}


def test_the_missing_marks_of_every_make_are_null(client, transport):
    frame = pd.DataFrame(
        {
            "float": [1.0, math.nan],
            "nullable": pd.array([1, pd.NA], dtype="Int64"),
            "text": pd.array(["a", pd.NA], dtype="string"),
            "time": pd.to_datetime(["2026-11-01", None]),
            "category": pd.Categorical(["a", None]),
        }
    )
    client.log_batch(**MODEL, frame=frame, prediction=[1, 0])
    client.close()
    assert transport.predictions[1]["features"] == dict.fromkeys(frame.columns)
    assert transport.predictions[0]["features"]["time"] == "2026-11-01T00:00:00+00:00"
    # NaN in a float column is NaN; in a text, time or category column it only says missing
    assert orjson.loads(transport.messages[0].value)["invalid"]["float"] == 1


def test_missing_times_are_now_and_missing_ids_are_new(client, transport):
    ids = client.log_batch(
        **MODEL,
        frame={"x": [1, 2, 3]},
        prediction=[1, 1, 1],
        prediction_id=["mine", None, math.nan],
        ts=pd.to_datetime(["2026-11-01", None, None]),
    )
    client.close()
    rows = transport.predictions
    assert [row["prediction_id"] for row in rows] == ids
    assert ids[0] == "mine"
    assert len(set(ids)) == 3
    assert rows[0]["ts"] == 1_793_491_200_000
    assert rows[1]["ts"] == rows[2]["ts"] != rows[0]["ts"]


def test_times_keep_their_millisecond_in_every_resolution(client, transport):
    for unit in ("ms", "us", "ns"):
        ts = np.array([TS], "datetime64[ms]").astype(f"datetime64[{unit}]")
        client.log_batch(**MODEL, frame={"x": [1]}, prediction=[1], ts=ts)
        client.log_batch(**MODEL, frame={"x": [1]}, prediction=[1], ts=pd.Series(ts))
        client.log_batch(**MODEL, frame={"x": [1]}, prediction=[1], ts=pa.array(ts))
        client.log_batch(**MODEL, frame={"x": [1]}, prediction=[1], ts=pl.Series(ts))
    client.close()
    assert [row["ts"] for row in transport.predictions] == [TS] * 12


@pytest.mark.parametrize(
    ("arguments", "reason", "n"),
    [
        ({"frame": {"x": [1, 2]}, "prediction": "y"}, "missing_field", 2),
        ({"frame": {"x": [1, 2]}, "prediction": [1, 2, 3]}, "unequal_columns", 3),
        ({"frame": {"x": [1, 2], "y": [1]}, "prediction": [1, 2]}, "unequal_columns", 2),
        ({"frame": {"x": [1, 2]}, "prediction": [1, 2], "features": ["z"]}, "missing_field", 2),
        ({"frame": {"x": [1, 2]}, "prediction": [1, 2], "scores": np.eye(2)}, "bad_scores", 2),
        ({"frame": {"x": [1, 2]}, "prediction": [1, 2], "ts": [1, 2]}, "bad_ts", 2),
        ({"frame": np.eye(3), "prediction": [1, 2, 3]}, "wrong_type", 3),
        ({"frame": "x.csv", "prediction": [1, 2]}, "wrong_type", 1),
        ({"frame": 5, "prediction": "y"}, "wrong_type", 1),
        ({"frame": {"x": [1, 2]}, "prediction": 5}, "missing_field", 2),
        ({"frame": {"x": [1, 2]}, "prediction": None}, "wrong_type", 2),
        ({"frame": {"x": 5}, "prediction": [1]}, "wrong_type", 1),
        ({"frame": {"x": [1]}, "prediction": [1], "model": 1}, "bad_model", 1),
    ],
)
def test_a_table_that_cannot_be_read_is_dropped_with_the_reason(client, arguments, reason, n):
    client.log_batch(**MODEL | arguments)
    client.flush()
    assert client.stats().dropped == {reason: n}
    assert client.stats().logged == n


def test_bad_rows_are_left_out_and_the_others_are_sent(client, transport):
    ids = client.log_batch(
        **MODEL,
        frame={"x": [1.0, 2.0, 3.0, 4.0]},
        prediction=[1, math.nan, [1, 2], 0],
        scores=[0.5, 0.5, 0.5, 7],
    )
    client.close()
    assert [row["prediction_id"] for row in transport.predictions] == ids[:1]
    assert client.stats().dropped == {"bad_prediction": 2, "bad_scores": 1}


def test_an_empty_table_is_nothing(client, transport):
    assert client.log_batch(**MODEL, frame=pd.DataFrame({"x": [], "y": []}), prediction="y") == []
    assert client.close()
    assert transport.messages == []
    assert client.stats().logged == 0


def test_a_table_larger_than_the_queue_is_taken_as_far_as_it_fits(transport):
    with Client(transport=transport, max_queue_rows=50_000, flush_interval_ms=60_000) as client:
        client.log_batch(**MODEL, frame={"x": [1] * 70_000}, prediction=[1] * 70_000)
    stats = client.stats()
    assert stats.delivered + stats.dropped["queue_full"] == 70_000
    assert stats.delivered >= 40_000


def test_labels_of_a_table_and_of_sequences(client, transport):
    frame = pl.DataFrame({"id": ["a", "b"], "y": [True, False], "who": ["x", "y"]})
    client.log_labels(
        frame=frame, prediction_id="id", label="y", model="fraud", ts=TS, source="who"
    )
    client.log_labels(prediction_id=["c", 4], label=[1.5, 2.5], source="audit", ts=[TS, None])
    client.log_labels(prediction_id=["c"], label=["x", "y"])
    client.close()
    assert transport.labels[1] == {
        "model": "fraud",
        "prediction_id": "b",
        "ts": TS,
        "label": False,
        "source": "y",
    }
    assert [row["prediction_id"] for row in transport.labels] == ["a", "b", "c", "4"]
    assert transport.labels[3]["source"] == "audit"
    assert client.stats().dropped == {"unequal_columns": 2}
    decoded = [decode(message.value) for message in transport.messages]
    assert sum(len(d.labels) for d in decoded) == 4
    assert not any(d.rejects for d in decoded)


def test_repeated_and_odd_column_names_do_not_stop_a_table():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "a", 0])
    assert read_columns(frame) == {"a": [2], "0": [3]}


def test_time_columns_of_numpy_keep_their_meaning():
    times = np.array(["2026-11-01T00:00:00.5", "NaT"], "datetime64[ns]")
    spans = np.array([1_500], "timedelta64[ms]")
    assert as_list(times) == [datetime(2026, 11, 1, 0, 0, 0, 500_000), None]  # noqa: DTZ001
    assert as_list(spans) == [timedelta(milliseconds=1_500)]


@pytest.mark.parametrize("column", ["text", b"bytes", 5, None, {"a": 1}, np.array(5)])
def test_what_is_no_column_is_refused(column):
    with pytest.raises(NotATableError):
        as_list(column)
