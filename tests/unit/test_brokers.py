"""Which broker is chosen and why, and what is said when one cannot be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.brokers import Capability, start_broker
from streams.brokers.api import BrokerUnavailableError
from streams.brokers.jars import KAFKA_VERSION, cache_folder, find_jars

JAVA_17 = "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH holds only the programs that the test puts here, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("kind", ["auto", "quick", "external"])
def test_a_named_broker_is_taken_as_it_is(kind, programs, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "kafka.example:9092")
    broker = start_broker(kind, say=said.append)
    assert broker.bootstrap == "kafka.example:9092"
    assert said == ["broker: external broker, kafka.example:9092; it was named"]
    assert frozenset(Capability) - broker.capabilities == {Capability.RESTART}


def test_an_argument_goes_before_the_environment(programs, monkeypatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "kafka.example:9092")
    broker = start_broker("auto", bootstrap="other.example:9092", say=str)
    assert broker.bootstrap == "other.example:9092"


def test_external_without_a_name_says_what_to_set(programs) -> None:
    with pytest.raises(BrokerUnavailableError, match="set KAFKA_BOOTSTRAP"):
        start_broker("external")


@pytest.mark.parametrize(
    ("scripts", "why"),
    [
        ({}, "no `java` here; Apache Kafka needs Java 17+"),
        (
            {"java": "echo 'openjdk version \"11.0.2\"' >&2"},
            "Java 11 here; Apache Kafka needs 17+",
        ),
        ({"java": JAVA_17}, "no `mvn` here; Maven fetches Apache Kafka's jars once"),
        (
            {"java": JAVA_17, "mvn": 'echo "[ERROR] no route to host"; echo "[ERROR] b"; exit 1'},
            f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: no route to host",
        ),
    ],
)
def test_without_apache_kafka_the_embedded_broker_starts_and_one_line_says_why(
    scripts: dict[str, str], why: str, programs: Path
) -> None:
    for name, script in scripts.items():
        install(programs, name, script)
    said: list[str] = []
    with start_broker("auto", say=said.append) as broker:
        assert broker.name.startswith("embedded broker")
        assert "development only" in broker.name
        assert said == [f"broker: {broker.name}; instead of Apache Kafka: {why}"]
    with pytest.raises(BrokerUnavailableError) as error:
        start_broker("apache")
    assert str(error.value) == why


def test_the_quick_choice_never_looks_for_java(programs) -> None:
    install(programs, "java", "touch $0.was-called")
    with start_broker("quick", say=str):
        assert not (programs / "java.was-called").exists()


def test_jars_are_fetched_once_and_a_failed_fetch_leaves_nothing_behind(programs) -> None:
    install(programs, "java", JAVA_17)
    install(programs, "mvn", "exit 1")
    with pytest.raises(BrokerUnavailableError):
        find_jars()
    assert not list(cache_folder().glob("kafka-*[!k]"))

    install(programs, "mvn", 'for last; do :; done; /bin/mkdir "${last#-DoutputDirectory=}"')
    folder = find_jars().folder
    assert folder.is_dir()
    (programs / "mvn").unlink()
    assert find_jars().folder == folder


def test_the_cache_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("DRIFTLINE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "driftline"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "driftline"
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_stopped_broker_is_gone_with_its_folder_and_may_be_stopped_again() -> None:
    broker = start_broker("embedded", say=str)
    pid, folder = broker.pid, broker.folder
    assert alive(pid)
    broker.stop()
    broker.stop()
    assert not alive(pid)
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_broker_dies_with_a_parent_that_was_killed(tmp_path) -> None:
    script = (
        "from streams.brokers import start_broker\n"
        "print(start_broker('embedded', say=str).pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # where the orphan's folder is left behind
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def alive(pid: int | None) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
