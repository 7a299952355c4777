"""Bring a cluster's topics in line with the topic table; idempotent, may run at every start."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    TopicMetadata,
)

from driftline.errors import BrokerUnreachable, DriftlineError
from streams.topics import Topic, Topics

MAX_REPLICATION = 3
_POLL_S = 0.1


class TopicMismatchError(DriftlineError):
    """An internal topic has other partitions than the settings say; a person must decide."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that `apply` did or could not do, for people."""

    topic: str
    what: str
    done: bool = True

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}" if self.done else f"{self.topic}: cannot {self.what}"


def apply(
    bootstrap: str,
    topics: Topics | None = None,
    *,
    create_time: bool = False,
    timeout: float = 30.0,
) -> list[Change]:
    """Create what is missing, alter what differs, and wait until the cluster shows it.

    Partitions are added to source topics only. Topics with more partitions than the table says are
    left alone, unless they are internal.

    Args:
        bootstrap: `host:port`, or several with commas.
        topics: The deployment's topics; absent: the defaults.
        create_time: Keep producers' timestamps on predictions and labels, see `Topic.config`.
        timeout: Seconds for all of it.

    Returns:
        What was changed, in table order; empty if all was as it should be. What the broker cannot
        do is in the list, too, with `done=False`.

    Raises:
        BrokerUnreachable: No broker answered, or not in time.
        TopicMismatchError: An internal topic has another partition count. Nothing was changed then.
    """
    cluster = _Cluster(bootstrap, time.monotonic() + timeout)
    table = (topics or Topics()).table()
    found = cluster.topics()
    _check_internal(table, found)
    missing = [topic for topic in table if topic.name not in found]
    present = [topic for topic in table if topic.name in found]
    changes: dict[str, list[Change]] = {topic.name: [] for topic in table}
    for change in (
        *cluster.create(missing, create_time=create_time),
        *cluster.grow(present, found),
        *cluster.configure(present, create_time=create_time),
    ):
        changes[change.topic].append(change)
    return [change for topic in table for change in changes[topic.name]]


def differences(
    bootstrap: str, topics: Topics, *, create_time: bool = False, timeout: float = 10.0
) -> list[str]:
    """What `apply` would do, as texts; it changes nothing.

    Raises: BrokerUnreachable; TopicMismatchError, as `apply`.
    """
    cluster = _Cluster(bootstrap, time.monotonic() + timeout)
    table = topics.table()
    found = cluster.topics()
    _check_internal(table, found)
    said = [f"{topic.name}: missing" for topic in table if topic.name not in found]
    present = [topic for topic in table if topic.name in found]
    for topic in present:
        count = len(found[topic.name].partitions)
        if topic.source and count < topic.partitions:
            said.append(f"{topic.name}: {count} partitions, the settings say {topic.partitions}")
    wanted = {topic.name: topic.config(create_time=create_time) for topic in present}
    differing, refused = cluster.differences(wanted)
    for name, values in differing.items():
        said += [f"{name}: {key} is {old}, not {new}" for key, (old, new) in values.items()]
    return said + [str(change) for change in refused]


def _check_internal(table: Sequence[Topic], found: Mapping[str, TopicMetadata]) -> None:
    for topic in table:
        count = len(found[topic.name].partitions) if topic.name in found else topic.partitions
        if topic.internal and count != topic.partitions:
            raise TopicMismatchError(
                f"internal topic {topic.name} has {count} partitions, the settings say "
                f"{topic.partitions}; the count is fixed once the topic exists. Keep it with "
                f"`driftline topics apply --partitions {count}` (and the same setting for every "
                "worker), or stop all workers and delete the internal topics to start over."
            )


class _Cluster:
    """What `apply` asks of a cluster, each request within one common deadline."""

    def __init__(self, bootstrap: str, deadline: float) -> None:
        self._bootstrap = bootstrap
        self._deadline = deadline
        # Errors come back from each request; librdkafka's own log lines would only repeat them.
        self._admin = AdminClient(
            {
                "bootstrap.servers": bootstrap,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def topics(self) -> dict[str, TopicMetadata]:
        """All topics of the cluster by name, once it answers."""
        return dict(self._metadata().topics)

    def create(self, missing: Sequence[Topic], *, create_time: bool) -> list[Change]:
        """Create topics; one that appeared meanwhile counts as there."""
        if not missing:
            return []
        replicas = min(MAX_REPLICATION, len(self._metadata().brokers))
        # With fewer copies in sync than this, a write is refused rather than kept by one broker.
        in_sync = {"min.insync.replicas": str(max(1, replicas - 1))}
        futures = self._admin.create_topics(
            [
                NewTopic(
                    topic.name,
                    topic.partitions,
                    replicas,
                    config=topic.config(create_time=create_time) | in_sync,
                )
                for topic in missing
            ]
        )
        made = []
        for topic in missing:
            error = self._error(futures[topic.name])
            if error is None:
                made.append(Change(topic.name, f"created, {topic.partitions} partitions"))
            elif error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                made.append(Change(topic.name, f"create it: {error.str()}", done=False))
        self._wait_until_usable(missing, made)
        return made

    def grow(self, present: Sequence[Topic], found: Mapping[str, TopicMetadata]) -> list[Change]:
        """Add the partitions that source topics lack."""
        changes = []
        for topic in present:
            count = len(found[topic.name].partitions)
            if not topic.source or count >= topic.partitions:
                continue
            what = f"partitions {count} -> {topic.partitions}"
            future = self._admin.create_partitions([NewPartitions(topic.name, topic.partitions)])
            changes.append(self._change(topic.name, what, future[topic.name]))
        self._wait_until_usable(present, changes)
        return changes

    def configure(self, present: Sequence[Topic], *, create_time: bool) -> list[Change]:
        """Alter what differs from the table, and wait until the broker answers with it."""
        wanted = {topic.name: topic.config(create_time=create_time) for topic in present}
        differing, changes = self.differences(wanted)
        for name, values in differing.items():
            entries = [
                ConfigEntry(key, new, incremental_operation=AlterConfigOpType.SET)
                for key, (_, new) in values.items()
            ]
            resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
            what = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in values.items())
            future = self._admin.incremental_alter_configs([resource])[resource]
            changes.append(self._change(name, what, future))
        altered = {change.topic for change in changes if change.done}
        # A broker applies configuration a moment after it has accepted it.
        while self.differences({name: wanted[name] for name in altered})[0]:
            self._pause("the new configuration of " + ", ".join(sorted(altered)))
        return changes

    def _wait_until_usable(self, topics: Sequence[Topic], changes: Sequence[Change]) -> None:
        """Return when every partition of what was changed is there and has a leader."""
        done = {change.topic for change in changes if change.done}
        waiting = {topic.name: topic.partitions for topic in topics if topic.name in done}
        while waiting:
            found = self.topics()
            waiting = {n: count for n, count in waiting.items() if _led(found.get(n)) < count}
            if waiting:
                self._pause("all partitions of " + ", ".join(waiting))

    def differences(
        self, wanted: Mapping[str, Mapping[str, str]]
    ) -> tuple[dict[str, dict[str, tuple[str | None, str]]], list[Change]]:
        """Topic -> key -> (value now, value wanted) where they differ; and what we may not read."""
        if not wanted:
            return {}, []
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
        differing = {}
        refused = []
        for resource, future in self._admin.describe_configs(resources).items():
            if error := self._error(future):
                what = f"read its configuration: {error.str()}"
                refused.append(Change(resource.name, what, done=False))
                continue
            now = {key: entry.value for key, entry in self._result(future).items()}
            values = {
                key: (now.get(key), value)
                for key, value in wanted[resource.name].items()
                if now.get(key) != value
            }
            if values:
                differing[resource.name] = values
        return differing, refused

    def _metadata(self) -> ClusterMetadata:
        while True:
            try:
                metadata = self._admin.list_topics(timeout=min(5.0, self._left()))
            except KafkaException as error:
                self._pause(str(error.args[0].str()))
                continue
            if metadata.brokers:
                return metadata
            self._pause("a broker in the cluster's metadata")

    def _change(self, topic: str, what: str, future: Future[Any]) -> Change:
        error = self._error(future)
        if error is None:
            return Change(topic, what)
        return Change(topic, f"change {what}: {error.str()}", done=False)

    def _error(self, future: Future[Any]) -> KafkaError | None:
        try:
            self._result(future)
        except KafkaException as error:
            return error.args[0]
        return None

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result(timeout=self._left())
        except TimeoutError:
            raise self._unreachable("no answer to an administration request") from None

    def _left(self) -> float:
        return max(0.1, self._deadline - time.monotonic())

    def _pause(self, waiting_for: str) -> None:
        if time.monotonic() >= self._deadline:
            raise self._unreachable(f"still waiting for: {waiting_for}")
        time.sleep(_POLL_S)

    def _unreachable(self, detail: str) -> BrokerUnreachable:
        return BrokerUnreachable(self._bootstrap, detail)


def _led(topic: TopicMetadata | None) -> int:
    """How many partitions have a leader."""
    return sum(p.leader >= 0 for p in topic.partitions.values()) if topic else 0
