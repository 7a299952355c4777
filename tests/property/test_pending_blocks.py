"""A checkpoint in blocks: of what was encoded before only what changed is encoded again."""

from __future__ import annotations

import gc
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.flow import saved_blocks
from detectors.flow.join import JoinSpec, MemoryPending, step
from detectors.flow.label_slab import LabelSlab
from detectors.flow.saved_blocks import Block, split
from detectors.flow.slab import Slab
from tests.property.test_usual_rows import SPEC, steps
from tests.strategies import Label, Prediction, Row, frames_of, rows_of


class Chunks:
    """Where blocks lie, as the topic of chunks: what has a key is not written again."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.encoded = 0

    def write(self, pending: MemoryPending) -> tuple[bytes, list[bytes]]:
        about, parts = pending.blocks()
        for block in parts:
            if not block.keys:
                data = block.encode()
                block.keys = (blake2b(data).digest(),)
                self.held[block.keys[0]] = data
                self.encoded += 1
        return msgspec.msgpack.encode(about), [block.keys[0] for block in parts]

    def read(self, about: bytes, keys: list[bytes]) -> MemoryPending:
        data = b"".join(self.held[key] for key in keys)
        parts = [
            Block(partial(bytes, part), (key,)) for part, key in zip(split(data), keys, strict=True)
        ]
        return MemoryPending.assemble(msgspec.msgpack.decode(about), parts)


Said = list[list[tuple[str, str, list[dict[str, Any]]]]]


def lived(
    drawn: list[list[Row]], limit: int, restarts: list[bool] | None = None
) -> tuple[Said, dict[str, Any]]:
    """What every step said, and the store; with `restarts` a checkpoint after each step."""
    pending: Any = MemoryPending(max_entries=limit)
    chunks = Chunks()
    said: Said = []
    for at, (rows, following) in enumerate(pairwise([*drawn, []])):
        clock = following[0].arrival if following else 61
        pending, frames = step(pending, frames_of(rows), clock, SPEC)
        said.append([(frame.subject, frame.kind, rows_of(frame)) for frame in frames])
        if restarts is not None:
            read = chunks.read(*chunks.write(pending))
            assert (read.entries, read.dump()) == (pending.entries, pending.dump())
            if restarts[at]:
                encoded, pending = chunks.encoded, read
                chunks.write(pending)
                assert chunks.encoded == encoded  # its blocks lie there already
    return said, pending.dump()


# The label lies in a later slice from then on: what the former one's block says of it is past.
SAID_LATER: list[list[Row]] = [[Label(arrival=0)], [Label(arrival=30, ts=0)]]


@settings(deadline=None)
@given(
    steps(),
    st.sampled_from([5, 1_000]),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from([1, 3, 4_096]),
)
@example(SAID_LATER, 1_000, [False] * 4, 1)
def test_a_store_read_from_blocks_is_the_one_that_was_written(
    drawn: list[list[Row]], limit: int, restarts: list[bool], size: int
):
    undisturbed = lived(drawn, limit)
    with patch.object(saved_blocks, "BLOCK", size):
        assert lived(drawn, limit, restarts) == undisturbed


def test_what_did_not_change_is_not_encoded_again():
    spec = JoinSpec(default_horizon_ms=100_000)
    pending: Any = MemoryPending()
    chunks = Chunks()
    rows: list[Row] = [Prediction(id=f"p{i}", arrival=0, offset=i) for i in range(6_000)]
    rows += [Label(id=f"p{i}", arrival=1, offset=i) for i in range(3_000)]
    pending, _ = step(pending, frames_of(rows), 2, spec)
    chunks.write(pending)
    assert chunks.encoded == 2 + 1 + 1  # predictions, their labels, labels by id
    rows = [Label(id="p7", arrival=2, says="other"), Prediction(id="new", arrival=3)]
    rows += [Label(id=f"p{i}", arrival=4, offset=i) for i in range(5_000, 5_010)]
    pending, _ = step(pending, frames_of(rows), 5, spec)
    before = chunks.encoded
    stored = chunks.write(pending)
    # What came, in blocks of its own; and the id that is looked at on its own from now on.
    assert chunks.encoded - before == 3 + 3
    assert chunks.read(*stored).dump() == pending.dump()
    before = chunks.encoded
    chunks.write(pending)
    assert chunks.encoded == before


def test_labels_said_again_and_again_do_not_pile_up():
    spec = JoinSpec(default_horizon_ms=100_000)
    pending: Any = MemoryPending()
    chunks = Chunks()
    with patch.object(saved_blocks, "BLOCK", 4):
        for at in range(50):
            row = Label(arrival=at, ts=at, says=f"{at}")
            pending, _ = step(pending, frames_of([row]), at + 1, spec)
            _, keys = chunks.write(pending)
            assert len(keys) <= 5


def test_slices_that_ended_take_no_memory_until_the_cycle_collector_looks():
    pending: Any = MemoryPending()
    chunks = Chunks()
    gc.collect()
    gc.disable()
    try:
        for now in range(0, 2_000, 20):
            rows: list[Row] = [
                Prediction(id=str(now), arrival=now),
                Label(id=str(now), arrival=now + 1),
            ]
            pending, _ = step(pending, frames_of(rows), now + 2, SPEC)
            chunks.write(pending)
        held = sum(isinstance(each, Slab | LabelSlab) for each in gc.get_objects())
    finally:
        gc.enable()
    assert len(chunks.held) > held == len(pending._slabs) + len(pending._label_slabs)
