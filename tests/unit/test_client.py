"""The client over the memory transport: what is sent, what is dropped, and that it never raises."""

import logging
import math
import os
import threading
import time
from datetime import datetime
from decimal import Decimal

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline import Client, MemoryTransport, decode
from driftline.client import Stats
from driftline.rules import MAX_MESSAGE_BYTES, MAX_ROWS
from streams.topics import Topics

MODEL = {"model": "fraud", "version": "2026-11-01"}
TS = 1_793_500_000_123


@pytest.fixture
def transport():
    return MemoryTransport()


@pytest.fixture
def client(transport):
    with Client(transport=transport, flush_interval_ms=5) as client:
        yield client


class Slow(MemoryTransport):
    """Has no room until it is let go."""

    def __init__(self):
        super().__init__()
        self.room = threading.Event()

    def send(self, message):
        if not self.room.is_set():
            raise BufferError
        super().send(message)

    def poll(self, timeout_s):
        self.room.wait(timeout_s)


def contents(transport):
    return [orjson.loads(message.value) for message in transport.messages]


def balanced(stats: Stats) -> bool:
    """Every row is in exactly one place."""
    places = stats.queued + stats.in_flight + stats.delivered + stats.undelivered
    return stats.logged == places + sum(stats.dropped.values())


def test_a_prediction_arrives_with_everything_it_was_logged_with(client, transport):
    given = {
        "features": {"amount": 12.5, "country": "DE", "device": None},
        "prediction": "legit",
        "scores": {"fraud": 0.02, "legit": 0.98},
        "segments": {"region": "eu"},
        "attributions": {"amount": -0.4},
        "latency_ms": 7.2,
        "ts": TS,
        "trace_id": "t-1",
    }
    pid = client.log_prediction(**MODEL, **given)
    assert client.flush()
    assert transport.predictions == [{"prediction_id": pid} | MODEL | given]
    (event,) = decode(transport.messages[0].value).predictions
    assert event.prediction_id == pid
    assert transport.messages[0].topic == "driftline.predictions"
    assert transport.messages[0].key == pid.encode()


def test_a_label_arrives_at_the_topic_of_labels(client, transport):
    client.log_label("p-1", "fraud", model="fraud", ts=TS, source="chargeback")
    client.flush()
    assert transport.labels == [
        {
            "prediction_id": "p-1",
            "model": "fraud",
            "label": "fraud",
            "ts": TS,
            "source": "chargeback",
        }
    ]
    assert transport.messages[0].topic == "driftline.labels"


def test_times_are_now_unless_given(client, transport):
    before = time.time_ns() // 1_000_000
    client.log_prediction(**MODEL, features={}, prediction=1)
    client.log_prediction(**MODEL, features={}, prediction=1, ts=pd.NaT)
    client.log_label("p", 1)
    client.flush()
    times = [row["ts"] for row in transport.predictions + transport.labels]
    assert all(before <= ts <= before + 60_000 for ts in times)


def test_rows_that_agree_travel_as_columns(client, transport):
    ids = [
        client.log_prediction(**MODEL, features={"x": float(i), "c": "a"}, prediction=i % 2)
        for i in range(500)
    ]
    client.flush()
    assert sum(len(content.get("columns", {}).get("ts", "1")) for content in contents(transport))
    assert len(transport.messages) < 50
    assert any(message.key is None for message in transport.messages)
    assert [row["prediction_id"] for row in transport.predictions] == ids


def test_rows_that_hardly_share_a_feature_travel_as_rows(transport):
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        for i in range(100):
            client.log_prediction(**MODEL, features={f"x{i}": 1.0}, prediction="a")
    (content,) = contents(transport)
    assert len(content["predictions"]) == 100
    assert [row["features"] for row in transport.predictions] == [
        {f"x{i}": 1.0} for i in range(100)
    ]


def test_each_model_and_version_has_its_own_batches(transport):
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        for i in range(40):
            client.log_prediction(
                model=f"m{i % 2}", version=f"{i % 4}", features={"x": 1}, prediction=1
            )
    assert len(transport.messages) == 4
    assert {(c["model"], c["version"]) for c in contents(transport)} == {
        ("m0", "0"),
        ("m1", "1"),
        ("m0", "2"),
        ("m1", "3"),
    }


def test_a_feature_that_a_row_lacks_is_null_in_the_columns(transport):
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        client.log_prediction(**MODEL, features={"x": 1.0, "y": 2.0}, prediction=1)
        client.log_prediction(**MODEL, features={"x": 3.0}, prediction=1, scores={"1": 0.5})
        client.log_prediction(**MODEL, features={"y": 4.0}, prediction=1, scores=0.25)
    rows = sorted(transport.predictions, key=lambda row: row["prediction_id"])
    assert [row["features"] for row in rows] == [
        {"x": 1.0, "y": 2.0},
        {"x": 3.0},
        {"x": None, "y": 4.0},
    ]
    assert [row.get("scores") for row in rows] == [None, {"1": 0.5}, 0.25]


def test_non_finite_features_become_null_and_are_counted(transport):
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        for x in (1.0, math.nan, math.inf, np.float32("nan"), Decimal("NaN"), None, 10**400):
            client.log_prediction(**MODEL, features={"x": x, "y": 1.0}, prediction=1)
    (content,) = contents(transport)
    assert content["columns"]["features"]["x"] == [1.0, None, None, None, None, None, None]
    assert content["invalid"] == {"x": 5}  # None is missing, which is no fault
    assert decode(transport.messages[0].value).invalid == {"x": 5}


def test_an_array_spoils_its_feature_and_not_the_row(client, transport):
    client.log_prediction(**MODEL, features={"e": np.zeros(768), "x": 1.0}, prediction=1)
    client.flush()
    (event,) = decode(transport.messages[0].value).predictions
    assert event.features == {"x": 1.0}
    assert event.unsupported == {"e": -1}
    assert len(transport.messages[0].value) < 300


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": 5}, "bad_model"),
        ({"model": "no spaces"}, "bad_model"),
        ({"model": "_driftline"}, "reserved_name"),
        ({"model": None}, "missing_field"),
        ({"version": 1.10}, "bad_version"),
        ({"version": ["1"]}, "bad_version"),
        ({"features": [1.0, 2.0]}, "wrong_type"),
        ({"features": None}, "wrong_type"),
        ({"prediction": math.nan}, "bad_prediction"),
        ({"prediction": None}, "bad_prediction"),
        ({"prediction": [1, 2]}, "bad_prediction"),
        ({"prediction": np.array([0.2, 0.8])}, "bad_prediction"),
        ({"prediction": 10**400}, "bad_prediction"),
        ({"scores": 1.5}, "bad_scores"),
        ({"scores": {"a": -0.5}}, "bad_scores"),
        ({"scores": [0.2, 0.8]}, "bad_scores"),
        ({"ts": 1_793_500_000}, "bad_ts"),
        ({"ts": "yesterday"}, "bad_ts"),
        ({"prediction_id": ""}, "bad_id"),
        ({"prediction_id": "x" * 129}, "bad_id"),
        ({"prediction_id": 1.5}, "bad_id"),
        ({"prediction_id": "\ud800"}, "bad_id"),
        ({"features": {"text": "x" * MAX_MESSAGE_BYTES}}, "too_large"),
    ],
)
def test_what_the_worker_would_refuse_is_dropped_with_the_reason(client, transport, fields, reason):
    good = {"features": {"x": 1.0}, "prediction": 1}
    assert isinstance(client.log_prediction(**MODEL | good | fields), str)
    client.log_prediction(**MODEL | good)
    client.flush()
    stats = client.stats()
    assert stats.dropped == {reason: 1}
    assert stats.last_error.startswith(reason)
    assert stats.delivered == 1
    assert balanced(stats)


def test_errors_that_refuse_to_be_shown_are_counted(client):
    class RefusingError(Exception):
        def __repr__(self):
            raise RuntimeError

    class Features:
        def keys(self):
            raise RefusingError

    client.log_prediction(**MODEL, features=Features(), prediction=1)
    assert client.stats().dropped == {"internal_error": 1}
    assert client.stats().last_error == "internal_error: RefusingError"


@pytest.mark.parametrize("label", [None, math.nan, [1], {"a": 1}, object()])
def test_a_label_that_is_none_is_dropped(client, label):
    client.log_label("p", label)
    client.log_label(None, 1)
    client.flush()
    assert client.stats().dropped == {"bad_label": 1, "missing_field": 1}


def test_scores_a_little_beyond_one_are_rounding(client, transport):
    client.log_prediction(
        **MODEL, features={}, prediction="a", scores={"a": np.float32(1.0000001), "b": math.nan}
    )
    client.flush()
    assert transport.predictions[0]["scores"] == {"a": 1.0}


def test_classes_of_scores_and_segments_read_like_predictions(client, transport):
    client.log_prediction(
        **MODEL,
        features={},
        prediction=np.int64(1),
        scores={np.int64(1): 0.75, False: 0.25},
        segments={"vip": True, "tier": 2, "gap": math.nan},
    )
    client.flush()
    (row,) = transport.predictions
    assert row["prediction"] == 1
    assert row["scores"] == {"1": 0.75, "false": 0.25}
    assert row["segments"] == {"vip": "true", "tier": "2"}


def test_the_caller_may_change_what_it_handed_over(client, transport):
    features = {"x": 1.0}
    client.log_prediction(**MODEL, features=features, prediction=1)
    features["x"] = 2.0
    client.flush()
    assert transport.predictions[0]["features"] == {"x": 1.0}


def test_a_full_queue_drops_and_counts_and_tells_the_worker_later():
    transport = Slow()
    with Client(transport=transport, flush_interval_ms=5, max_queue_rows=10) as client:
        for _ in range(25):
            client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)
        assert client.stats().dropped["queue_full"] >= 5  # ten wait, ten may be with the thread
        transport.room.set()
        assert client.flush()
        client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)
        assert client.flush()
        stats = client.stats()
    told = sum(decode(message.value).client_dropped for message in transport.messages)
    assert told == stats.dropped["queue_full"]
    assert stats.delivered == len(transport.predictions) == stats.logged - told
    assert balanced(stats)


def test_the_queue_is_bounded_in_bytes_too():
    transport = Slow()
    with Client(transport=transport, max_queue_bytes=100_000, flush_interval_ms=10_000) as client:
        for _ in range(30):
            client.log_prediction(**MODEL, features={"x": "x" * 10_000}, prediction=1)
        assert client.stats().dropped == {"queue_full": 21}
        transport.room.set()


def test_rows_lost_by_the_transport_are_counted_and_told():
    class Lossy(MemoryTransport):
        lose = True

        def send(self, message):
            if self.lose:
                message.done("broker away")
                message.done(None)  # a second word does not count
            else:
                super().send(message)

    transport = Lossy()
    with Client(transport=transport, flush_interval_ms=5) as client:
        client.log_prediction(**MODEL, features={}, prediction=1)
        assert client.flush()
        assert client.stats().undelivered == 1
        assert client.stats().last_error == "undelivered: broker away"
        transport.lose = False
        client.log_prediction(**MODEL, features={}, prediction=1)
    assert decode(transport.messages[0].value).client_dropped == 1
    assert client.stats().delivered == 1


def test_a_transport_that_raises_costs_rows_and_never_the_caller():
    class Broken(MemoryTransport):
        def send(self, message):
            raise OSError("broken")

        def poll(self, timeout_s):
            raise OSError("broken")

        def close(self, timeout_s):
            raise OSError("broken")

    client = Client(transport=Broken(), flush_interval_ms=5)
    client.log_prediction(**MODEL, features={}, prediction=1)
    assert not client.close()
    assert client.stats().undelivered == 1
    assert balanced(client.stats())


def test_a_transport_that_hangs_does_not_hold_close():
    class Hanging(MemoryTransport):
        def __init__(self):
            super().__init__()
            self.let_go = threading.Event()

        def send(self, message):
            self.let_go.wait(60)

    transport = Hanging()
    client = Client(transport=transport, flush_interval_ms=5)
    client.log_prediction(**MODEL, features={}, prediction=1)
    started = time.monotonic()
    assert not client.close(timeout=0.2)
    assert time.monotonic() - started < 10
    assert client.stats().in_flight == 1
    transport.let_go.set()


def test_close_sends_what_is_queued_and_later_rows_are_dropped(transport):
    client = Client(transport=transport, flush_interval_ms=10_000)
    for _ in range(10):
        client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)
    assert client.close()
    assert len(transport.predictions) == 10
    assert client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)
    assert client.close()
    assert client.stats().dropped == {"closed": 1}
    assert balanced(client.stats())


def test_a_client_that_is_forgotten_sends_what_it_has(transport):
    Client(transport=transport, flush_interval_ms=10_000).log_prediction(
        **MODEL, features={}, prediction=1
    )
    deadline = time.monotonic() + 10
    while not transport.messages and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(transport.predictions) == 1


def test_losses_are_logged_once_a_minute_per_reason(client, caplog):
    with caplog.at_level(logging.WARNING, logger="driftline.client"):
        for _ in range(3):
            for _ in range(5):
                client.log_prediction(model="no spaces", version="1", features={}, prediction=1)
            client.flush()
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    assert client.stats().dropped == {"bad_model": 15}
    assert len(caplog.records) == 1
    assert "bad_model" in caplog.text


def test_a_client_needs_exactly_one_way_out(transport):
    with pytest.raises(ValueError, match="one way out"):
        Client()
    with pytest.raises(ValueError, match="one way out"):
        Client("localhost:9092", transport=transport)


@pytest.mark.parametrize("prefix", ["", "eu.", "t1-"])
def test_a_prefix_makes_the_topics_that_a_worker_with_the_same_prefix_reads(transport, prefix):
    with Client(transport=transport, topic_prefix=prefix) as client:
        client.log_prediction(**MODEL, features={}, prediction=1)
        client.log_label("p", 1)
    read = Topics(prefix=prefix)
    assert {m.topic for m in transport.messages} == {read.predictions, read.labels}


def test_many_threads_lose_nothing(transport):
    with Client(transport=transport, flush_interval_ms=1) as client:

        def serve() -> None:
            for i in range(500):
                pid = client.log_prediction(**MODEL, features={"x": float(i)}, prediction=i)
                client.log_label(pid, i)

        threads = [threading.Thread(target=serve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(transport.predictions) == len(transport.labels) == 2_000
    assert {p["prediction_id"] for p in transport.predictions} == {
        label["prediction_id"] for label in transport.labels
    }
    assert client.stats().delivered == 4_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork_parent_and_child_each_send_their_own_rows(transport):
    client = Client(transport=transport, flush_interval_ms=10_000)
    client.log_prediction(**MODEL, features={"who": "parent"}, prediction=1)
    out, into = os.pipe()
    if os.fork() == 0:
        client.log_prediction(**MODEL, features={"who": "child"}, prediction=1)
        ok = client.close(5.0)
        os.write(into, orjson.dumps([ok, [p["features"] for p in transport.predictions]]))
        os._exit(0)
    os.wait()
    assert orjson.loads(os.read(out, 10_000)) == [True, [{"who": "child"}]]
    os.close(out)
    os.close(into)
    assert client.close()
    assert [p["features"] for p in transport.predictions] == [{"who": "parent"}]


class Hostile:
    """An object that raises whatever is done with it, but for showing it in a failing test."""

    def item(self):
        raise RuntimeError("item")

    @property
    def shape(self):
        raise RuntimeError("shape")

    def __repr__(self):
        return "Hostile()"

    def __str__(self):
        raise RuntimeError("str")

    def __eq__(self, other):
        raise RuntimeError("eq")

    def __hash__(self):
        return 7

    def __float__(self):
        raise RuntimeError("float")

    def __iter__(self):
        raise RuntimeError("iter")


any_text = st.text(st.characters(codec=None), max_size=300)  # lone surrogates, too
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63, max_value=10**400),
    st.floats(),
    any_text,
    st.decimals(),
    st.fractions(),
    st.datetimes(),
    st.timedeltas(),
    st.dates(),
    st.uuids(),
    st.binary(max_size=9),
    st.floats(width=32).map(np.float32),
    st.integers(-5, 5).map(np.int8),
    st.sampled_from([pd.NA, pd.NaT, np.datetime64("NaT"), np.ma.masked, Hostile(), object(), 1j]),
)
anything = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(any_text, scalars, max_size=3)
)
keys = st.one_of(any_text, st.integers(), st.none(), st.booleans(), st.just(Hostile()))


def mostly(good):
    return st.sampled_from(
        [good] * 12 + ["other", "", "no spaces", "_own", 1.10, None, Hostile(), []]
    )


calls = st.fixed_dictionaries(
    {"features": st.dictionaries(keys, anything, max_size=6)},
    optional={
        "prediction": anything,
        "scores": st.one_of(anything, st.dictionaries(keys, st.floats(0, 1), max_size=3)),
        "segments": st.one_of(anything, st.dictionaries(keys, anything, max_size=3)),
        "attributions": st.one_of(anything, st.dictionaries(keys, anything, max_size=3)),
        "latency_ms": anything,
        "ts": st.one_of(anything, st.integers(10**11, 10**14)),
        "prediction_id": anything,
        "trace_id": anything,
        "model": mostly("fraud"),
        "version": mostly("1"),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, max_size=6), st.lists(st.tuples(anything, anything, anything), max_size=3))
def test_nothing_ever_raises_and_what_is_sent_is_never_refused(predictions, labels):
    transport = MemoryTransport()
    client = Client(transport=transport, flush_interval_ms=10_000)
    logging.getLogger("driftline.client").disabled = True  # each example would log its losses
    for call in predictions:
        assert isinstance(client.log_prediction(**MODEL | {"prediction": "a"} | call), str)
    client.log_prediction(**MODEL, features=[1.0], prediction=1)
    for prediction_id, label, model in labels:
        client.log_label(prediction_id, label, model=model)
        client.log_label("p", label)
    assert client.close()
    logging.getLogger("driftline.client").disabled = False
    stats = client.stats()
    decoded = [decode(message.value) for message in transport.messages]
    assert [d.rejects for d in decoded if d.rejects] == []
    assert [d.unknown_fields for d in decoded if d.unknown_fields] == []
    rows = sum(len(d.predictions) + len(d.labels) + sum(c.n for c in d.columns) for d in decoded)
    assert rows == stats.delivered == len(transport.predictions) + len(transport.labels)
    assert stats.undelivered == 0
    assert balanced(stats)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.lists(st.one_of(st.none(), any_text, st.booleans()), min_size=1, max_size=30),
)
def test_what_can_be_carried_arrives_unchanged(numbers, others):
    transport = MemoryTransport()
    rows = [{"x": x, "c": c} for x, c in zip(numbers, others, strict=False)]
    with Client(transport=transport, flush_interval_ms=10_000) as client:
        for row in rows:
            client.log_prediction(**MODEL, features=row, prediction=1)
    sent = [
        {name: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v}
        for row in rows
        for name, v in row.items()
    ]
    arrived = [{n: v} for row in transport.predictions for n, v in row["features"].items()]
    assert arrived == sent


def test_messages_stay_within_the_limits(transport):
    with Client(transport=transport, max_queue_rows=10**6, max_queue_bytes=10**9) as client:
        n = 3 * MAX_ROWS
        ids = client.log_batch(**MODEL, frame={"x": [0] * n}, prediction=[1] * n)
        wide = {f"f{i}": ["some text or other"] * 2_000 for i in range(100)}
        ids += client.log_batch(**MODEL, frame=wide, prediction=["a"] * 2_000)
    decoded = [decode(message.value) for message in transport.messages]
    assert all(len(message.value) < MAX_MESSAGE_BYTES for message in transport.messages)
    assert all(columns.n <= MAX_ROWS for d in decoded for columns in d.columns)
    assert [i for d in decoded for c in d.columns for i in c.prediction_id] == ids


def test_a_naive_datetime_is_utc(client, transport):
    client.log_prediction(**MODEL, features={}, prediction=1, ts=datetime(2026, 11, 1))  # noqa: DTZ001
    client.flush()
    assert transport.predictions[0]["ts"] == 1_793_491_200_000
