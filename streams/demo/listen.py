"""Reads what Driftline publishes, as any subscriber would: the alert and the window topic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

POLL_S = 0.1
BATCH = 500


class Listener:
    """A thread that hands each record's value to its topic's handler, from the topics' beginning.

    Attributes:
        error: what a handler raised, which ended the thread.
    """

    def __init__(self, bootstrap: str, handlers: Mapping[str, Callable[[bytes], None]]) -> None:
        self.error: Exception | None = None
        self._handlers = handlers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "driftline-demo",  # the library wants one; nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )

    def __enter__(self) -> Self:
        """Starts to read."""
        topics: Any = self._consumer.list_topics(timeout=10).topics
        self._consumer.assign(
            [
                TopicPartition(name, partition, 0)
                for name in self._handlers
                for partition in topics[name].partitions
            ]
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stops reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(BATCH, POLL_S):
                value = message.value()
                if message.error() is None and value is not None:
                    try:
                        self._handlers[message.topic()](value)
                    except Exception as error:  # the demo must end with it, not hang without us
                        self.error = error
                        return
