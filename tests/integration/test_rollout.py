"""Workers come and go while traffic flows, and say themselves what is wrong with them."""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import Message, Producer

from driftline.alerts import Alert, decode_alert, encode
from streams.watchdog.alerts import PipelineAlerts
from streams.watchdog.rules import Bad, Key, rules
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
    [opened] = PipelineAlerts(rules(45.0, 60.0, 30.0)).step(
        {Key("notify", "undelivered", "oncall"): Bad(1.0)}, 0.0, 1_790_000_000_000
    )
    say(live, opened)  # a worker that is no more had given up an alert
    killed, stopped, last = (live.workers.start() for _ in range(3))
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
    assert newest(live, opened, revision=2).status == "resolved"
    stop_by_force(live, last)


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


def stop_by_force(live: Live, worker: subprocess.Popen[bytes]) -> None:
    """A second signal ends it where it is."""
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
        assert reader.until(
            lambda found: sum(_is_of(alert, r) for r in found) >= revision, timeout=40
        ), live.workers.logs()
        mine = [decode_alert(r.value()) for r in reader.records if _is_of(alert, r)]
        return max(mine, key=lambda a: a.order)
    finally:
        reader.close()


def _is_of(alert: Alert, record: Message) -> bool:
    return bool(record.key() == alert.fingerprint.encode())
