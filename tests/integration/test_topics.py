"""`apply` brings a cluster in line with the topic table, and then has nothing more to do."""

from __future__ import annotations

import dataclasses

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from driftline.errors import BrokerUnreachable
from streams.brokers import Broker, start_broker
from streams.brokers.process import free_ports
from streams.kafka.provision import TopicMismatchError, apply
from streams.topics import ALERTS, DAY_MS, Topics


@pytest.fixture
def fresh(topic_prefix: str) -> Topics:
    """Topics that do not exist yet."""
    return Topics(prefix=topic_prefix)


def partitions(broker: Broker, topics: Topics) -> dict[str, int]:
    found = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
    return {topic.name: len(found[topic.name].partitions) for topic in topics.table()}


def config(broker: Broker, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    entries = admin.describe_configs([resource])[resource].result(timeout=10)
    return {key: entry.value for key, entry in entries.items()}


def test_applying_creates_every_topic_and_applying_again_changes_nothing(
    broker: Broker, fresh: Topics
) -> None:
    topics = dataclasses.replace(fresh, partitions=3, source_partitions=2)
    changes = apply(broker.bootstrap, topics)
    assert [change.topic for change in changes] == [topic.name for topic in topics.table()]
    assert all(change.done and "created" in change.what for change in changes)
    assert partitions(broker, topics) == {t.name: t.partitions for t in topics.table()}
    assert apply(broker.bootstrap, topics) == []


@pytest.mark.parametrize("create_time", [False, True])
def test_every_topic_has_the_configuration_of_the_table(
    create_time: bool, broker: Broker, fresh: Topics
) -> None:
    apply(broker.bootstrap, fresh, create_time=create_time)
    for topic in fresh.table():
        wanted = topic.config(create_time=create_time)
        assert wanted.items() <= config(broker, topic.name).items()


def test_a_configuration_that_differs_is_altered_and_named(broker: Broker, fresh: Topics) -> None:
    apply(broker.bootstrap, fresh)
    longer = dataclasses.replace(fresh, retention={ALERTS: 60 * DAY_MS})
    (change,) = apply(broker.bootstrap, longer)
    assert change.done
    assert str(change).startswith(f"{fresh.alerts}: retention.ms {30 * DAY_MS} -> {60 * DAY_MS}")
    assert config(broker, fresh.alerts)["retention.ms"] == str(60 * DAY_MS)
    assert apply(broker.bootstrap, longer) == []


@pytest.mark.needs("create_partitions")
def test_source_topics_gain_partitions(broker: Broker, fresh: Topics) -> None:
    apply(broker.bootstrap, fresh)
    more = dataclasses.replace(fresh, source_partitions=6)
    changes = apply(broker.bootstrap, more)
    assert [str(change) for change in changes] == [
        f"{name}: partitions 4 -> 6" for name in (more.predictions, more.labels, more.commands)
    ]
    assert partitions(broker, more) == {t.name: t.partitions for t in more.table()}


def test_what_a_broker_refuses_is_reported_and_not_raised(fresh: Topics) -> None:
    with start_broker("embedded", say=str) as embedded:
        apply(embedded.bootstrap, fresh)
        changes = apply(embedded.bootstrap, dataclasses.replace(fresh, source_partitions=6))
    assert [change.done for change in changes] == [False] * 3
    assert "cannot change partitions 4 -> 6" in str(changes[0])


def test_source_topics_with_more_partitions_than_asked_are_left_alone(
    broker: Broker, fresh: Topics
) -> None:
    apply(broker.bootstrap, dataclasses.replace(fresh, source_partitions=6))
    assert apply(broker.bootstrap, fresh) == []


def test_an_internal_topic_with_another_count_stops_everything_and_says_what_to_run(
    broker: Broker, fresh: Topics
) -> None:
    apply(broker.bootstrap, fresh)
    changed = dataclasses.replace(fresh, partitions=8, retention={ALERTS: 60 * DAY_MS})
    with pytest.raises(TopicMismatchError, match="driftline topics apply --partitions 4"):
        apply(broker.bootstrap, changed)
    assert config(broker, fresh.alerts)["retention.ms"] == str(30 * DAY_MS)


def test_without_a_broker_it_says_so_in_time() -> None:
    (port,) = free_ports(1)
    with pytest.raises(BrokerUnreachable, match=f"127.0.0.1:{port}"):
        apply(f"127.0.0.1:{port}", timeout=0.5)
