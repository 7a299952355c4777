"""A rolling restart of two versions while traffic flows, there, back and there again.

Two workers of a former version are replaced one by one by this one, then by the former again, and
again by this. Whatever the former cannot read of what this one wrote has to end it with a message
that says so; this one then takes its place. Compared at the end as after any campaign.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.brokers import Broker
from tests.chaos.campaign import Act, Outcome, play, say
from tests.chaos.faults import Deployment, Fault, FaultError, stop_worker
from tests.chaos.versions import unpack
from tests.integration.live import ROOT, Workers

SETTLED_S = 90.0
"""How long a worker may take until it has its partitions, or has ended."""
ALONE, THERE, BACK = "one version alone", "former -> this version", "this -> former version"
REFUSED = re.compile(r"version", re.IGNORECASE)
"""What the message of a worker must speak of that cannot read what a newer one wrote."""


@dataclass
class Rolling(Deployment):
    """Workers of two versions. `former`: the tree of the other one."""

    former: Path = ROOT
    old: set[int] = field(default_factory=set)
    """Process ids of those that run the former version."""
    refused: list[str] = field(default_factory=list)
    """What workers of the former version said when they ended by themselves."""

    def start(self, folder: Path | None = None) -> subprocess.Popen[bytes]:
        process = super().start(folder)
        if self.workers.code == self.former:
            self.old.add(process.pid)
        return process

    def ended_by_itself(self, process: subprocess.Popen[bytes]) -> None:
        """A former one that cannot read what was written since: this version takes its place."""
        if process.pid in self.old:
            self.refused.append(self.last_words(process))
            self.workers.code = ROOT
        super().ended_by_itself(process)

    def replace(self, by: Path) -> None:
        """One worker of the other version ends in time, and one of this tree goes on on its disk.

        Raises:
            FaultError: the former did not end as it should, or the new one neither begins nor says
                what is wrong.
        """
        other = [p for p in self.workers.running if (p.pid in self.old) == (by != self.former)]
        if not other:
            return
        folder = stop_worker(self, self.rng.choice(other))
        self.workers.code = by
        process = self.start(folder)
        deadline = time.monotonic() + SETTLED_S
        while process.poll() is None and not self.workers.is_ready(process):
            if time.monotonic() > deadline:
                raise FaultError(f"a worker of {by} is not ready after {SETTLED_S:.0f} s")
            time.sleep(0.2)

    def last_words(self, process: subprocess.Popen[bytes]) -> str:
        """What a worker of the former version ended with.

        Raises:
            FaultError: not because of a version that it does not know.
        """
        said = self.workers.logged[process.pid].read_text().splitlines()
        message = next((line for line in reversed(said) if '"critical"' in line), "")
        if not process.returncode or not REFUSED.search(message):
            raise FaultError(f"the former version ended with {process.returncode}: {said[-3:]}")
        return message


def alone(on: Deployment) -> None:
    """Nobody is replaced until every worker has its partitions. Raises: FaultError."""
    deadline = time.monotonic() + SETTLED_S
    while on.any_worker() and not all(map(on.workers.is_ready, on.workers.running)):
        if time.monotonic() > deadline:
            raise FaultError(f"not every worker is ready after {SETTLED_S:.0f} s")
        time.sleep(0.2)


def there(on: Deployment) -> None:
    """A worker of the former version is replaced by one of this."""
    assert isinstance(on, Rolling)
    on.replace(ROOT)


def back(on: Deployment) -> None:
    """A worker of this version is replaced by one of the former."""
    assert isinstance(on, Rolling)
    on.replace(on.former)


_DOES: dict[str, Fault] = {ALONE: alone, THERE: there, BACK: back}
ORDER: Sequence[str] = (ALONE, THERE, THERE, ALONE, BACK, BACK, ALONE, THERE, THERE)
ACTS: list[Act] = [(name, _DOES[name]) for name in ORDER]


def run(seed: int, commit: str, broker: Broker, *, on_disk: bool, logs: Path | None) -> Outcome:
    """One rollout of two workers each; on_disk: with state folders, else in memory.

    Raises:
        NoVersionError: the former version cannot be had here.
    """
    outcome, began = Outcome(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftline-rollout-") as name:
        root = Path(name)
        former = root / "former"
        said = unpack(commit, former)
        say(f"former version: {said}; state {'on disk' if on_disk else 'in memory'}")

        def make(workers: Workers) -> Rolling:
            workers.code = former
            rng = random.Random(seed)
            return Rolling(None, workers, rng, root, former=former, on_disk=on_disk)

        try:
            rolled = play(outcome, broker.bootstrap, root, ACTS, make=make, former=former)
        finally:
            if logs is not None:
                kind = "disk" if on_disk else "memory"
                shutil.copytree(root / "hurt", logs / f"rollout-{seed}-{kind}", dirs_exist_ok=True)
    for message in rolled.refused:
        say(f"  the former version ended: {message}")
    outcome.seconds = time.monotonic() - began
    return outcome
