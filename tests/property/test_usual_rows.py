"""The usual rows of a step taken at once: to the bit what taking each row in its turn gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.flow import usual
from detectors.flow.join import JoinSpec, MemoryPending, step
from detectors.flow.saved_blocks import Block, split
from detectors.frame_codec import encode_frame
from tests.strategies import Row, frames_of, in_key_order, row_lists

SPEC = JoinSpec(default_horizon_ms=160, horizons_ms={"churn": 48}, default_segments=("region",))


def row_by_row(*args: Any) -> Any:
    return np.ones(len(args[2]), bool)


def dumped_and_loaded(pending: MemoryPending) -> MemoryPending:
    return MemoryPending.load(pending.dump())


def in_blocks(pending: MemoryPending) -> MemoryPending:
    """The store as a checkpoint holds it, block by block."""
    about, blocks = pending.blocks()
    pending.blocks()  # another checkpoint, and nothing in between
    stored = b"".join(block.encode() for block in blocks)
    about = msgspec.msgpack.decode(msgspec.msgpack.encode(about))
    return MemoryPending.assemble(about, blocks_of(stored))


def blocks_of(stored: bytes) -> list[Block]:
    return [Block(partial(bytes, part)) for part in split(stored)]


def run(
    steps: list[list[Row]], limit: int, *, restart: Callable[..., MemoryPending] | None = None
) -> tuple[list[list[dict[str, Any]]], list[Any]]:
    """Every frame that came out, and what the store could find at the end."""
    pending: Any = MemoryPending(max_entries=limit)
    out = []
    for rows, following in pairwise([*steps, []]):
        clock = following[0].arrival if following else 61
        pending, frames = step(pending, frames_of(rows), clock, SPEC)
        out.append([encode_frame(frame) for frame in frames])
        if restart is not None:
            pending = restart(pending)
    return out, found(pending)


def found(pending: MemoryPending) -> list[Any]:
    dumped = pending.dump()
    return [pending.entries, pending.waiting_labels, dumped["slabs"], dumped["slots"]]


@st.composite
def steps(draw: st.DrawFn) -> list[list[Row]]:
    """Rows of many ids, most of which come once or twice, in up to four steps."""
    rows = draw(row_lists(max_size=30))
    spread = draw(st.integers(0, 9))
    rows = [
        type(row)(**{**vars(row), "id": f"{row.id}{at % (1 + 2 * spread)}"})
        for at, row in enumerate(rows)
    ]
    rows = in_key_order(rows)
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return [rows[a:b] for a, b in pairwise([0, *cuts, len(rows)]) if a < b]


@settings(deadline=None)
@given(steps(), st.sampled_from([5, 1_000]))
def test_neither_usual_rows_taken_at_once_nor_a_restart_change_anything(
    drawn: list[list[Row]], limit: int
):
    at_once = run(drawn, limit)
    assert at_once == run(drawn, limit, restart=dumped_and_loaded)
    assert at_once == run(drawn, limit, restart=in_blocks)
    with patch.object(usual, "take", row_by_row):
        assert at_once == run(drawn, limit)


def test_pairs_in_one_step_and_labels_of_earlier_predictions_are_usual():
    from tests.strategies import Label, Prediction

    rows: list[Row] = [Prediction(id=f"p{i}", arrival=i, offset=i) for i in range(20)]
    rows += [Label(id=f"p{i}", arrival=30 + i, offset=30 + i) for i in range(20)]
    left: list[int] = []

    def counted(*args: Any) -> Any:
        result = usual_take(*args)
        left.append(int(result.sum()))
        return result

    usual_take = usual.take
    with patch.object(usual, "take", counted):
        out, _ = run([rows[:10], rows[10:]], 1_000)
    assert left == [0, 0]
    assert sum(frame["n"] for frame in out[1] if frame["kind"] == "outcome") == 20
