"""A broker that runs as our child process, with its data in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.brokers.api import BrokerUnavailableError, Capability
from streams.brokers.process import spawn

READY_S = 60.0
"""A single node is ready in seconds; a minute allows for a busy machine."""

_STOP_S = 10.0
_LOG_TAIL = 300


class LocalBroker:
    """One broker process of ours: started, watched, killed and started again.

    Attributes:
        folder: Its data and its log `broker.log`, removed by `stop`.
    """

    def __init__(
        self,
        *,
        name: str,
        port: int,
        command: Sequence[str],
        capabilities: frozenset[Capability],
        folder: Path,
    ) -> None:
        self._name = name
        self._bootstrap = f"127.0.0.1:{port}"
        self._command = list(command)
        self._capabilities = capabilities
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """What it is and where, for people."""
        return f"{self._name}, {self._bootstrap}"

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; stays the same over restarts."""
        return self._bootstrap

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""
        return self._capabilities

    @property
    def pid(self) -> int | None:
        """Process id, for tests that stop and continue it; None when it does not run."""
        return self._process.pid if self._process else None

    def start(self, timeout: float = READY_S) -> Self:
        """Start it and return when it answers a metadata request (an open port is not enough).

        Raises:
            BrokerUnavailableError: It ended, or did not answer in time.
        """
        self.begin()
        self.ready(timeout)
        return self

    def begin(self) -> None:
        """Start the process without waiting for an answer."""
        self._process = spawn(self._command, log=self.folder / "broker.log")

    def ready(self, timeout: float = READY_S) -> None:
        """Return when it answers; it is killed if it does not. Raises as `start`."""
        assert self._process is not None
        log = self.folder / "broker.log"
        try:
            self._wait_until_ready(self._process, log, time.monotonic() + timeout)
        except BaseException:  # whatever ends the wait, Ctrl-C too, must not leave a process
            self.kill()
            raise

    def kill(self) -> None:
        """End it as `kill -9` does: nothing is flushed, no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
            self._process = None

    def restart(self) -> None:
        """Start it again on the same port and data; kills it first if it runs."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Kill it and remove its data: nobody needs either again, so there is no slow goodbye."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _wait_until_ready(
        self, process: subprocess.Popen[bytes], log: Path, deadline: float
    ) -> None:
        admin = AdminClient(
            {
                "bootstrap.servers": self._bootstrap,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        while process.poll() is None and time.monotonic() < deadline:
            try:
                found = admin.list_topics(timeout=1)
            except KafkaException:
                continue
            led = [p.leader >= 0 for t in found.topics.values() for p in t.partitions.values()]
            if found.brokers and all(led):  # after a restart, partitions come back one by one
                return
        text = log.read_text(errors="replace").strip()
        ended = process.poll()
        what = "did not answer in time" if ended is None else f"ended with exit code {ended}"
        raise BrokerUnavailableError(
            f"{self._name} {what}: {' | '.join(text.splitlines())[-_LOG_TAIL:] or 'no output'}"
        )
