"""What people answer, and what follows, in a real worker on a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner

from driftline.actions import Action, decode_action
from driftline.alerts import Alert, decode_alert
from streams.brokers import Broker
from streams.cli.app import app
from streams.kafka.frames import unpack
from streams.notify.ledger import decode
from streams.topics import Topics
from tests.integration.live import Reader, Workers, feed
from tests.integration.test_notifier import listening, publish, wait
from tests.notifying import make_alert
from tests.receiver import KEY, SECRET, Receiver, verified
from tests.stream import make_stream

MONITOR = """
model: {model}
labels: {{horizon: 6h}}
reference: warmup 500
remediation:
  - on: {{kind: {kind}, severity: [info, warning, critical]}}
    do: {do}
    mode: {mode}
    limit: 1 per day
    verify_within: 5m
    with: {{destination: deploys}}
"""
DESTINATIONS = """
destinations:
  - {name: deploys, kind: webhook, url: URL, secret_env: HOOK_SECRET, match: {model: none}}
  - {name: journal, kind: log}
"""


def say(broker: Broker, topics: Topics, *words: str) -> str:
    """A command as an operator types it; returns what it printed."""
    options = ["--broker", broker.bootstrap, "--topic-prefix", topics.prefix]
    result = CliRunner().invoke(app, [*words, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def alerts_of(records: list[Message]) -> list[Alert]:
    return [decode_alert(r.value()) for r in records]


def actions_of(records: list[Message]) -> list[Action]:
    return [decode_action(r.value()) for r in records]


def commands_in(records: list[Message]) -> int:
    """Commands that ingest sent on."""
    frames = (frame for r in records for frame in unpack(r.value()).frames)
    return sum(frame.kind == "command" for frame in frames)


def test_answers_reach_the_monitors_and_an_approved_rollback_fires_once_in_spite_of_kill_9(
    broker: Broker,
    make_topics: Callable[..., Topics],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    topics = make_topics(create_time=True)
    folder = tmp_path / "monitors"
    folder.mkdir()
    fraud = {"kind": "concept_drift", "do": "retrain", "mode": "approve"}
    price = {"kind": "feature_drift", "do": "shadow", "mode": "dry-run"}
    (folder / "fraud.yaml").write_text(MONITOR.format(model="fraud", **fraud))
    (folder / "price.yaml").write_text(MONITOR.format(model="price", **price))
    stream = make_stream(2_400, clean=True)
    n = len(stream.predictions)
    half = stream.predictions[n * 3 // 4]["arrival"]
    later = half + 120_000  # what is approved now is looked at after that
    with listening(Receiver([503, 200])) as receiver:
        path = tmp_path / "notify.yaml"
        path.write_text(DESTINATIONS.replace("URL", receiver.url))
        settings = {"DRIFTLINE_DESTINATIONS": str(path)}
        workers = Workers(broker.bootstrap, topics, tmp_path, folder, settings)
        alerts, actions = (Reader(broker.bootstrap, t) for t in (topics.alerts, topics.actions))
        commands = Reader(broker.bootstrap, topics.commands)
        ledger = Reader(broker.bootstrap, topics.notifications)
        dead, rows = (Reader(broker.bootstrap, t) for t in (topics.deadletters, topics.rows))
        try:
            first = workers.start()
            feed(broker.bootstrap, topics, stream.until(half), end_ms=half)

            def asked(records: list[Message]) -> bool:
                return {"waiting", "would_run"} <= {a.status for a in actions_of(records)}

            assert actions.until(asked, timeout=90), workers.logs()
            assert alerts.until(lambda rs: len(rs) > 0, timeout=20)
            waiting = next(a for a in actions_of(actions.records) if a.status == "waiting")
            would = next(a for a in actions_of(actions.records) if a.status == "would_run")
            said = say(
                broker, topics, "evidence", would.fingerprint or "", "--json", "--who", "eve"
            )
            assert orjson.loads(said)["matched"] > 20
            producer = Producer({"bootstrap.servers": broker.bootstrap})
            for junk in (b"\xff", b'{"id":"1"}', orjson.dumps({"id": "1" * 100_000})):
                producer.produce(topics.commands, junk)
            assert producer.flush(20) == 0
            say(broker, topics, "actions", "approve", waiting.id, "--who", "ana")
            say(broker, topics, "alerts", "close", would.fingerprint or "", "--why", "known")
            assert dead.until(lambda rs: len(rs) >= 3, timeout=60), workers.logs()
            assert rows.until(lambda rs: commands_in(rs) >= 2, timeout=60), workers.logs()
            feed(broker.bootstrap, topics, stream.since(half).until(later), end_ms=later)

            wait(lambda: len(receiver.seen) == 2, workers.logs, seconds=20)
            workers.kill(first)
            say(broker, topics, "alerts", "rebase", waiting.subject, "--why", "campaign")
            say(broker, topics, "alerts", "silence", "fraud@v1", "--until", "4h")
            publish(broker, topics, make_alert())
            workers.start()

            assert rows.until(lambda rs: commands_in(rs) >= 3, timeout=60), workers.logs()
            feed(broker.bootstrap, topics, stream.since(later), end_ms=stream.last_arrival)

            def done(records: list[Message]) -> bool:
                life = [a.status for a in actions_of(records) if a.id == waiting.id]
                return "done" in life and bool({"helped", "did_not_help"} & set(life))

            assert actions.until(done, timeout=90), workers.logs()
            alerts.until(
                lambda rs: sum(a.reason == "expired" for a in alerts_of(rs)) >= 2, timeout=20
            )
            assert ledger.until(
                lambda rs: any(decode(r.value()).result == "silenced" for r in rs), timeout=20
            )
            assert commands.until(
                lambda rs: any(b"evidence read: " in r.value() and b"eve" in r.value() for r in rs),
                timeout=20,
            )
        finally:
            for reader in (alerts, actions, dead, rows, commands, ledger):
                reader.close()
            for process in list(workers.running):
                workers.kill(process)
        assert 2 <= len(receiver.seen) <= 3, "a refusal, the retry, and a repeat by the kill"
        assert set(receiver.ids()) == {waiting.id}
        assert all(verified(*seen, [KEY]) == [True] for seen in receiver.seen)
        assert {body["status"] for body in receiver.json()} == {"due"}
    reasons = {dict(r.headers())["reason"] for r in dead.records}
    assert reasons in ({b"bad_command", b"not_utf8"}, {b"bad_command", b"not_json"})
    told = {a.fingerprint: a.summary for a in alerts_of(alerts.records) if a.reason == "expired"}
    assert told[would.fingerprint or ""].endswith(": known")
    assert told[waiting.fingerprint or ""].endswith(": campaign")
    due = next(a for a in actions_of(actions.records) if a.status == "due")
    assert (due.who, due.why) == ("ana", "approved by ana")
    assert not [a for a in actions_of(actions.records) if a.policy == would.policy and
                a.status not in ("would_run", "refused")]  # fmt: skip
