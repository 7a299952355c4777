"""Three Apache Kafka nodes on this machine, each behind a proxy that can lose messages."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streams.brokers.api import BrokerUnavailableError, Capability
from streams.brokers.jars import Jars, find_jars
from streams.brokers.local import LocalBroker
from streams.brokers.process import free_ports
from tests.chaos.proxy import Proxies

NODES = 3
START_S = 120.0
_SMALL = ("-Xms128m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.bootstrap.servers={controllers}
listeners=PLAINTEXT://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{proxy},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=4000
"""


@dataclass
class Cluster:
    """Three nodes; `bootstrap` leads through the proxies."""

    nodes: list[LocalBroker]
    proxies: Proxies
    folder: Path

    @classmethod
    def start(cls) -> Self:
        """Begins all nodes and returns when each answers. Raises: BrokerUnavailableError."""
        folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
        try:
            return cls._start(folder, find_jars())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def _start(cls, folder: Path, jars: Jars) -> Self:
        ports = free_ports(3 * NODES)
        clients, internal, controllers = ports[:3], ports[3:6], ports[6:]
        proxies = Proxies(clients)
        voters = ",".join(
            f"{node}@127.0.0.1:{controllers[node - 1]}:{_id()}" for node in range(1, NODES + 1)
        )
        cluster_id = _id()
        nodes = []
        for node in range(1, NODES + 1):
            home = folder / str(node)
            home.mkdir()
            properties = home / "server.properties"
            properties.write_text(
                _PROPERTIES.format(
                    node=node,
                    controllers=",".join(f"127.0.0.1:{port}" for port in controllers),
                    port=clients[node - 1],
                    internal=internal[node - 1],
                    controller=controllers[node - 1],
                    proxy=proxies.ports[node - 1],
                    data=home / "data",
                )
            )
            java = [jars.java, f"-Djava.io.tmpdir={home}", "-XX:-UsePerfData", "-cp"]
            java.append(jars.class_path)
            _format(java, properties, cluster_id, voters)
            command = [java[0], *_SMALL, *java[1:], "kafka.Kafka", str(properties)]
            nodes.append(
                LocalBroker(
                    name=f"node {node}",
                    port=clients[node - 1],
                    command=command,
                    capabilities=frozenset(Capability),
                    folder=home,
                )
            )
        made = cls(nodes, proxies, folder)
        try:
            for each in nodes:
                each.begin()
            made.wait()
        except BaseException:
            made.stop()
            raise
        return made

    @property
    def bootstrap(self) -> str:
        """host:port of each proxy."""
        return ",".join(f"127.0.0.1:{port}" for port in self.proxies.ports)

    def wait(self) -> None:
        """Returns when every running node answers and all partitions have leaders."""
        for node in self.nodes:
            if node.pid is not None:
                node.ready(START_S)

    def restart(self, node: LocalBroker) -> None:
        """Starts a killed node again and waits for it."""
        node.begin()
        node.ready(START_S)

    def stop(self) -> None:
        """Kills everything and removes its data."""
        for node in self.nodes:
            with suppress(subprocess.TimeoutExpired):
                node.kill()
        self.proxies.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _id() -> str:
    """A Kafka id; one that begins with a dash would be taken for an option."""
    while True:
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


def _format(java: list[str], properties: Path, cluster_id: str, voters: str) -> None:
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
    answer = subprocess.run(
        [*java, *tool, f"--initial-controllers={voters}", "-c", str(properties)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    if answer.returncode:
        raise BrokerUnavailableError(
            f"cannot format a node: {(answer.stdout + answer.stderr)[-300:]}"
        )
