"""What every test may ask for: a broker, and names that no other test uses.

`DRIFTLINE_TEST_BROKER` says which broker: `auto` (KAFKA_BOOTSTRAP if set, else Apache Kafka from
jars, else the embedded one), `external`, `apache` or `embedded`. The first test that asks
starts it.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import settings

from streams.brokers import Broker, Capability, Kind, start_broker
from streams.kafka.provision import apply
from streams.topics import Topics

# A busy machine is no reason to fail: pytest's own timeout ends what hangs.
settings.register_profile("driftline", deadline=None)
settings.load_profile("driftline")

KIND = cast("Kind", os.environ.get("DRIFTLINE_TEST_BROKER", "auto"))

_USED = pytest.StashKey[list[str]]()
_SKIPPED = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_USED] = []
    config.stash[_SKIPPED] = set()


def pytest_report_header() -> str:
    return f"broker: {KIND} (DRIFTLINE_TEST_BROKER), started by the first test that needs one"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses a broker carries the marker `kafka`; nobody has to remember it."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash[_USED] or ["broker: none was needed"]
    for line in lines:
        terminalreporter.write_line(line)
    if lacking := config.stash[_SKIPPED]:
        terminalreporter.write_line(
            "broker: tests were skipped for what it lacks: " + ", ".join(sorted(lacking))
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of a spread run hands on what it used."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["brokers"] = session.config.stash[_USED]
        output["lacking"] = sorted(map(str, session.config.stash[_SKIPPED]))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The first process gathers it."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[_USED] += output.get("brokers", [])
    node.config.stash[_SKIPPED] |= set(output.get("lacking", []))


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The broker of this run."""
    with start_broker(KIND, say=request.config.stash[_USED].append) as running:
        yield running


@pytest.fixture(autouse=True)
def _needed_capabilities(request: pytest.FixtureRequest) -> None:
    """Skips a test marked `needs(...)` where the broker lacks it; Apache Kafka lacks nothing."""
    needed = {Capability(c) for mark in request.node.iter_markers("needs") for c in mark.args}
    if not needed:
        return
    running: Broker = request.getfixturevalue("broker")
    if lacking := needed - running.capabilities:
        request.config.stash[_SKIPPED] |= lacking
        kind = running.name.partition(" (")[0]
        pytest.skip(f"{kind} lacks {', '.join(sorted(lacking))}")


@pytest.fixture
def topic_prefix() -> str:
    """Put before topic names: no other test and no former run has used them."""
    return f"t{secrets.token_hex(4)}-"


@pytest.fixture
def group() -> str:
    """A consumer group (and Faust application id) of this test's own."""
    return f"g{secrets.token_hex(4)}"


@pytest.fixture
def make_topics(broker: Broker) -> Iterator[Callable[..., Topics]]:
    """Creates topics of this test's own: `make_topics(create_time=True, partitions=2)`."""
    made: list[Topics] = []

    def make(*, create_time: bool = False, **settings: int) -> Topics:
        topics = Topics(prefix=f"t{secrets.token_hex(4)}-", **settings)
        apply(broker.bootstrap, topics, create_time=create_time)
        made.append(topics)
        return topics

    yield make
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    names = [topic.name for topics in made for topic in topics.table()]
    if names:  # so that a long run does not pile up thousands of partitions
        for future in admin.delete_topics(names).values():
            future.exception(timeout=30)  # a test may have deleted some, or killed the broker


@pytest.fixture
def topics(make_topics: Callable[..., Topics]) -> Topics:
    """The topic table with a prefix of this test's own, created on the broker."""
    return make_topics()


@pytest.fixture
def read_topic(broker: Broker) -> Callable[..., list[Message]]:
    """Reads a topic from its start: `read_topic(topic, 3)` waits for 3 records and returns them."""

    def read(topic: str, count: int, *, timeout: float = 20.0) -> list[Message]:
        return read_records(broker.bootstrap, topic, count, timeout=timeout)

    return read


def read_records(bootstrap: str, topic: str, count: int, *, timeout: float) -> list[Message]:
    """The records of all partitions, in order within each; fails if fewer come in time."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": secrets.token_hex(4)})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
        records: list[Message] = []
        deadline = time.monotonic() + timeout
        while len(records) < count and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                records.append(message)
    finally:
        consumer.close()
    assert len(records) >= count, f"{topic}: {len(records)} of {count} records came in {timeout} s"
    return records
