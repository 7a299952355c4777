"""The client against a broker that is not there, and Kafka's own ways of failing."""

import os
import socket
import subprocess
import sys
import time

import pytest

from driftline import Client
from driftline.transports.kafka import KafkaTransport

MODEL = {"model": "fraud", "version": "1"}
FEATURES = {"amount": 12.5, "country": "DE"}


@pytest.fixture
def nobody():
    """An address at which connections are refused: bound, so that nobody else can listen there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_dead_broker_costs_serving_no_time_and_close_keeps_its_timeout(nobody):
    client = Client(nobody)
    started = time.monotonic()
    ids = [client.log_prediction(**MODEL, features=FEATURES, prediction="a") for _ in range(5_000)]
    client.log_labels(prediction_id=ids, label=["a"] * len(ids), model="fraud")
    assert time.monotonic() - started < 10  # 0.05 s on an idle machine
    started = time.monotonic()
    assert not client.close(timeout=2.0)
    assert time.monotonic() - started < 2.5
    stats = client.stats()
    assert stats.undelivered == stats.logged == 10_000
    assert stats.queued == stats.in_flight == stats.delivered == 0
    assert "onnect" in stats.last_error or "urged" in stats.last_error


def test_a_flush_to_a_dead_broker_gives_up_at_its_timeout(nobody):
    client = Client(nobody)
    client.log_prediction(**MODEL, features=FEATURES, prediction="a")
    assert not client.flush(timeout=0.2)
    assert not client.close(timeout=0.5)
    assert client.stats().undelivered == 1


def test_a_full_buffer_of_kafka_fills_the_queue_and_then_drops(nobody):
    kafka = {"queue.buffering.max.messages": 2, "message.timeout.ms": 300_000}
    client = Client(nobody, kafka=kafka, max_queue_rows=100, flush_interval_ms=1)
    for _ in range(2_000):
        client.log_prediction(**MODEL, features=FEATURES, prediction="a")
    deadline = time.monotonic() + 10
    while client.stats().in_flight == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not client.close(timeout=1.0)
    stats = client.stats()
    assert stats.dropped["queue_full"] >= 1_000
    assert stats.undelivered + stats.dropped["queue_full"] == 2_000


def test_messages_that_time_out_are_undelivered_and_told_with_the_reason(nobody):
    client = Client(nobody, kafka={"message.timeout.ms": 100, "linger.ms": 0}, flush_interval_ms=1)
    client.log_prediction(**MODEL, features=FEATURES, prediction="a")
    assert client.flush(timeout=20)  # settled, if not delivered
    assert client.stats().undelivered == 1
    assert "timed out" in client.stats().last_error
    client.close(timeout=0.2)


def test_settings_that_kafka_does_not_know_are_refused_at_once(nobody):
    with pytest.raises(ValueError, match=r"no\.such\.setting"):
        Client(nobody, kafka={"no.such.setting": 1})


def test_a_bootstrap_may_be_written_as_a_url(nobody):
    KafkaTransport(f"kafka://{nobody}").close(0.1)


PROGRAM = """
import os, sys
from driftline import Client
client = Client(sys.argv[1], exit_timeout_s=0.5)
client.log_prediction(model="m", version="1", features={"x": 1.0}, prediction=1)
client.flush(0.2)
if sys.argv[2] == "fork" and os.fork() == 0:
    if sys.argv[3] == "logs":
        client.log_prediction(model="m", version="1", features={"x": 1.0}, prediction=1)
        client.flush(0.2)
        assert client.stats().logged == client.stats().in_flight == 1, client.stats()
    sys.exit(7)
if sys.argv[2] == "fork":
    _, status = os.wait()
    sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(nobody: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, nobody, *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_process_with_a_dead_broker_ends_within_the_exit_timeout(nobody):
    started = time.monotonic()
    ended = run(nobody, "alone")
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - started < 15
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("child", ["logs", "idles"])
def test_a_forked_child_does_not_hang_on_the_producer_of_its_parent(nobody, child):
    ended = run(nobody, "fork", child)
    assert ended.returncode == 7, ended.stderr
    assert "Traceback" not in ended.stderr
