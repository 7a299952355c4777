"""`driftline export` and `driftline doctor` against a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from driftline.alerts import encode
from streams.brokers import Broker
from streams.cli import app
from streams.topics import Topics
from streams.watchdog.alerts import PipelineAlerts
from streams.watchdog.rules import Bad, Key, rules
from tests.integration.live import feed
from tests.integration.test_cli import at, run, send
from tests.integration.test_pipeline import SETTLE_MS, monitors
from tests.stream import lines, make_stream

__all__ = ["monitors"]  # a fixture


def test_replay_of_exported_traffic_is_replay_of_what_was_sent(
    broker: Broker, make_topics: Callable[..., Topics], monitors: Path, tmp_path: Path
):
    topics = make_topics(create_time=True)
    stream = make_stream(300, seed=3)
    sent, found = tmp_path / "sent", tmp_path / "found"
    for folder in (sent, found):
        folder.mkdir()
    (sent / "predictions.jsonl").write_bytes(lines(stream.predictions))
    (sent / "labels.jsonl").write_bytes(lines(stream.labels))
    feed(broker.bootstrap, topics, stream, end_ms=stream.last_arrival + SETTLE_MS)
    files = found / "predictions.jsonl", found / "labels.jsonl"
    said = run(
        *("export", "--predictions", files[0], "--labels", files[1], "--json"),
        *at(broker, topics),
    )
    assert [each["records"] for each in json.loads(said.stdout).values()] == [
        len(stream.predictions) + sum(_is_object(value) for _, value in stream.poison),
        len(stream.labels),
    ]
    expected, exported = (replayed(folder, monitors) for folder in (sent, found))
    assert exported[1:] == expected[1:]  # alerts and windows, to the byte
    for name in ("predictions", "labels", "joined", "duplicates", "orphan_labels", "late"):
        assert exported[0][name] == expected[0][name] > 0, name


def replayed(folder: Path, monitors: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """Summary, alerts and windows of the files in a folder."""
    alerts, windows = folder / "alerts.jsonl", folder / "windows.jsonl"
    done = run(
        *("replay", "--json", "--config", monitors, "--alerts", alerts, "--windows", windows),
        *("--predictions", folder / "predictions.jsonl", "--labels", folder / "labels.jsonl"),
    )
    return json.loads(done.stdout), alerts.read_bytes(), windows.read_bytes()


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        return False


def test_an_export_of_a_span_holds_what_arrived_in_it(
    broker: Broker, make_topics: Callable[..., Topics], tmp_path: Path
):
    topics = make_topics(create_time=True, source_partitions=2)
    stream = make_stream(60, clean=True)
    feed(broker.bootstrap, topics, stream, end_ms=stream.last_arrival)
    begin, end = "2026-09-21T14:20:00Z", "2026-09-21T14:25:00Z"
    out = tmp_path / "p.jsonl"
    run("export", "--predictions", out, "--since", begin, "--until", end, *at(broker, topics))
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    since = stream.predictions[0]["ts"] - stream.predictions[0]["ts"] % 300_000
    assert rows, since
    assert [row["arrival"] for row in rows] == sorted(row["arrival"] for row in rows)
    expected = lines([e for e in stream.predictions if _in(e["arrival"], begin, end)])
    ids = sorted((e["prediction_id"], e["version"]) for e in map(orjson.loads, expected.split()))
    assert sorted((row["prediction_id"], row["version"]) for row in rows) == ids


def _in(arrival: int, begin: str, end: str) -> bool:
    from driftline.rules import iso_ms

    return (iso_ms(begin) or 0) <= arrival < (iso_ms(end) or 0)


def doctor(*args: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, args)])


def test_doctor_names_missing_topics_and_what_to_do(broker: Broker, topic_prefix: str):
    said = doctor("--broker", broker.bootstrap, "--topic-prefix", topic_prefix)
    assert said.exit_code == 1
    wanted = f"BAD  topics: {topic_prefix}driftline-rows: missing -> driftline topics apply"
    assert wanted in said.stdout


def test_doctor_finds_no_worker_and_pipeline_alerts_that_fire(broker: Broker, topics: Topics):
    [alert] = PipelineAlerts(rules(45.0, 60.0, 30.0)).step(
        {Key("join", "lost", f"{topics.rows}/0"): Bad(3)}, 0.0, 1_790_000_000_000
    )
    send(broker, topics.alerts, encode(alert), key=alert.fingerprint.encode())
    said = doctor("--probe", "--json", *at(broker, topics))
    found = {c["name"]: c for c in map(json.loads, said.stdout.splitlines())}
    assert said.exit_code == 1
    verdicts = {name: check["verdict"] for name, check in found.items()}
    for name in ("monitors", "destinations", "state folder", "broker", "lag"):
        assert verdicts[name] == "ok", found[name]
    assert verdicts["workers"] in {"bad", "note"}
    assert verdicts["pipeline"] == "bad"
    assert "lost 3 offsets" in found["pipeline"]["what"]
    assert verdicts["clock"] in {"ok", "note"}, found["clock"]


def test_doctor_says_when_no_broker_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.watchdog.doctor.TIMEOUT_S", 0.5)
    broken = tmp_path / "monitors"
    broken.mkdir()
    (broken / "fraud.yaml").write_text("model: fraud\nno_such_key: 1\n")
    said = doctor("--broker", "127.0.0.1:1", "--config", broken)
    assert said.exit_code == 3  # the first bad line
    assert "BAD  monitors" in said.stdout
    assert "BAD  broker" in said.stdout
