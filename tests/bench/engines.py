"""What is measured on the broker: Driftline's workers, and the baselines' applications."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil
from prometheus_client.parser import text_string_to_metric_families

from streams.brokers.process import spawn
from tests.bench.feed import Feed
from tests.bench.job import progress_of

ROOT = Path(__file__).parents[2]
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
CHECKPOINT_S = 10
HANDLED = ("driftline_rows_received_total", "detect")
"""Predictions and outcomes that came to the last stage: every event once."""


class EngineError(RuntimeError):
    """An engine ended, or did not do what it should; the message has the end of its log."""


class Engine(Protocol):
    """Something that reads a feed."""

    clocked: bool
    """Whether it needs clock records."""

    @property
    def processes(self) -> list[psutil.Process]:
        """What its CPU time and memory are read from."""

    def start(self) -> None:
        """Starts it; returns at once."""

    def stop(self) -> None:
        """Ends it."""

    def ready(self) -> bool:
        """Whether it has its partitions, as far as it says."""

    def handled(self) -> int:
        """Events it is done with. May cost the engine something."""

    def quiet(self, cpu_share: float) -> bool:
        """Whether to ask `handled` now, given its CPU use since a moment ago (1: one core)."""


@dataclass
class Children:
    """Processes that log to files and die with us."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """One more, from the root of the repository."""
        log = self.folder / f"{len(self.running)}.log"
        self.running.append(spawn(command, log=log, env=environment))

    @property
    def processes(self) -> list[psutil.Process]:
        """Those that run.

        Raises:
            EngineError: one has ended.
        """
        for at, child in enumerate(self.running):
            if child.poll() is not None:
                raise EngineError(f"ended with exit code {child.returncode}: {self.tail(at)}")
        return [psutil.Process(child.pid) for child in self.running]

    def log(self, at: int) -> str:
        """What one of them said."""
        path = self.folder / f"{at}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def tail(self, at: int) -> str:
        """The end of what it said."""
        return " | ".join(self.log(at).splitlines()[-6:])[-800:]

    def stop(self) -> None:
        """SIGKILL: nobody needs what they know any more."""
        for child in self.running:
            child.kill()
            child.wait()
        self.running.clear()


class App:
    """A baseline's application, whose progress stands in a file."""

    clocked = False

    def __init__(self, module: str, feed: Feed, folder: Path, python: str = sys.executable) -> None:
        self._progress = folder / "progress"
        self._children = Children(folder)
        self._command = [
            *(python, "-m", f"tests.bench.{module}", feed.bootstrap, f"{feed.topics.prefix}app"),
            *(*feed.sources, str(self._progress)),
        ]

    @property
    def processes(self) -> list[psutil.Process]:
        return self._children.processes

    def start(self) -> None:
        self._children.start(self._command, {**os.environ, "PYTHONPATH": str(ROOT)})

    def stop(self) -> None:
        self._children.stop()

    def ready(self) -> bool:
        return True  # it does not say: the warm-up shows

    def handled(self) -> int:
        return progress_of(self._progress)

    def quiet(self, _cpu_share: float) -> bool:
        return True  # its progress costs it nothing to read


class Workers:
    """`driftline worker`, once or several times, with checkpoints every CHECKPOINT_S."""

    clocked = True

    def __init__(
        self,
        feed: Feed,
        folder: Path,
        monitors: Path,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._children = Children(folder)
        self._workers = workers
        self._command = [*prefix, sys.executable, "-m", "streams.cli", "worker"]
        self._asked = 0.0
        self.shares: list[int] = []
        """What each worker had handled when `handled` was last asked."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTLINE_")}
        self._environment = {
            **clean,
            "DRIFTLINE_BROKER": feed.bootstrap,
            "DRIFTLINE_TOPIC_PREFIX": feed.topics.prefix,
            "DRIFTLINE_PARTITIONS": str(feed.topics.partitions),
            "DRIFTLINE_SOURCE_PARTITIONS": str(feed.topics.source_partitions),
            "DRIFTLINE_CLOCK": "records",
            "DRIFTLINE_MONITORS": str(monitors),
            "DRIFTLINE_HEALTH_HOST": "127.0.0.1",
            "DRIFTLINE_HEALTH_PORT": "0",
            "DRIFTLINE_CHECKPOINT_INTERVAL_S": str(CHECKPOINT_S),
            "DRIFTLINE_SESSION_TIMEOUT_S": "6",
            "DRIFTLINE_HEARTBEAT_INTERVAL_S": "1",
            "DRIFTLINE_REBALANCE_TIMEOUT_S": "6",
            "DRIFTLINE_LOG_LEVEL": "info",
            **(settings or {}),
        }

    @property
    def processes(self) -> list[psutil.Process]:
        return self._children.processes

    def start(self) -> None:
        for _ in range(self._workers):
            self._children.start(self._command, self._environment)

    def stop(self) -> None:
        self._children.stop()

    def ready(self) -> bool:
        return all(self._get(at, "healthz/ready") is not None for at in range(self._workers))

    def handled(self) -> int:
        name, stage = HANDLED
        self.shares = [int(self._value(at, name, stage=stage)) for at in range(self._workers)]
        return sum(self.shares)

    def value(self, name: str, **labels: str) -> float:
        """The sum of a series over all workers."""
        return sum(self._value(at, name, **labels) for at in range(self._workers))

    def quiet(self, cpu_share: float) -> bool:
        """Seldom while it works, because it pays for each answer; at once when it has done."""
        now = time.monotonic()
        pause = 0.3 if cpu_share < 0.4 * self._workers else 3.0
        if now - self._asked < pause:
            return False
        self._asked = now
        return True

    def _value(self, at: int, name: str, **labels: str) -> float:
        text = self._get(at, f"metrics?name[]={name}")
        wanted = "\n".join(line for line in (text or "").splitlines() if line.startswith(name))
        return sum(
            sample.value
            for family in text_string_to_metric_families(wanted)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _get(self, at: int, path: str) -> str | None:
        """An answer of one worker's health port; None before it is up, or if it says no."""
        found = re.search(r"http://[\d.]+:(\d+)/metrics", self._children.log(at))
        if found is None:
            return None
        url = f"http://127.0.0.1:{found.group(1)}/{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return None
