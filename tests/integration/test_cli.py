"""Commands that talk to a broker: topics, emit, alerts and dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner, Result

from driftline.alerts import Alert, DetectorRef, Statistic, encode
from streams.brokers import Broker
from streams.cli import app
from streams.topics import Topics

T = 1_793_500_000_000
ReadTopic = Callable[..., list[Message]]


def run(*args: object) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def at(broker: Broker, topics: Topics) -> list[str]:
    return ["--broker", broker.bootstrap, "--topic-prefix", topics.prefix]


def send(broker: Broker, topic: str, *values: bytes, **record: object) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for value in values:
        producer.produce(topic, value, **record)
    assert producer.flush(30) == 0


def test_topics_apply_creates_them_once(broker: Broker, topic_prefix: str):
    command = ["topics", "apply", "--broker", broker.bootstrap, "--topic-prefix", topic_prefix]
    created = run(*command, "--partitions", 2).stdout.splitlines()
    assert f"{topic_prefix}driftline-rows: created, 2 partitions" in created
    again = run(*command, "--partitions", 2, "--json")
    assert [change for change in json.loads(again.stdout) if change["done"]] == []


def test_emit_sends_events_in_time_with_clocks_between(
    broker: Broker, make_topics: Callable[..., Topics], read_topic: ReadTopic, tmp_path: Path
):
    topics = make_topics(create_time=True, source_partitions=2)
    predictions, labels = tmp_path / "p.jsonl", tmp_path / "l.jsonl"
    events = [
        {"prediction_id": f"p{i}", "model": "m", "version": "1", "ts": T + 50_000 * i,
         "prediction": 1}
        for i in range(6)
    ]  # fmt: skip
    truth = [{"prediction_id": f"p{i}", "label": 1, "ts": T + 50_000 * i + 9} for i in range(6)]
    predictions.write_bytes(b"\n".join(map(orjson.dumps, events)) + b"\nnot json\n")
    labels.write_bytes(b"\n".join(map(orjson.dumps, truth)))
    sent = json.loads(
        run(
            *("emit", predictions, labels, *at(broker, topics)),
            *("--create-time", "--clock", "--json"),
        ).stdout
    )
    last = T + 250_009
    assert sent == {"predictions": 7, "labels": 6, "clocks": sent["clocks"], "last_ms": last}
    assert sent["clocks"] % 4 == 0
    per_topic = sent["clocks"] // 2
    records = read_topic(topics.predictions, 7 + per_topic)
    values = [r for r in records if r.value() is not None]
    assert {r.key() for r in values} == {f"p{i}".encode() for i in range(6)} | {None}
    assert sorted(r.timestamp()[1] for r in values)[:6] == [T + 50_000 * i for i in range(6)]
    clocks = [r for r in records if r.value() is None]
    ends = {int(dict(r.headers())["driftline-clock"]) for r in clocks}
    assert max(ends) == last + 3_600_000 + 600_000  # the last window of the defaults has closed
    for partition in (0, 1):  # a clock never overtakes what it speaks of
        times = [r.timestamp()[1] for r in records if r.partition() == partition]
        assert times == sorted(times)


def test_dlq_lists_reason_place_and_bytes(broker: Broker, topics: Topics):
    for reason, value in (("not_json", b"{oops"), ("bad_ts", b"\xff")):
        headers = [
            ("reason", reason.encode()), ("detail", b"why"), ("topic", b"driftline.predictions"),
            ("partition", b"1"), ("offset", b"42"),
        ]  # fmt: skip
        send(broker, topics.deadletters, value, headers=headers)
    (letter,) = map(
        json.loads,
        run("dlq", *at(broker, topics), "--reason", "not_json", "--json").stdout.splitlines(),
    )
    assert (letter["value"], letter["topic"], letter["offset"]) == (
        "{oops", "driftline.predictions", 42
    )  # fmt: skip
    table = run("dlq", *at(broker, topics)).stdout
    assert "not_json" in table
    assert "bad_ts" in table


@pytest.fixture
def alerts(broker: Broker, topics: Topics) -> Topics:
    def alert(fingerprint: str, revision: int, **fields: str) -> bytes:
        known = {
            "status": "firing",
            "reason": "opened",
            "severity": "warning",
            "summary": f"{fingerprint} {revision}",
        }
        return encode(
            Alert(
                **(known | fields),  # type: ignore[arg-type]
                id=f"{fingerprint}{revision}",
                fingerprint=fingerprint,
                revision=revision,
                kind="feature_drift",
                model="m",
                version="1",
                signal="feature:x",
                rule="drift",
                detector=DetectorRef("adwin"),
                statistic=Statistic("mean_rank", 0.7),
                started_at="2026-11-01T00:00:00.000Z",
                detected_at="2026-11-01T00:10:00.000Z",
            )
        )

    send(
        broker,
        topics.alerts,
        alert("a", 1),
        alert("a", 2, status="resolved", reason="recovered"),
        alert("b", 1),
        alert("b", 2, severity="critical", reason="escalated"),
        alert("b", 1),  # delivered twice, late
        b"not an alert",
        key=b"k",
    )
    return topics


def test_alerts_prints_the_present_state_of_each_incident(broker: Broker, alerts: Topics):
    firing = run("alerts", *at(broker, alerts), "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in firing] == ["b2"]
    everything = run("alerts", *at(broker, alerts), "--all", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in everything] == ["a2", "b2"]
    assert "critical" in run("alerts", *at(broker, alerts)).stdout
    assert run("alerts", *at(broker, alerts), "--model", "other").stdout == ""
