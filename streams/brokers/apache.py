"""Apache Kafka on this machine: a single node in KRaft mode, for tests and a closer look."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from streams.brokers.api import BrokerUnavailableError, Capability
from streams.brokers.jars import KAFKA_VERSION, Jars, find_jars
from streams.brokers.local import LocalBroker
from streams.brokers.process import free_ports

_HEAP = ("-Xms256m", "-Xmx512m")
_FORMAT_S = 60.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# Topics come from the topic table; a misspelt name shall fail, not appear.
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
# After kill -9 the node waits for its own former registration to expire: 12.8 s with the default
# of 9 s, 5.5 s with this.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def start_apache() -> LocalBroker:
    """Start Apache Kafka on free ports; fetches it on first use.

    Raises:
        BrokerUnavailableError: Java or Maven is missing, or the fetch or the start failed.
    """
    jars = find_jars()
    folder = Path(tempfile.mkdtemp(prefix="driftline-kafka-"))
    try:
        return _start(jars, folder)
    except BaseException:  # also on Ctrl-C: the folder goes with the broker
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _start(jars: Jars, folder: Path) -> LocalBroker:
    port, controller = free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(
        _PROPERTIES.format(port=port, controller=controller, data=folder / "data")
    )
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING)
    java = [
        jars.java,
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
        # A killed JVM leaves its unpacked codec libraries behind; here they go with the folder.
        f"-Djava.io.tmpdir={folder}",
        "-XX:-UsePerfData",
        "-cp",
        jars.class_path,
    ]
    _format(java, properties)
    return LocalBroker(
        name=f"Apache Kafka {KAFKA_VERSION} (from jars)",
        port=port,
        command=[java[0], *_HEAP, *java[1:], "kafka.Kafka", str(properties)],
        capabilities=frozenset(Capability),
        folder=folder,
    ).start()


def _format(java: list[str], properties: Path) -> None:
    """Give the data folder its cluster id, without which a KRaft node does not start."""
    cluster_id = (
        base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    )  # may begin with a dash
    tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster_id}"]
    answer = subprocess.run(  # noqa: S603 - java as found on PATH, fixed arguments
        [*java, *tool, "-c", str(properties)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=_FORMAT_S,
    )
    if answer.returncode != 0:
        output = " | ".join((answer.stdout + answer.stderr).strip().splitlines())
        raise BrokerUnavailableError(f"Apache Kafka could not format its folder: {output[-300:]}")
