"""How far a deployment is: what its join stage told detect of the arrivals that it has passed."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Message

from streams.kafka.frames import unpack
from streams.topics import Topics
from tests.chaos.faults import FaultError
from tests.integration.live import Reader


class Progress:
    """Reads the observations topic on, from its beginning."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._reader = Reader(bootstrap, topics.observations)
        self._channels = topics.partitions**2
        self._reached: dict[tuple[int, str], int] = {}
        """(partition, log) -> arrival that partition was told of for that log."""
        self._seen = 0

    def wait(self, arrival: int, timeout: float, meanwhile: Callable[[], object]) -> None:
        """Returns once everything that arrived before `arrival` was emitted.

        Args:
            arrival: in ms.
            timeout: in seconds.
            meanwhile: called every few seconds.

        Raises:
            FaultError: it was not, in so many seconds.
        """
        for _ in range(max(1, int(timeout / 5))):
            meanwhile()
            if self._reader.until(lambda records: self._at(records) >= arrival, timeout=5):
                return
        raise FaultError(f"what had come before was not done after {timeout:.0f} s")

    def records(self, arrival: int, more_s: float = 0) -> list[Message]:
        """All records until everything that arrived before `arrival` was emitted, and some more."""
        self.wait(arrival, 60, lambda: None)
        self._reader.until(lambda _: False, timeout=more_s)
        return self._reader.records

    def close(self) -> None:
        """Ends the reader."""
        self._reader.close()

    def _at(self, records: list[Message]) -> int:
        for record in records[self._seen :]:
            for log, arrival in unpack(record.value()).arrivals.items():
                channel = record.partition(), log
                self._reached[channel] = max(arrival, self._reached.get(channel, -1))
        self._seen = len(records)
        return min(self._reached.values()) if len(self._reached) == self._channels else -1
