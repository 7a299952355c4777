"""The ids that a cluster gives its topics: one that was deleted and made again has another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 5.0
FRESH_S: Final = 10.0
"""So long an id is not asked for again: a rebalance opens many partitions of one topic."""


class ClusterTopicIds:
    """Implements `streams.session.TopicIds` by asking the cluster."""

    def __init__(self, bootstrap: Sequence[str]) -> None:
        self._bootstrap = ",".join(bootstrap)
        self._known: dict[str, tuple[float, str]] = {}
        self._admin: AdminClient | None = None

    async def of(self, topic: str) -> str:
        """The id of a topic as text; empty if the broker has none, or did not say in time."""
        asked, found = self._known.get(topic, (-FRESH_S, ""))
        if time.monotonic() - asked >= FRESH_S:
            found = await asyncio.to_thread(self._ask, topic)
            self._known[topic] = (time.monotonic(), found)
        return found

    def _ask(self, topic: str) -> str:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        try:
            future = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=TIMEOUT_S
            )[topic]
            topic_id = future.result(timeout=TIMEOUT_S + 1).topic_id
        except (KafkaException, TimeoutError) as error:
            log.warning("%s: its id cannot be had (%s); its name must do", topic, error)
            return ""
        if topic_id is None or not topic_id.get_most_significant_bits():
            return ""
        return str(topic_id)
