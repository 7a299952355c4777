"""The command line: what each command says, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from driftline.alerts import Alert, DetectorRef, Statistic
from driftline.errors import UsageError
from streams.cli import app
from streams.cli.alerts import incidents, present
from streams.cli.deadletters import describe
from streams.cli.replay import conditions
from streams.kafka.records import Record

T = 1_793_500_000_000


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "DRIFTLINE_BROKER", "DRIFTLINE_HEALTH_PORT"):
        monkeypatch.delenv(name, raising=False)


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_help_is_there_without_loading_what_only_commands_need():
    code = (
        "import sys, streams.cli; "
        "heavy = {'numpy', 'scipy', 'river', 'faust', 'confluent_kafka', 'rich.console'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert "replay" in run("--help").stdout


@pytest.mark.parametrize(
    "args", [["bogus"], ["replay"], ["check", "missing.yaml"], ["alerts"], ["worker"], ["emit"]]
)
def test_wrong_use_is_exit_code_2_and_no_traceback(args: list[str]):
    result = run(*args)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_no_broker_at_the_address_is_exit_code_4(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.kafka.records.CONNECT_S", 0.5)
    result = run("alerts", "--broker", "127.0.0.1:9")
    assert result.exit_code == 4
    assert "no Kafka broker answers at 127.0.0.1:9" in result.stderr


def test_a_wrong_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIFTLINE_CHECKPOINT_INTERVAL_S", "soon")
    result = run("topics", "apply", "--broker", "127.0.0.1:9")
    assert result.exit_code == 3
    assert "DRIFTLINE_CHECKPOINT_INTERVAL_S" in result.stderr


def test_check_prints_places_and_exits_with_3(tmp_path: Path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("model: a\nfairness: [{group: g}]\n")
    bad.write_text("model: b\ntask: binry\n")
    result = run("check", tmp_path)
    assert result.exit_code == 3
    assert f"{bad}:2:7: task: 'binry' is not known; did you mean `binary`?" in result.stderr
    assert f"note: {good}:2:11: fairness: understood and kept" in result.stderr
    assert result.stdout == f"{good}: ok, model a\n"
    as_json = run("check", "--json", good)
    assert as_json.exit_code == 0
    assert json.loads(as_json.stdout)["models"] == ["a"]


def test_schema_prints_one_lists_all_and_writes_a_folder(tmp_path: Path):
    one = json.loads(run("schema", "prediction").stdout)
    assert one["$schema"].startswith("https://json-schema.org/")
    assert json.loads(run("schema").stdout)["prediction"] == one
    assert run("schema", "--out", tmp_path / "s").exit_code == 0
    assert json.loads((tmp_path / "s" / "prediction.schema.json").read_text()) == one
    wrong = run("schema", "predicton")
    assert wrong.exit_code == 2
    assert "did you mean `prediction`?" in wrong.stderr


@pytest.fixture
def health_port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = self.path == "/healthz/live"
            self.send_response(200 if ready else 503)
            self.end_headers()
            self.wfile.write(b"{}" if ready else b'{"why": "waiting for the broker"}')

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_health_says_why_a_worker_is_not_ready(health_port: int):
    assert run("health", "--port", health_port, "--live").exit_code == 0
    result = run("health", "--port", health_port)
    assert (result.exit_code, result.stderr) == (1, "waiting for the broker\n")
    assert run("health", "--port", 9).exit_code == 1


ALERT = Alert(
    id="x",
    fingerprint="f",
    revision=1,
    status="firing",
    reason="opened",
    severity="warning",
    kind="concept_drift",
    model="m",
    version="1",
    signal="error",
    rule="drift",
    detector=DetectorRef("adwin"),
    statistic=Statistic("error_rate", 0.2),
    started_at="2026-11-01T00:00:00.000Z",
    detected_at="2026-11-01T00:00:00.000Z",
    summary="worse",
)


def test_the_present_state_is_the_greatest_start_and_revision_of_each_fingerprint():
    resolved = replace(ALERT, revision=2, status="resolved", reason="recovered")
    again = replace(ALERT, started_at="2026-11-02T00:00:00.000Z")
    other = replace(ALERT, fingerprint="g")
    assert present([resolved, ALERT, other, ALERT]) == [resolved, other]
    assert present([again, resolved, other]) == [other, again]
    assert incidents([again, resolved, ALERT, other]) == [resolved, other, again]


def test_fail_on_takes_severities_upwards_and_kinds():
    assert conditions(["warning", "volume"]) == ({"warning", "critical"}, {"volume"})
    with pytest.raises(UsageError, match="did you mean `critical`"):
        conditions(["critcal"])


def test_a_dead_letter_is_described_by_its_headers_and_bytes():
    headers = {"reason": "not_json", "detail": "d", "topic": "t", "partition": "3", "offset": "9"}
    letter = describe(Record("dlq", 0, 0, T, None, b"{not json", headers))
    assert (letter["reason"], letter["partition"], letter["offset"]) == ("not_json", 3, 9)
    assert (letter["value"], letter["bytes"]) == ("{not json", 9)
    binary = describe(Record("dlq", 0, 0, T, None, b"\xff\x00", {}))
    assert (binary["value"], binary["encoding"]) == ("/wA=", "base64")


def write_events(folder: Path) -> list[object]:
    """Files of 300 predictions and their labels, as options of `replay`."""
    predictions = [
        {"prediction_id": f"p{i}", "model": "m", "version": "1", "ts": T + i * 60_000,
         "features": {"x": i % 7}, "prediction": str(i % 2)}
        for i in range(300)
    ]  # fmt: skip
    labels = [
        {"prediction_id": f"p{i}", "label": "1", "ts": T + i * 60_000 + 5_000} for i in range(300)
    ]
    paths = folder / "p.jsonl", folder / "l.jsonl"
    for path, events in zip(paths, (predictions, labels), strict=True):
        path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    monitor = folder / "m.yaml"
    monitor.write_text("model: m\nreference: warmup 100\n")
    return ["--predictions", paths[0], "--labels", paths[1], "--config", monitor]


def test_replay_prints_one_json_object_with_all_that_the_contract_names(tmp_path: Path):
    windows = tmp_path / "w.jsonl"
    result = run("replay", *write_events(tmp_path), "--windows", windows, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["subjects"]["m@1"]["metrics"]["accuracy"] == 0.5
    names = ("predictions", "labels", "joined", "orphan_labels", "late")
    assert [summary[name] for name in names] == [300, 300, 300, 0, 0]
    assert {"duplicates", "rejected", "rejected_by_reason", "alerts"} <= set(summary)
    assert summary["throughput"]["events"] == 600
    assert len(windows.read_bytes().splitlines()) >= 5


def test_replay_prints_tables_for_people(tmp_path: Path):
    result = run("replay", *write_events(tmp_path))
    assert result.exit_code == 0, result.output
    assert "m@1" in result.stdout
    assert "accuracy" in result.stdout
    assert "no alerts" in result.stdout


AGAIN = """
import os, streams.worker
from streams.kafka.opening import SessionsNotOpenedError

def run_worker(settings):
    print(os.getpid(), settings.broker, flush=True)
    if os.environ.setdefault("TURN", "first") == "first":
        os.environ["TURN"] = "second"
        raise SessionsNotOpenedError
    return 0

streams.worker.run_worker = run_worker
from streams.cli.app import main
main()
"""


def test_a_worker_whose_broker_was_away_for_too_long_begins_anew_in_its_own_process():
    command = [sys.executable, "-c", AGAIN, "worker", "--broker", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    first, second = done.stdout.splitlines()
    assert first == second  # process and settings
    assert "beginning anew" in done.stderr


def test_a_worker_that_is_stopped_before_a_broker_answered_ends_well_and_at_once():
    command = [sys.executable, "-m", "streams.cli", "worker", "--broker", "127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the interpreter is there, and the wait begins
        process.terminate()
        assert process.wait(10) == 0, process.stdout.read()
