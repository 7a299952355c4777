"""What the version before wrote lies in people's Kafka: it is read, and the work goes on from it.

`state_v1/join.msgpack.gz` was written by the last program of version 1 of both: a manifest
of join, the chunk that it names, the messages from its position on, and what that program made of
them. These are its bytes; they are never written anew.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from detectors.frame import Frame
from driftline.errors import CheckpointError
from streams.kafka.channel import Receiver
from streams.kafka.frames import Message, pack, unpack
from streams.monitors.load import Monitors
from streams.pipeline.join_shard import JoinShard
from streams.state import manifest as form
from tests.strategies import rows_of


class Golden(msgspec.Struct):
    manifest: bytes
    chunk: bytes
    messages: list[bytes]
    emitted: list[bytes]


class _OldHeader(msgspec.Struct, frozen=True):
    log: str
    start: int
    to: int


class OldWire(msgspec.Struct):
    """A message as the reader of version 1 decodes it."""

    v: int
    header: _OldHeader
    arrivals: dict[str, int]
    sources: dict[str, int]
    frames: list[dict[str, object]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    packed = Path(__file__).with_name("state_v1") / "join.msgpack.gz"
    return msgspec.msgpack.decode(gzip.decompress(packed.read_bytes()), type=Golden)


def resumed(golden: Golden) -> tuple[JoinShard, Receiver]:
    """Join as the manifest says, under the configuration in it."""
    manifest = form.decode(golden.manifest, "driftline-join-manifests/0")
    assert manifest.v == 1
    assert [chunk.digest for chunk in manifest.all_chunks()] == [form.digest(golden.chunk)]
    saved = msgspec.msgpack.decode(golden.chunk)
    monitors = Monitors.decode(manifest.config)
    assert monitors.spec("fraud").warmup == 100
    return JoinShard.load(saved["core"], monitors), Receiver.load(saved["receiver"])


def stepped(join: JoinShard, marks: Receiver, messages: list[bytes]) -> Iterator[Frame]:
    for value in messages:
        message: Message = unpack(value)
        assert marks.accept(message.header) is not None
        for frame in message.frames:
            frame.columns.pop("cause", None)
        yield from join.step(message)
        marks.applied(message.header)


def meanings(frames: Iterator[Frame]) -> list[tuple[object, ...]]:
    """What a frame says about each prediction, in order."""
    named = ("id", "prediction", "label", "ts", "arrival")
    return [
        (frame.subject, frame.kind, *(row.get(name) for name in named))
        for frame in frames
        if frame.kind in {"prediction", "outcome"}
        for row in rows_of(frame)
    ]


def test_join_goes_on_from_a_checkpoint_of_version_1_with_messages_of_version_1(golden: Golden):
    found = meanings(stepped(*resumed(golden), golden.messages))
    expected = meanings(frame for value in golden.emitted for frame in unpack(value).frames)
    assert sum(kind == "outcome" for _, kind, *_ in found) > 50
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_marks_of_version_1_refuse_what_is_missing_and_go_on_where_an_id_is_told(golden: Golden):
    _, marks = resumed(golden)
    first = unpack(golden.messages[0]).header
    assert marks.accept(first) == first.start
    beyond = type(first)(first.log, first.to, first.to + 1, "AaINPxn1fhC29x2jltqthQ")
    assert marks.accept(beyond) is None
    named = type(first)(first.log, first.start, first.to, "AaINPxn1fhC29x2jltqthQ")
    assert marks.accept(named) == first.start


def test_a_reader_of_version_1_takes_what_this_version_writes(golden: Golden):
    message = unpack(golden.messages[0])
    header = type(message.header)("p/0", 1, 2, "AaINPxn1fhC29x2jltqthQ")
    wire = msgspec.msgpack.decode(
        pack(Message(header, message.arrivals, message.sources, message.frames)), type=OldWire
    )
    assert wire.v == 1  # what it checks
    assert wire.header == _OldHeader("p/0", 1, 2)
    assert wire.frames == msgspec.msgpack.decode(golden.messages[0], type=OldWire).frames


def test_a_manifest_of_a_version_to_come_stops_the_worker_with_what_to_do(golden: Golden):
    newer = msgspec.msgpack.decode(golden.manifest) | {"v": 3}
    with pytest.raises(CheckpointError, match=r"version 3.*reads 2.*newer one"):
        form.decode(msgspec.msgpack.encode(newer), "driftline-join-manifests/0")
