"""However rows are framed and interleaved, wherever a restart falls: they leave in one order."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from detectors.flow.sequencer import Sequencer
from tests.strategies import Row, frames_of, in_key_order, row_lists, rows_of

END = 1_000


def offsets(frames: list[Any]) -> list[int]:
    """The rows' offsets, which number them, merged over the frames in key order."""
    from detectors.order_key import merged_order

    which, row = merged_order(frames)
    return [int(frames[f].ints("offset")[r]) for f, r in zip(which, row, strict=True)]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Row], list[list[Row]], list[int]]:
    """Rows, the messages they come in, and the clock after each (never beyond a row to come)."""
    rows = draw(row_lists())
    shuffled = draw(st.permutations(rows))
    size = draw(st.integers(1, 7))
    messages = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
    clocks = []
    for number in range(len(messages)):
        to_come = [row.arrival for message in messages[number + 1 :] for row in message]
        clocks.append(draw(st.integers(0, min([*to_come, END]))))
    return rows, messages, clocks


@given(deliveries(), st.none() | st.integers(1, 2_000), st.booleans())
def test_rows_leave_once_each_and_in_key_order(
    drawn: tuple[list[Row], list[list[Row]], list[int]], limit: int | None, restart: bool
) -> None:
    rows, messages, clocks = drawn
    sequencer = Sequencer()
    left: list[int] = []
    for message, clock in zip([*messages, []], [*clocks, END], strict=True):
        for frame in frames_of(message):
            sequencer.hold(frame)
        while frames := sequencer.release(clock, limit):
            passed = sequencer.passed(clock)
            assert all(row["arrival"] <= passed for f in frames for row in rows_of(f))
            left += offsets(frames)
        if restart:
            dumped = msgspec.msgpack.encode(sequencer.dump())
            sequencer = Sequencer.load(msgspec.msgpack.decode(dumped))
    assert left == [row.offset for row in in_key_order(rows)]
    assert sequencer.nbytes == 0


@given(deliveries(), st.integers(0, 5_000))
def test_forcing_loses_nothing_and_does_not_depend_on_restarts(
    drawn: tuple[list[Row], list[list[Row]], list[int]], bound: int
) -> None:
    rows, messages, _ = drawn
    plain, restarted = Sequencer(), Sequencer()
    left: list[int] = []
    for message in messages:
        for frame in frames_of(message):
            plain.hold(frame)
            restarted.hold(frame)
        forced = offsets(plain.force(bound))
        assert offsets(restarted.force(bound)) == forced
        left += forced
        restarted = Sequencer.load(msgspec.msgpack.decode(msgspec.msgpack.encode(restarted.dump())))
    assert plain.forced == len(left)
    left += offsets(plain.release(END))
    assert sorted(left) == sorted(row.offset for row in rows)
