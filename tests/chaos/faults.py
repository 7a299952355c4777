"""The faults of a campaign: each hurts a running deployment in its own way."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.disks import Disks, filled
from tests.integration.live import Workers

SESSION_S = 6
"""Session timeout of the workers."""
MOST_WORKERS = 3
OPENED_S = 60.0
"""How long a new worker may take to its first partition's state."""
FILL_DISK = "fill a disk"
"""Needs the right to mount; where that is missing, this kind is left out."""
STOP_S = 20.0
"""How long SIGTERM may take: ten seconds on a machine of one's own."""


class FaultError(AssertionError):
    """The deployment did not do under a fault what it has to."""


@dataclass
class Deployment:
    """What the faults act on. `folders`: the state folder of each worker that runs, by pid."""

    cluster: Cluster | None
    workers: Workers
    rng: random.Random
    root: Path
    folders: dict[int, Path] = field(default_factory=dict)
    ended: int = 0
    """Workers that ended by themselves and were started again."""
    disks: Disks = field(default_factory=Disks)
    on_disk: bool = True
    """Whether join keeps what waits on disk; else in memory."""

    def start(self, folder: Path | None = None) -> subprocess.Popen[bytes]:
        """One more worker, with a state folder of its own or that of a worker that is gone."""
        folder = folder or self.root / f"state-{self.workers.started}"
        self.workers.settings["DRIFTLINE_STATE_DIR"] = str(folder) if self.on_disk else ""
        process = self.workers.start()
        self.folders[process.pid] = folder
        return process

    def any_worker(self) -> subprocess.Popen[bytes]:
        """One that runs; ended ones are replaced first."""
        for process in list(self.workers.running):
            if process.poll() is not None:
                self.workers.running.remove(process)
                self.ended_by_itself(process)
        return self.rng.choice(self.workers.running)

    def ended_by_itself(self, process: subprocess.Popen[bytes]) -> None:
        """What a supervisor does."""
        self.ended += 1
        self.start(self.folders.pop(process.pid))

    @property
    def armed(self) -> int:
        """Messages that are to be lost and were not sent yet."""
        return 0 if self.cluster is None else sum(self.cluster.proxies.armed.values())

    @property
    def brokers(self) -> Cluster:
        """What faults on brokers act on."""
        assert self.cluster is not None
        return self.cluster

    def end(self) -> None:
        """No worker runs any more, however it is."""
        for process in list(self.workers.running):
            self.workers.kill(process)
        self.disks.end()


Fault = Callable[[Deployment], None]


def kill_worker(on: Deployment) -> None:
    """kill -9 and start again on the same disk."""
    victim = on.any_worker()
    on.workers.kill(victim)
    on.start(on.folders.pop(victim.pid))


def zombie(on: Deployment) -> None:
    """Stops a worker past its session timeout; its partitions move; then it goes on."""
    victim = on.any_worker()
    if len(on.workers.running) == 1:
        on.start()
    victim.send_signal(signal.SIGSTOP)
    time.sleep(SESSION_S + 4)
    victim.send_signal(signal.SIGCONT)
    time.sleep(2)


def add_worker(on: Deployment) -> None:
    """A worker joins, so partitions move; the oldest leaves if there would be too many."""
    if len(on.workers.running) >= MOST_WORKERS:
        remove_worker(on)
    on.start()


def remove_worker(on: Deployment) -> None:
    """SIGTERM: it writes its checkpoints and leaves within ten seconds."""
    victim = on.any_worker()
    if len(on.workers.running) == 1:
        on.start()
    stop_worker(on, victim)


def stop_worker(on: Deployment, victim: subprocess.Popen[bytes]) -> Path:
    """SIGTERM, and it ends in time with exit code 0; returns the state folder that it leaves.

    Raises:
        FaultError: it does not.
    """
    on.workers.running.remove(victim)
    folder = on.folders.pop(victim.pid)
    victim.terminate()
    began = time.monotonic()
    try:
        code = victim.wait(60)
    except subprocess.TimeoutExpired:
        victim.kill()
        raise FaultError("SIGTERM: still there after a minute") from None
    if code == -signal.SIGTERM and not on.workers.consumes(victim.pid):
        code = 0  # it had not begun yet
    if time.monotonic() - began > STOP_S or code:
        raise FaultError(f"SIGTERM: exit code {code} after {time.monotonic() - began:.0f} s")
    return folder


def kill_broker(on: Deployment) -> None:
    """One of three brokers dies and comes back; its partitions get other leaders."""
    victim = on.rng.choice(on.brokers.nodes)
    victim.kill()
    time.sleep(on.rng.uniform(3, 8))
    on.brokers.restart(victim)


def restart_brokers(on: Deployment) -> None:
    """All brokers at once: nobody answers for a while."""
    for node in on.brokers.nodes:
        node.kill()
    for node in on.brokers.nodes:
        node.begin()
    on.brokers.wait()


def lose_request(on: Deployment) -> None:
    """A worker's produce request never reaches the broker."""
    _lose(on, "request")


def lose_response(on: Deployment) -> None:
    """The broker has a worker's messages, but its answer is lost: they are sent again."""
    _lose(on, "response")


def _lose(on: Deployment, what: str) -> None:
    """Armed until it happens: if nothing flows just now, the next part of the stream meets it."""
    before = on.brokers.proxies.lost[what]
    on.brokers.proxies.lose(what)
    deadline = time.monotonic() + 5
    while on.brokers.proxies.lost[what] == before and time.monotonic() < deadline:
        time.sleep(0.05)


def lose_disk(on: Deployment) -> None:
    """The machine is gone with its disk; another one takes over with an empty folder."""
    victim = on.any_worker()
    on.workers.kill(victim)
    shutil.rmtree(on.folders.pop(victim.pid), ignore_errors=True)
    on.start()


def limit_files(on: Deployment) -> None:
    """No file of a worker can grow for a while; a worker that ends is started again."""
    victim = on.any_worker()
    soft, hard = resource.prlimit(victim.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (0, hard))
    time.sleep(on.rng.uniform(2, 5))
    if victim.poll() is None:
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (soft, hard))


def fill_disk(on: Deployment) -> None:
    """A worker moves to a machine with a small disk, and another program fills it for a while."""
    victim = on.any_worker()
    on.workers.kill(victim)
    shutil.rmtree(on.folders.pop(victim.pid), ignore_errors=True)
    disk = on.disks.small()
    on.start(disk / "state")
    deadline = time.monotonic() + OPENED_S
    while not any(disk.glob("state/**/CURRENT")):  # it has no partition yet
        if time.monotonic() > deadline:
            raise FaultError(f"the new worker has nothing on disk after {OPENED_S:.0f} s")
        time.sleep(0.1)
    with filled(disk):
        time.sleep(on.rng.uniform(2, 5))


FAULTS: Mapping[str, Fault] = {
    "kill -9 a worker": kill_worker,
    "zombie worker": zombie,
    "add a worker": add_worker,
    "remove a worker": remove_worker,
    "kill one broker of three": kill_broker,
    "restart all brokers": restart_brokers,
    "lose a produce request": lose_request,
    "lose a produce response": lose_response,
    "lose a state folder": lose_disk,
    "let no file grow": limit_files,
    FILL_DISK: fill_disk,
}
