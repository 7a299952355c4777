"""Messages between stages: what is written is what is read, and these bytes stay readable."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.frame import ID, Column, Frame, float_column, text_column
from driftline.errors import UnknownVersion
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack, unpack
from tests.strategies import rows_of

GOLDEN_V1 = bytes.fromhex(
    "85a17601a668656164657283a36c6f67b764726966746c696e652e70726564696374696f6e732f31a57374617274"
    "07a2746f09a86172726976616c7381b764726966746c696e652e70726564696374696f6e732f31cf000001a194ee"
    "2f7ba7736f757263657381b564726966746c696e652e70726564696374696f6e7302a66672616d65739185a77375"
    "626a656374a766726175644031a46b696e64aa70726564696374696f6ea16e03a5636175736508a7636f6c756d6e"
    "739583a46e616d65a26964a46b696e64a47c563136a464617461c430000102030405060708090a0b0c0d0e0f1011"
    "12131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f83a46e616d65a27473a46b696e64a33c"
    "6938a464617461c41801000000000000000200000000000000030000000000000084a46e616d65a8783a616d6f75"
    "6e74a46b696e64a33c6638a464617461c418000000000000f83f000000000000000000000000000000c0a576616c"
    "6964c4010585a46e616d65a9633a636f756e747279a46b696e64a474657874a676616c75657392a24445a24652a4"
    "64617461c40c000000000000000001000000a576616c6964c4010583a46e616d65a5623a6e6577a46b696e64a37c"
    "6231a464617461c403010001"
)


def golden_message() -> Message:
    columns = {
        "id": Column(np.frombuffer(bytes(range(48)), ID)),
        "ts": Column(np.array([1, 2, 3], np.int64)),
        "x:amount": float_column([1.5, None, -2.0]),
        "c:country": text_column(["DE", None, "FR"]),
        "b:new": Column(np.array([True, False, True])),
    }
    return Message(
        Header("driftline.predictions/1", 7, 9, "AaINPxn1fhC29x2jltqthQ"),
        {"driftline.predictions/1": 1_793_500_000_123},
        {"driftline.predictions": 2},
        [Frame("fraud@1", "prediction", 3, columns, cause=8)],
    )


# With the topic's id in the header, which first readers of version 1 pass over.
GOLDEN_ID = GOLDEN_V1.replace(
    bytes.fromhex("85a17601a668656164657283"), bytes.fromhex("85a17601a668656164657284")
).replace(b"\xa2to\x09", b"\xa2to\x09\xa2id\xb6AaINPxn1fhC29x2jltqthQ")

# Written for a while: the same, but for the number.
GOLDEN_V2 = GOLDEN_V1.replace(
    bytes.fromhex("85a17601a668656164657283"), bytes.fromhex("85a17602a668656164657284")
).replace(b"\xa2to\x09", b"\xa2to\x09\xa2id\xb6AaINPxn1fhC29x2jltqthQ")


def test_version_1_with_an_id_is_written_as_these_bytes() -> None:
    assert pack(golden_message()).hex() == GOLDEN_ID.hex()


def test_version_2_is_read_from_these_bytes() -> None:
    assert unpack(GOLDEN_V2).header.id == "AaINPxn1fhC29x2jltqthQ"


def test_version_1_is_read_from_these_bytes() -> None:
    message = unpack(GOLDEN_V1)
    assert message.header == Header("driftline.predictions/1", 7, 9)
    assert message.arrivals == {"driftline.predictions/1": 1_793_500_000_123}
    assert message.sources == {"driftline.predictions": 2}
    [frame] = message.frames
    assert (frame.subject, frame.kind, frame.n, frame.cause) == ("fraud@1", "prediction", 3, 8)
    assert [row.get("x:amount") for row in rows_of(frame)] == [1.5, None, -2.0]
    assert [row.get("c:country") for row in rows_of(frame)] == ["DE", None, "FR"]
    assert frame.columns["b:new"].data.tolist() == [True, False, True]
    assert frame.columns["id"].data.tobytes() == bytes(range(48))


def test_arrays_are_views_of_the_message_and_cannot_be_written_to() -> None:
    [frame] = unpack(GOLDEN_V1).frames
    with pytest.raises(ValueError, match="read-only"):
        frame.columns["ts"].data[0] = 9


@pytest.mark.parametrize("version", [0, 3, 99])
def test_a_message_of_another_version_asks_for_an_upgrade(version: int) -> None:
    newer = msgspec.msgpack.encode({"v": version, "frames": "in a form yet to be invented"})
    with pytest.raises(UnknownVersion, match=f"version {version}.*upgrade"):
        unpack(newer)


def test_fields_and_columns_that_this_reader_does_not_know_do_no_harm() -> None:
    wire = msgspec.msgpack.decode(GOLDEN_V1)
    wire["later"] = {"a": 1}
    wire["frames"][0]["later"] = 1
    halves = np.arange(3, dtype="<f2").tobytes()
    wire["frames"][0]["columns"].append({"name": "q:new", "kind": "<f2", "data": halves, "also": 1})
    message = unpack(msgspec.msgpack.encode(wire))
    again = unpack(pack(message))
    assert again.frames[0].columns["q:new"].data.tolist() == [0.0, 1.0, 2.0]


def test_an_empty_message_moves_marks_and_clocks_only() -> None:
    message = Message(Header("rows/0", 3, 8), {"rows/0": 5}, {"rows": 1})
    assert unpack(pack(message)) == message


def test_what_is_not_a_message_of_ours_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"{}")


def test_a_column_of_another_length_is_an_error() -> None:
    wire = msgspec.msgpack.decode(GOLDEN_V1)
    wire["frames"][0]["n"] = 4
    with pytest.raises(ValueError, match="'id' has 3 values, not 4"):
        unpack(msgspec.msgpack.encode(wire))


def test_nan_and_infinities_are_written_as_invalid() -> None:
    frame = Frame("m@1", "prediction", 3, {"x:a": Column(np.array([1.0, math.nan, math.inf]))})
    [read] = unpack(pack(Message(Header("p/0", 0, 1), frames=[frame]))).frames
    assert read.columns["x:a"].mask.tolist() == [True, False, False]
    assert read.columns["x:a"].data.tolist() == [1.0, 0.0, 0.0]


def test_a_part_of_a_frame_does_not_carry_the_text_of_the_rest() -> None:
    cities = text_column([f"city {i}" for i in range(100)])
    whole = Frame("m@1", "prediction", 100, {"c:city": cities})
    part = whole.take(np.array([7, 3]))
    [read] = unpack(pack(Message(Header("p/0", 0, 1), frames=[part]))).frames
    assert read.columns["c:city"].values == ["city 7", "city 3"]


def columns_of(n: int) -> st.SearchStrategy[dict[str, Column]]:
    floats = st.lists(
        st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=n, max_size=n
    ).map(float_column)
    texts = st.lists(st.none() | st.text(max_size=5), min_size=n, max_size=n).map(text_column)
    ints = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n).map(
        lambda values: Column(np.array(values, np.int64))
    )
    flags = st.lists(st.booleans(), min_size=n, max_size=n).map(
        lambda values: Column(np.array(values, bool))
    )
    ids = st.binary(min_size=16 * n, max_size=16 * n).map(
        lambda data: Column(np.frombuffer(data, ID))
    )
    return st.dictionaries(st.text(max_size=8), floats | texts | ints | flags | ids, max_size=6)


frames = st.integers(0, 20).flatmap(
    lambda n: st.builds(
        Frame,
        subject=st.text(max_size=8),
        kind=st.sampled_from(["prediction", "outcome", "label", "count", "command"]),
        n=st.just(n),
        columns=columns_of(n),
        cause=st.none() | st.integers(0, 2**40),
    )
)
messages = st.builds(
    Message,
    header=st.builds(Header, st.text(max_size=8), st.integers(0, 2**40), st.integers(0, 2**40)),
    arrivals=st.dictionaries(st.text(max_size=8), st.integers(-(2**40), 2**45)),
    sources=st.dictionaries(st.text(max_size=8), st.integers(0, 1000)),
    frames=st.lists(frames, max_size=3),
)


@given(messages)
def test_any_message_reads_as_it_was_written(message: Message) -> None:
    read = unpack(pack(message))
    assert read.header == message.header
    assert (read.arrivals, read.sources) == (message.arrivals, message.sources)
    for one, two in zip(message.frames, read.frames, strict=True):
        assert (one.subject, one.kind, one.n) == (two.subject, two.kind, two.n)
        assert one.cause == two.cause
        assert [list(one.columns), rows_of(one)] == [list(two.columns), rows_of(two)]
    assert pack(read) == pack(message)
