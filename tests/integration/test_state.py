"""Checkpoints in Kafka: what is written again, what can be had again, and what people see of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import confluent_kafka
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP
from typer.testing import CliRunner

from detectors.flow import saved_blocks
from detectors.flow.saved_blocks import Block, Series
from detectors.frame import Column, Frame
from driftline.errors import CheckpointError
from streams.agents import join_disk
from streams.agents.join import Join
from streams.agents.join_disk import PartitionDisk
from streams.brokers import Broker
from streams.cli import app
from streams.kafka.batches import Batch
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack
from streams.monitors.load import Monitors
from streams.session import RestartNeededError, Session
from streams.state import checkpoint, pending_disk
from streams.state.changes import ChangeLog, Writer
from streams.state.checkpoint import CHUNK_BYTES, CheckpointStore
from streams.state.manifest import CONFIG, STATE, Draft, Run, blocks_of
from streams.state.rocks_pending import RocksPending
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics
from tests.strategies import Label, Prediction, Row, frames_of

ReadTopic = Callable[..., list[confluent_kafka.Message]]


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


def test_a_checkpoint_whose_chunks_are_gone_is_passed_over_for_the_one_before(
    lab: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkpoint, "VISIBLE_S", 0.0)

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


def test_of_a_piece_in_blocks_only_those_that_changed_are_written_again(
    lab: Bench, read_topic: ReadTopic
):
    def series(contents: list[bytes]) -> list[Block]:
        of = Series()
        for n in range(1, len(contents) + 1):  # each a block, as a larger one never follows
            parts = of.cut(n, lambda start, stop: contents[start:stop])
        return parts

    random = [os.urandom(size) for size in (2 * CHUNK_BYTES, CHUNK_BYTES // 2)]

    async def body(lab: Lab) -> None:
        with patch.object(saved_blocks, "BLOCK", 1):
            parts = series([*random, b"old"])
            new = series([*random, b"new"])[2]
        first = await lab.store.write(1, None, Draft(5, {CONFIG: b"c", "p": parts}))
        second = await lab.store.write(1, first, Draft(6, {CONFIG: b"c", "p": [*parts[:2], new]}))
        manifest, pieces = (await lab.store.read([1]))[1]
        assert manifest == second
        [chunks] = [piece.chunks for piece in manifest.pieces if piece.name == "p"]
        read = blocks_of(pieces["p"], chunks)
        assert [saved_blocks.decoded(block) for block in read] == [[r] for r in (*random, b"new")]
        assert [block.keys for block in read] == [block.keys for block in (*parts[:2], new)]
        assert [block.size for block in read] == [len(block.encode()) for block in read]

    lab(body)
    written = [len(m.value()) for m in read_topic(lab.topics.join_chunks, 7)]
    large, rest = CHUNK_BYTES, 4 + 1 + 5  # how long the block is, a list of one, bytes
    [left, half] = [len(data) % large + rest for data in random]
    assert sorted(written) == sorted([large, large, left, half, 1, 4 + 1 + 5, 4 + 1 + 5])


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


def test_what_a_crash_left_half_on_the_disk_is_not_taken_for_the_history_that_went_on_without_it(
    lab: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def body(lab: Lab) -> None:
        mine = Writer()
        disk = PartitionDisk(1, tmp_path, lab.changes, mine)
        await disk.prepare(live(disk), lambda: False)
        for puts in ([(bytes([0]) * 16, b"kept")], [(bytes([1]) * 16, b"only on the disk")]):
            disk.taken = {0: puts}
            await lab.changes.append(1, mine, disk.taken)
            if mine.end == 2:
                full = pending_disk.DiskError("full")
                monkeypatch.setattr(pending_disk.SliceDisk, "advance", MagicMock(side_effect=full))
                with pytest.raises(RestartNeededError, match="full"):
                    await disk.save(frozenset({0}))
                monkeypatch.undo()
            else:
                await disk.save(frozenset({0}))
        disk.close()

        other = Writer([Run(mine.token, 0, 1)])  # it took over from the manifest before
        await lab.changes.append(1, other, {0: [(bytes([2]) * 16, b"theirs")]})
        disk = PartitionDisk(1, tmp_path, lab.changes, other)
        await disk.prepare(live(disk), lambda: False)
        assert await stored(disk, 3) == [b"kept", None, b"theirs"]
        disk.close()

        disk = PartitionDisk(1, tmp_path, lab.changes, mine)  # and with its own, all is there
        await disk.prepare(live(disk), lambda: False)
        assert await stored(disk, 3) == [b"kept", b"only on the disk", None]
        disk.close()

    lab(body)


def test_a_session_is_not_kept_where_another_wrote_a_checkpoint_meanwhile(lab: Bench):
    async def body(lab: Lab) -> None:
        join, other = join_of(lab, None), join_of(lab, None)
        session = await opened(join)
        tps = {session.tp: (0, "")}
        await stepped(join, session, ROWS, 1_500)
        await join.checkpoint(session)
        await stepped(join, session, LABELS, 3_000)
        assert await join.current({session.tp: session}, tps) == {session.tp}
        theirs = await opened(other)
        await other.checkpoint(theirs)
        assert theirs.position < session.position
        assert await join.current({session.tp: session}, tps) == set()

    lab(body)


def test_a_rebuild_that_was_interrupted_goes_on_where_it_was(
    lab: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(join_disk, "SAFE_RECORDS", 1)

    async def body(lab: Lab) -> None:
        writer = Writer()
        for i in range(3):
            await lab.changes.append(1, writer, {0: [(bytes([i]) * 16, b"value")]})
        disk = PartitionDisk(1, tmp_path, lab.changes, writer)
        with pytest.raises(RestartNeededError, match="moved"):
            await disk.prepare(live(disk), lambda: True)
        folder = pending_disk.SliceDisk(tmp_path)
        end = (writer.token, 3)
        assert folder.head() == pending_disk.Head(writer.token, 1, ahead=end)
        folder.close()
        await disk.prepare(live(disk), lambda: False)
        assert await stored(disk, 4) == [b"value", b"value", b"value", None]
        disk.close()

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


@dataclass
class Ids:
    """A cluster in which a topic may have been made anew."""

    id: str

    async def of(self, _topic: str) -> str:
        return self.id


def join_of(lab: Lab, folder: Path | None, *, inputs: int = 2, topic_id: str = "one") -> Join:
    join = Join(
        lab.store._outbox,
        Telemetry(),
        lab.store,
        Monitors(),
        topic=lab.topics.rows,
        inputs=inputs,
        destination_topic=lab.topics.observations,
        destinations=2,
        checkpoint_interval_s=30,
        monotonic=time.monotonic,
    )
    join.keep_on_disk(lab.changes, folder)
    join.topic_ids = Ids(topic_id)
    join.commit = lambda *_: None
    return join


async def opened(join: Join) -> Session:
    tp = TP(join.topics[0], 1)
    return (await join.open({tp: (0, "")}))[tp]


async def stepped(join: Join, session: Session, rows: list[Row], clock: int) -> dict[str, int]:
    """Rows as the next message of one source; returns the shard's counts of frames by kind."""
    at = session.position
    message = Message(
        Header("source/0", at, at + 1), {"source/0": clock}, {"source": 1}, frames_of(rows)
    )
    said: dict[str, int] = {}
    releases = session.core.releases

    def counted(messages: Any) -> Iterator[tuple[int, list[Frame]]]:
        for offset, frames in releases(messages):
            for frame in frames:
                said[frame.kind] = said.get(frame.kind, 0) + frame.n
            yield offset, frames

    session.core.releases = counted
    for frame in message.frames:
        frame.columns["offset"] = Column(np.full(frame.n, at))
    record: Any = SimpleNamespace(value=pack(message), offset=at)
    await join.step(session, Batch(session.tp, [record], at, at + 1, session.epoch))
    del session.core.releases
    return said


ROWS: list[Row] = [Prediction(id=f"p{i}", arrival=1_000 + i) for i in range(50)]
LABELS: list[Row] = [Label(id=f"p{i}", arrival=2_000 + i) for i in range(50)]


@pytest.mark.parametrize(
    ("before", "after"),
    [("disk", "disk"), ("disk", "lost"), ("disk", "none"), ("none", "disk")],
    ids=["it stays", "the disk is lost", "the next worker has none", "the next worker has one"],
)
def test_labels_meet_predictions_of_before_a_restart_wherever_these_were_kept(
    lab: Bench, tmp_path: Path, before: str, after: str
):
    folders = {"disk": tmp_path / "a", "lost": tmp_path / "b", "none": None}

    async def body(lab: Lab) -> None:
        join = join_of(lab, folders[before])
        session = await opened(join)
        assert await stepped(join, session, ROWS, 1_500) == {"prediction": 50}
        await join.checkpoint(session)
        session.closed = True
        join.closed(session)
        await asyncio.gather(*join._closing)

        join = join_of(lab, folders[after])
        session = await opened(join)
        assert session.position == 1
        assert await stepped(join, session, LABELS, 3_000) == {"outcome": 50}
        await join.checkpoint(session)
        repeats = await stepped(join, session, [*ROWS[:9], *LABELS[:5]], 4_000)
        assert repeats == {"count": 2}, "duplicates and label_duplicates"
        assert session.former.facts["pending"] == 100
        session.closed = True
        join.closed(session)
        await asyncio.gather(*join._closing)

    lab(body)


def test_a_folder_that_another_worker_holds_does_not_stop_the_partition(
    lab: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pending_disk, "_LOCK_WAIT_S", 0.0)

    async def body(lab: Lab) -> None:
        held = pending_disk.SliceDisk(tmp_path / "1")
        join = join_of(lab, tmp_path)
        session = await opened(join)
        assert await stepped(join, session, ROWS, 1_500) == {"prediction": 50}
        await join.checkpoint(session)
        assert held.head() is None
        held.close()
        session.closed = True
        join.closed(session)
        await asyncio.gather(*join._closing)

    lab(body)


def test_a_rows_topic_that_was_made_anew_is_read_from_its_start_with_the_state_of_before(
    lab: Bench,
):
    async def body(lab: Lab) -> None:
        join = join_of(lab, None)
        session = await opened(join)
        await stepped(join, session, ROWS, 1_500)
        await join.checkpoint(session)
        again = await opened(join_of(lab, None, topic_id="two"))
        assert again.position == 0
        assert again.sender is not None
        assert again.sender.header(0, 1) == Header(f"{lab.topics.rows}/1", 0, 1, "two")
        assert again.core.pending.entries == 50
        unknown = await opened(join_of(lab, None, topic_id=""))
        assert (unknown.position, unknown.topic_id) == (1, "one"), "a broker that did not say"

    lab(body)


def test_another_partition_count_is_refused_with_the_command_to_run(lab: Bench):
    async def body(lab: Lab) -> None:
        join = join_of(lab, None)
        session = await opened(join)
        await stepped(join, session, ROWS, 1_500)
        await join.checkpoint(session)
        with pytest.raises(CheckpointError, match=r"of 2 partitions.*--partitions 2"):
            await opened(join_of(lab, None, inputs=4))

    lab(body)
