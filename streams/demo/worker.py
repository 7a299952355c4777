"""The demo's worker: the real `driftline worker`, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.brokers.process import free_ports, spawn

MONITORS = Path(__file__).parent / "monitors"
STOP_S = 20.0
LOG_LINES = 15
"""How much of the worker's log is shown when it failed."""

_SETTINGS = {
    "DRIFTLINE_CLOCK": "records",
    "DRIFTLINE_MONITORS": str(MONITORS),
    "DRIFTLINE_CHECKPOINT_INTERVAL_S": "5",
    # The embedded broker lets a group wait for half the session timeout before it starts.
    "DRIFTLINE_SESSION_TIMEOUT_S": "6",
    "DRIFTLINE_HEARTBEAT_INTERVAL_S": "1",
    "DRIFTLINE_HEALTH_HOST": "127.0.0.1",
}


class WorkerProcess:
    """One `driftline worker`, from `with` to its end; it dies with us.

    Args:
        log: file for what it says.
        settings: `DRIFTLINE_*` variables beside those that every demo has: broker, prefix, webhook.
    """

    def __init__(self, log: Path, settings: Mapping[str, str]) -> None:
        self._log = log
        (self._port,) = free_ports(1)
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DRIFTLINE_")},
            **_SETTINGS,
            **settings,
            "DRIFTLINE_HEALTH_PORT": str(self._port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would scrape it."""
        return f"http://127.0.0.1:{self._port}/metrics"

    @property
    def ready(self) -> bool:
        """Whether it has its partitions."""
        url = f"http://127.0.0.1:{self._port}/healthz/ready"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except OSError:  # not up yet; HTTPError, not ready yet, is one, too
            return False

    @property
    def failure(self) -> str | None:
        """Why it is no longer running; None while it runs."""
        code = None if self._process is None else self._process.poll()
        return None if code is None else f"the worker ended with exit code {code}"

    def log_tail(self) -> str:
        """The last lines of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def __enter__(self) -> Self:
        """Starts it."""
        program = "from streams.cli import main; main()"
        self._process = spawn(
            [sys.executable, "-c", program, "worker"], log=self._log, env=self._env
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Lets it write its last checkpoint, then ends it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
