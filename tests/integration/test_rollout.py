"""Workers come and go while traffic flows, and say themselves what is wrong with them."""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import Producer

from driftline.alerts import Alert, decode_alert, encode
from streams.pipeline_alerts import PipelineAlerts
from streams.pipeline_rules import Bad, Key, rules
from tests.integration.live import Reader
from tests.integration.test_pipeline import Live, feed_slowly, live, monitors, replay
from tests.stream import make_stream

__all__ = ["live", "monitors"]  # fixtures

STOP_LIMIT_S = 10.0


def test_workers_that_come_and_go_under_load_say_what_replay_says(
    live: Live, monitors: Path, tmp_path: Path
):
    stream = make_stream(1_000, seed=23)
    expected = replay(stream, monitors, tmp_path)
    killed, stopped, _ = (live.workers.start() for _ in range(3))
    with ThreadPoolExecutor(1) as pool:
        fed = pool.submit(feed_slowly, live, stream, seconds=8)
        live.wait_for_observations(4)
        live.workers.kill(killed)
        live.wait_for_observations(4)
        stop_in_time(live, stopped)
        live.workers.start()
        fed.result()
    alerts, windows = live.says(expected, timeout=60)
    assert (alerts, windows) == (expected.alerts, expected.windows), live.workers.logs()


def stop_in_time(live: Live, worker: subprocess.Popen[bytes]) -> None:
    """SIGTERM: it ends within ten seconds, and all it did is in checkpoints."""
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, live.workers.logs()
    assert time.monotonic() - began < STOP_LIMIT_S, live.workers.logs()
    live.workers.running.remove(worker)
    said = live.workers.logged[worker.pid].read_text()
    assert "writing checkpoints" in said
    assert "no checkpoint at stop" not in said


def test_a_new_worker_ends_what_its_predecessor_said_and_a_second_signal_ends_it(live: Live):
    key = Key("notify", "undelivered", "oncall")
    alerts = PipelineAlerts(rules(45.0, 60.0, 30.0))
    [opened] = alerts.step({key: Bad(1.0)}, 0.0, 1_790_000_000_000)
    say(live, opened)
    worker = live.workers.start()
    assert newest(live, opened, revision=2).status == "resolved"
    while worker.poll() is None:  # signals that come too close together are one
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert worker.returncode == 128 + signal.SIGTERM, live.workers.logs()
    live.workers.running.remove(worker)


def say(live: Live, alert: Alert) -> None:
    producer = Producer({"bootstrap.servers": live.bootstrap})
    producer.produce(live.topics.alerts, encode(alert), alert.fingerprint.encode())
    assert producer.flush(20) == 0


def newest(live: Live, alert: Alert, *, revision: int) -> Alert:
    """The alert's incident once it has so many revisions."""
    reader = Reader(live.bootstrap, live.topics.alerts)
    try:
        assert reader.until(lambda found: len(found) >= revision, timeout=40), live.workers.logs()
        last = max((decode_alert(r.value()) for r in reader.records), key=lambda a: a.order)
        assert (last.fingerprint, last.started_at) == (alert.fingerprint, alert.started_at)
        return last
    finally:
        reader.close()
