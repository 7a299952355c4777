"""A shard that takes messages together emits what it emits one by one, row by row and by cause."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.frame import Frame
from detectors.spec import MonitorSpec
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack, unpack
from streams.monitors.load import Monitors
from streams.pipeline.join_shard import JoinShard
from tests.strategies import Row, frames_of, in_key_order, row_lists, rows_of

SOURCES = {"predictions": 2}


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    """Rows of two source partitions as messages that overtake each other."""
    rows = in_key_order(draw(row_lists()))
    out: list[Message] = []
    for partition in (0, 1):
        own = [row for row in rows if row.partition == partition]
        cuts = sorted(draw(st.lists(st.integers(0, len(own)), max_size=5)))
        for start, stop in pairwise([0, *cuts, len(own)]):
            out.append(_message(partition, own[start:stop], own[:stop]))
    order = draw(st.permutations(range(len(out))))
    logs = sorted(range(len(out)), key=lambda at: order[at])
    mixed = [out[at] for at in logs]
    # Within a source partition messages keep their order.
    queues = {p: iter([m for m in out if f"predictions/{p}" in m.arrivals]) for p in (0, 1)}
    mixed = [next(queues[int(next(iter(m.arrivals))[-1])]) for m in mixed]
    return [*mixed, _message(0, [], rows, 500), _message(1, [], rows, 500)]


def _message(partition: int, rows: list[Row], so_far: list[Row], clock: int = 0) -> Message:
    reached = max([clock, *(row.arrival for row in so_far)])
    arrivals = {f"predictions/{partition}": reached}
    return Message(Header("x", 0, 1), arrivals, SOURCES, frames_of(rows))


def monitors(horizon_ms: int) -> Monitors:
    return Monitors({m: MonitorSpec(model=m, horizon_ms=horizon_ms) for m in ("fraud", "churn")})


def emitted(frames: list[Frame]) -> list[Any]:
    """Rows by what they are, with the message that caused them; counts summed by cause."""
    out = [
        sorted((k, v) for k, v in row.items() if k != "value" or v)
        for frame in frames
        for row in rows_of(frame)
    ]
    return sorted(map(repr, out))


@settings(max_examples=60, deadline=None)
@given(messages(), st.sampled_from([16, 48, 10_000]), st.lists(st.integers(1, 30), max_size=4))
def test_messages_together_give_what_they_give_one_by_one(
    drawn: list[Message], horizon_ms: int, cuts: list[int]
):
    one, many = JoinShard(monitors(horizon_ms)), JoinShard(monitors(horizon_ms))
    values = [pack(message) for message in drawn]
    expected: list[Frame] = []
    for offset, value in enumerate(values):
        expected += one.run([(offset, unpack(value))])
    found: list[Frame] = []
    edges = [0, *sorted({min(cut, len(values)) for cut in cuts}), len(values)]
    for start, stop in pairwise(edges):
        found += many.run((at, unpack(values[at])) for at in range(start, stop))
    assert emitted(found) == emitted(expected)
    assert (many.passed, many.pending.waiting_labels) == (one.passed, one.pending.waiting_labels)


@settings(max_examples=30, deadline=None)
@given(messages())
def test_a_message_alone_causes_all_that_it_releases(drawn: list[Message]):
    one, plain = JoinShard(monitors(48)), JoinShard(monitors(48))
    for offset, value in enumerate(map(pack, drawn)):
        frames = one.run([(offset, unpack(value))])
        assert all(set(frame.ints("cause").tolist()) == {offset} for frame in frames)
        for frame in frames:
            del frame.columns["cause"]
        assert emitted(frames) == emitted(plain.step(unpack(value)))
