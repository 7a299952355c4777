"""The client and a real broker: what is logged arrives, once, and can be read by the codec."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from driftline import Client, decode

pytestmark = pytest.mark.kafka

MODEL = {"model": "fraud", "version": "2026-11-01"}


def decoded(records):
    """Ids of all predictions and labels of the records; nothing may be refused."""
    predictions, labels = [], []
    for record in records:
        content = decode(record.value())
        assert not content.rejects
        predictions += [event.prediction_id for event in content.predictions]
        predictions += [i for columns in content.columns for i in columns.prediction_id]
        labels += [event.prediction_id for event in content.labels]
    return predictions, labels


def read_all(read_topic, topic, rows, timeout=30.0):
    """The records that hold so many rows."""
    deadline, count = time.monotonic() + timeout, 1
    while time.monotonic() < deadline:
        records = read_topic(topic, count)
        predictions, labels = decoded(records)
        if len(predictions) + len(labels) >= rows:
            return records
        count = len(records) + 1
    raise AssertionError(f"{topic}: not {rows} rows within {timeout} s")


def test_everything_logged_arrives_once(broker, topics, topic_prefix, read_topic):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    client = Client(broker.bootstrap, topic_prefix=prefix)
    singles = []
    for i in range(500):
        singles.append(
            client.log_prediction(**MODEL, features={"x": float(i), "c": "a"}, prediction=i % 2)
        )
        client.log_label(singles[-1], i % 2, model="fraud")
    table = client.log_batch(**MODEL, frame={"x": [1.0] * 3_000}, prediction=["a"] * 3_000)
    assert client.close(timeout=30)
    stats = client.stats()
    assert stats.delivered == stats.logged == 4_000
    predictions, _ = decoded(read_all(read_topic, topics.predictions, 3_500))
    _, labels = decoded(read_all(read_topic, topics.labels, 500))
    assert sorted(predictions) == sorted(singles + table)
    assert sorted(labels) == sorted(singles)


def test_a_single_event_is_keyed_by_its_id_and_a_batch_by_nothing(broker, topics, read_topic):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    with Client(broker.bootstrap, topic_prefix=prefix) as client:
        pid = client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)
        assert client.flush(30)
        client.log_batch(**MODEL, frame={"x": [1.0, 2.0]}, prediction=[1, 0])
    keys = {record.key() for record in read_topic(topics.predictions, 2)}
    assert keys == {pid.encode(), None}


@pytest.mark.parametrize("codec", ["lz4", "zstd", "gzip", "snappy", "none"])
def test_every_codec_of_kafka_may_be_chosen(broker, topics, read_topic, codec):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    with Client(broker.bootstrap, topic_prefix=prefix, kafka={"compression.type": codec}) as client:
        client.log_batch(**MODEL, frame={"x": [1.0] * 2_000}, prediction=[1] * 2_000)
        assert client.flush(30)
    predictions, _ = decoded(read_topic(topics.predictions, 1))
    assert len(predictions) == 2_000


PROGRAM = """
import os, sys
from driftline import Client
client = Client(sys.argv[1], topic_prefix=sys.argv[2], flush_interval_ms=60_000)
def log(who):
    client.log_prediction(
        model="m", version="1", features={"x": 1.0}, prediction=1, prediction_id=who
    )
log("parent")
client.flush(20)
if os.fork() == 0:
    log("child")
    sys.exit(0)
log("parent again")
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_what_was_logged_before_the_end_of_parent_and_child_is_sent_at_exit(
    broker, topics, read_topic
):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, broker.bootstrap, prefix], timeout=60, check=True
    )
    predictions, _ = decoded(read_topic(topics.predictions, 3))
    assert sorted(predictions) == ["child", "parent", "parent again"]


def test_the_serving_example_serves(broker, topics, read_topic, capsys):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    script = Path(__file__).parents[2] / "examples" / "serving.py"
    runpy.run_path(str(script))["main"](broker.bootstrap, 120, prefix)
    assert "delivered=190" in capsys.readouterr().out  # 120 predictions and 70 labels
    assert len(decoded(read_all(read_topic, topics.predictions, 120))[0]) == 120


@pytest.mark.needs("restart")
def test_a_broker_that_goes_away_and_comes_back_costs_nothing_but_time(broker, topics, read_topic):
    prefix = topics.predictions.removesuffix("driftline.predictions")
    with Client(broker.bootstrap, topic_prefix=prefix) as client:
        ids = [client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1)]
        assert client.flush(30)
        broker.kill()
        ids += [client.log_prediction(**MODEL, features={"x": 1.0}, prediction=1) for _ in range(9)]
        assert not client.flush(1.0)
        broker.restart()
        assert client.flush(60)
        assert client.stats().delivered == 10
    predictions, _ = decoded(read_all(read_topic, topics.predictions, 10))
    assert set(predictions) == set(ids)
