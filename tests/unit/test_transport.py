"""What the transport does with records that come while a rebalance has stopped the flow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.kafka.pacing import Pacing
from streams.kafka.transport import Consumer

OURS, GONE = TP("rows", 2), TP("rows", 3)
RECORDS: Any = {OURS: ["from offset 5 on"], GONE: ["of a partition that left"]}


class Drained(Consumer):
    """A consumer whose fetches are given; it notes what it hands on and where it reads again."""

    def __init__(self, fetches: list[tuple[bool, Any]]) -> None:
        self._fetches: Iterator[tuple[bool, Any]] = iter(fetches)
        self._pacing = Pacing()
        self._dropped = set()
        self.stages: Any = SimpleNamespace(reader={OURS: SimpleNamespace(next_fetch=5)}.get)
        self.ended = False
        self.delivered: list[Any] = []
        self.rewound: list[tuple[TP, int]] = []

    @property
    def should_stop(self) -> bool:
        return self.ended

    async def sleep(self, *_: Any) -> None:
        pass

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109
        found = next(self._fetches, None)
        self.ended = found is None
        self.flow_active, records = found or (True, {})
        return records, {OURS}

    async def _deliver(self, records: Any, active: Any) -> float:
        self.delivered.append(records)
        return 0.0

    async def rewind(self, tp: TP, position: int) -> None:
        self.rewound.append((tp, position))


def drained(*fetches: tuple[bool, Any]) -> Drained:
    consumer = Drained(list(fetches))
    asyncio.run(consumer._drain_messages(SimpleNamespace(should_stop=False)))
    return consumer


def test_what_was_fetched_while_the_flow_was_stopped_is_read_again_once_it_flows():
    consumer = drained((False, RECORDS), (True, {}), (True, {}))
    assert consumer.rewound == [(OURS, 5)]


def test_what_came_after_what_was_dropped_waits_for_it():
    consumer = drained((False, RECORDS), (True, {OURS: ["later ones"], GONE: ["other"]}))
    assert consumer.delivered[0] == {}


def test_records_that_flow_are_handed_on_and_not_read_twice():
    consumer = drained((True, RECORDS))
    assert consumer.delivered[0] == RECORDS
    assert consumer.rewound == []


def test_a_partition_that_is_paused_when_a_rebalance_begins_is_fetched_again_when_it_ends():
    consumer = Drained([])
    consumer.app = SimpleNamespace(client_only=False)
    consumer._active_partitions, consumer._paused_partitions = set(), set()
    consumer.pause_partitions({OURS})  # by a rebalance that the next one cuts short
    consumer._paused_partitions &= {OURS, GONE}
    consumer._set_active_tps({OURS, GONE})
    assert consumer._get_active_partitions() == {GONE}
    consumer.resume_partitions({OURS, GONE})
    assert consumer._get_active_partitions() == {OURS, GONE}
