"""Checkpoints in Kafka: what is written again, what can be had again, and what people see of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Message
from typer.testing import CliRunner

from driftline.errors import CheckpointError
from streams.agents.join_disk import PartitionDisk
from streams.brokers import Broker
from streams.changes import ChangeLog, Writer
from streams.checkpoint import CHUNK_BYTES, CheckpointStore
from streams.cli import app
from streams.manifest import CONFIG, STATE, Draft, Run
from streams.rocks_pending import RocksPending
from streams.topics import Topics

ReadTopic = Callable[..., list[Message]]


@dataclass
class Outbox:
    producer: AIOKafkaProducer

    async def send(
        self, topic: str, partition: int | None, value: Any, key: Any, headers: Any
    ) -> Awaitable[Any]:
        return await self.producer.send(topic, value, key, partition)


@dataclass
class Lab:
    """A producer, and the stores of one deployment over it."""

    topics: Topics
    store: CheckpointStore
    changes: ChangeLog


@dataclass
class Bench:
    """Runs coroutines with a `Lab` of this test's topics."""

    broker: Broker
    topics: Topics

    def __call__(self, body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(self._run(body))

    async def _run(self, body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
        topics, servers = self.topics, [self.broker.bootstrap]
        producer = AIOKafkaProducer(bootstrap_servers=servers, max_request_size=16 << 20)
        await producer.start()
        try:
            outbox = Outbox(producer)
            store = CheckpointStore(outbox, servers, topics.join_manifests, topics.join_chunks)
            await body(Lab(topics, store, ChangeLog(outbox, servers, topics.join_changes)))
        finally:
            await producer.stop()


@pytest.fixture
def lab(broker: Broker, make_topics: Callable[..., Topics]) -> Bench:
    return Bench(broker, make_topics(partitions=2))


def draft(position: int, **pieces: bytes) -> Draft:
    return Draft(position, {CONFIG: b"c", STATE: b"s", **pieces}, partitions=2)


def test_what_did_not_change_is_not_written_again(lab: Bench, read_topic: ReadTopic):
    reference = os.urandom(2 * CHUNK_BYTES + 7)

    async def body(lab: Lab) -> None:
        first = await lab.store.write(1, None, draft(5, ref=reference, subject=b"one"))
        second = await lab.store.write(1, first, draft(9, ref=reference, subject=b"two"))
        third = await lab.store.write(1, second, draft(11, ref=reference, subject=b"three"))
        manifest, pieces = (await lab.store.read([0, 1]))[1]
        assert manifest == third
        assert manifest.generation == 3
        assert manifest.size == len(reference) + len(b"c" + b"s" + b"three")
        assert pieces == {CONFIG: b"c", STATE: b"s", "ref": reference, "subject": b"three"}

    lab(body)
    chunks = read_topic(lab.topics.join_chunks, 9)
    written = [m.value() for m in chunks if m.value()]
    assert sum(map(len, written)) == len(reference) + len(b"csonetwothree")
    assert [m.value() for m in chunks].count(None) == 1, "a tombstone for subject `one`"


def test_a_checkpoint_whose_chunks_are_gone_is_passed_over_for_the_one_before(lab: Bench):
    async def body(lab: Lab) -> None:
        good = await lab.store.write(0, None, draft(5, subject=b"good"))
        elsewhere = CheckpointStore(  # its chunks never come to the topic that readers look in
            lab.store._outbox, lab.store._bootstrap, lab.topics.join_manifests, lab.topics.alerts
        )
        await elsewhere.write(0, good, draft(9, subject=b"lost"))
        manifest, pieces = (await lab.store.read([0]))[0]
        assert (manifest, pieces["subject"]) == (good, b"good")

        await elsewhere.write(1, None, draft(9, subject=b"lost"))
        with pytest.raises(CheckpointError, match="gone or differs"):
            await lab.store.read([1])

    lab(body)


async def stored(disk: PartitionDisk, n: int) -> list[bytes | None]:
    return disk.get(0, [bytes([i]) * 16 for i in range(n)])


def test_a_disk_is_had_again_from_its_own_history_only(lab: Bench, tmp_path: Path):
    def puts(*named: tuple[int, bytes]) -> dict[int, list[tuple[bytes, bytes]]]:
        return {0: [(bytes([i]) * 16, value) for i, value in named]}

    async def body(lab: Lab) -> None:
        mine, zombie = Writer(), Writer()
        await lab.changes.append(1, mine, puts((0, b"old"), (1, b"kept")))
        await lab.changes.append(1, zombie, puts((0, b"zombie"), (2, b"zombie")))
        await lab.changes.append(1, mine, puts((0, b"new"), (3, b"gone")))
        behind = PartitionDisk(1, tmp_path / "1", lab.changes, Writer(list(mine.runs)))
        await behind.prepare(live(behind), lambda: False)
        assert await stored(behind, 4) == [b"new", b"kept", None, b"gone"]
        behind.close()

        successor = Writer(list(mine.runs))
        await lab.changes.append(1, successor, puts((3, b""), (2, b"mine")))
        runs = [Run(mine.token, 0, 3), Run(successor.token, 3, 4)]
        assert successor.runs == runs
        for folder in ("1", "2"):  # one that is behind, one that is lost
            disk = PartitionDisk(1, tmp_path / folder, lab.changes, Writer(runs))
            await disk.prepare(live(disk), lambda: False)
            assert await stored(disk, 4) == [b"new", b"kept", b"mine", None]
            disk.close()

        foreign = PartitionDisk(1, tmp_path / "1", lab.changes, zombie)
        await foreign.prepare(live(foreign), lambda: False)
        assert await stored(foreign, 4) == [b"zombie", None, b"zombie", None]
        foreign.close()

    lab(body)


def live(disk: PartitionDisk) -> RocksPending:
    """A store with one slice, number 0, of which the changes topic holds everything."""
    store = RocksPending(disk)
    store._slices.of(1_000).since = 0
    return store


def test_state_shows_every_partition_with_a_checkpoint(lab: Bench, broker: Broker, tmp_path: Path):
    async def body(lab: Lab) -> None:
        facts = {"pending": 12, "slices": 3, "held_bytes": 99}
        await lab.store.write(
            1, None, Draft(0, {CONFIG: b"c", STATE: b"state"}, partitions=2, facts=facts)
        )
        for _ in range(4):
            await (await lab.store._outbox.send(lab.topics.rows, 1, b"x", None, ()))

    lab(body)
    topics = lab.topics
    folder = tmp_path / f"{topics.prefix}driftline" / "join" / "1"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"12345")
    where = ["--broker", broker.bootstrap, "--topic-prefix", topics.prefix]
    result = CliRunner().invoke(app, ["state", *where, "--state-dir", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    [found] = json.loads(result.stdout)
    assert found.pop("age_s") < 60
    assert len(found.pop("config")) == 12
    assert found == {
        "stage": "join", "partition": 1, "position": 0, "lag": 4, "generation": 1,
        "checkpoint_bytes": 6, "pending": 12, "slices": 3, "subjects": None, "held_bytes": 99,
        "local_bytes": 5,
    }  # fmt: skip
    table = CliRunner().invoke(app, ["state", *where])
    assert table.exit_code == 0, table.output
    assert "join" in table.stdout
