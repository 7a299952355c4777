"""The whole path on a real broker: what live workers say is what `replay` says of the files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.brokers import Broker
from streams.topics import Topics
from tests.integration.live import ROOT, Reader, Workers, feed, newest
from tests.stream import Stream, lines, make_stream

SETTLE_MS = 3_600_000 + 600_000
"""Window and lateness: where replay moves its clock to after the last arrival."""

MONITOR = "model: {model}\nlabels: {{horizon: 6h}}\nreference: warmup 500\n"


@dataclass
class Expected:
    """What replay made of the files."""

    summary: dict[str, Any]
    alerts: dict[str, dict[str, Any]]
    windows: dict[str, dict[str, Any]]


def window_key(window: dict[str, Any]) -> str:
    return f"{window['model']}@{window['version']}|{window['start']}|{window['size_ms']}"


def by_window(windows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for window in windows:
        key = window_key(window)
        if key not in found or window["revision"] >= found[key]["revision"]:
            found[key] = window
    return found


@pytest.fixture
def monitors(tmp_path: Path) -> Path:
    folder = tmp_path / "monitors"
    folder.mkdir()
    for model in ("fraud", "price"):
        (folder / f"{model}.yaml").write_text(MONITOR.format(model=model))
    return folder


def replay(stream: Stream, monitors: Path, folder: Path, code: Path = ROOT) -> Expected:
    """`driftline replay` over the stream's files, as a user runs it; `code`: whose program."""
    files = {name: folder / f"{name}.jsonl" for name in ("predictions", "labels")}
    files["predictions"].write_bytes(lines(stream.predictions))
    files["labels"].write_bytes(lines(stream.labels))
    alerts, windows = folder / "alerts.jsonl", folder / "windows.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "streams.cli", "replay", "--json"),
            *("--predictions", files["predictions"], "--labels", files["labels"]),
            *("--config", monitors, "--alerts", alerts, "--windows", windows),
        ],
        check=True,
        capture_output=True,
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
    )
    said = [orjson.loads(line) for line in alerts.read_bytes().splitlines()]
    closed = [orjson.loads(line) for line in windows.read_bytes().splitlines()]
    return Expected(orjson.loads(done.stdout), {a["id"]: a for a in said}, by_window(closed))


@dataclass
class Live:
    """A deployment on the broker at hand."""

    workers: Workers
    topics: Topics
    bootstrap: str

    def says(self, expected: Expected, timeout: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Alerts by id and the newest windows, once both are as expected or time is up."""
        alerts = Reader(self.bootstrap, self.topics.alerts)
        windows = Reader(self.bootstrap, self.topics.windows)
        seen = lambda records: {orjson.loads(r.value())["id"] for r in records}  # noqa: E731
        latest = lambda records: newest(records, lambda w: w["revision"])  # noqa: E731
        want = {key: w["revision"] for key, w in expected.windows.items()}
        try:
            windows.until(
                lambda rs: {window_key(w): w["revision"] for w in latest(rs).values()} == want,
                timeout=timeout,
            )
            alerts.until(lambda rs: seen(rs) >= expected.alerts.keys(), timeout=20)
            said = (orjson.loads(r.value()) for r in alerts.records)
            found = {a["id"]: a for a in said if a["kind"] != "pipeline"}
            return found, {window_key(w): w for w in latest(windows.records).values()}
        finally:
            alerts.close()
            windows.close()

    def wait_for_observations(self, more: int) -> None:
        """Returns once join has emitted so many further messages."""
        rows = Reader(self.bootstrap, self.topics.observations)
        try:
            rows.until(lambda _: False, timeout=0.5)
            wanted = len(rows.records) + more
            assert rows.until(lambda seen: len(seen) >= wanted, timeout=60), self.workers.logs()
        finally:
            rows.close()


@pytest.fixture
def live(
    broker: Broker, make_topics: Callable[..., Topics], monitors: Path, tmp_path: Path
) -> Iterator[Live]:
    topics = make_topics(create_time=True)
    workers = Workers(broker.bootstrap, topics, tmp_path, monitors)
    yield Live(workers, topics, broker.bootstrap)
    codes = workers.stop()
    assert not any(codes), workers.logs()


def check(live: Live, expected: Expected, timeout: float = 120) -> None:
    """Alerts, windows and exact counters of the workers are those of replay."""
    alerts, windows = live.says(expected, timeout)
    assert windows.keys() == expected.windows.keys(), live.workers.logs()
    for key, window in expected.windows.items():
        assert windows[key] == window, live.workers.logs()
    assert alerts == expected.alerts
    counts = live.workers.counters()
    for name in ("joined", "duplicates", "late"):
        assert counts[name] == expected.summary[name], (name, counts)


def test_two_workers_say_what_replay_says(live: Live, monitors: Path, tmp_path: Path):
    stream = make_stream(3_000)
    expected = replay(stream, monitors, tmp_path)
    assert {a["kind"] for a in expected.alerts.values()} >= {"concept_drift", "feature_drift"}
    live.workers.start()
    live.workers.start()
    feed(live.bootstrap, live.topics, stream, end_ms=stream.last_arrival + SETTLE_MS)
    check(live, expected)


def feed_slowly(live: Live, stream: Stream, *, seconds: float, slices: int = 50) -> None:
    """Sends the stream bit by bit, so that a worker can be killed in the middle of it."""
    cuts = [e["arrival"] for e in stream.predictions[:: len(stream.predictions) // slices]][1:]
    begin = 0
    for cut in cuts:
        feed(live.bootstrap, live.topics, stream.since(begin).until(cut), end_ms=cut)
        begin = cut
        time.sleep(seconds / slices)
    end = stream.last_arrival + SETTLE_MS
    feed(live.bootstrap, live.topics, stream.since(begin), end_ms=end)
