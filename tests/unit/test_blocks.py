"""Frames whose columns lie in blocks: whatever is done to them, they say what others say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.blocks import Blocks
from detectors.frame import ID, Array, Column, Frame, concat, float_column, text_column
from detectors.frame_codec import decode_frame, encode_frame

NAMES = ("x:a", "x:b", "u:a", "c:a", "c:b", "b:a", "q:a")


@st.composite
def columns(draw: st.DrawFn, n: int) -> dict[str, Column]:
    """Columns of every type, some with invalid rows; ids, times and one more number always."""
    rows = st.integers(0, 3)
    found = {
        "id": Column(np.array([bytes([draw(rows)] * 16) for _ in range(n)], ID)),
        "ts": Column(np.array([draw(rows) for _ in range(n)], np.int64)),
        "x:always": Column(np.array([draw(rows) / 2 for _ in range(n)], np.float64)),
    }
    for name in NAMES:
        if draw(st.booleans()):
            found[name] = draw(column(name, n))
    return found


def column(name: str, n: int) -> st.SearchStrategy[Column]:
    mask = st.none() | st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)
    if name.startswith("x:"):
        values = st.lists(st.none() | st.sampled_from([0.5, -0.0, 2.0]), min_size=n, max_size=n)
        return values.map(float_column)
    if name.startswith("c:"):
        texts = st.none() | st.sampled_from(["", "DE", "FR", "IT"])
        return st.lists(texts, min_size=n, max_size=n).map(text_column)
    dtype = {"u": np.int64, "b": np.bool_, "q": np.float16}[name[0]]
    return st.builds(
        lambda values, valid: of_ints(np.array(values, dtype), valid),
        st.lists(st.integers(0, 1), min_size=n, max_size=n),
        mask,
    )


def of_ints(data: Array, valid: Array | None) -> Column:
    """A column of these values, 0 where invalid."""
    if valid is None or valid.all():
        return Column(data)
    return Column(np.where(valid, data, np.zeros(1, data.dtype)), valid)


frames = st.integers(0, 12).flatmap(
    lambda n: st.builds(Frame, st.just("m@1"), st.just("prediction"), st.just(n), columns(n))
)


def blocks_of(frame: Frame) -> Frame:
    """The same frame in blocks, the other untouched."""
    copy = Frame(frame.subject, frame.kind, frame.n, dict(frame.columns), frame.cause)
    return copy.in_blocks()


WAYS: dict[str, Callable[[Frame], Frame]] = {
    "as it is": lambda frame: frame,
    "every other row": lambda frame: frame.take(np.arange(frame.n) % 2 == 0),
    "rows in another order": lambda frame: frame.take(np.arange(frame.n)[::-1]),
    "some rows twice": lambda frame: frame.take(np.arange(frame.n).repeat(2)),
    "rows in the middle": lambda frame: frame.span(frame.n // 3, frame.n - frame.n // 3),
    "few rows": lambda frame: frame.span(0, min(2, frame.n)),
    "compact": lambda frame: frame.take(np.arange(frame.n)[::-1]).compact(),
    "trimmed": lambda frame: frame.take(np.arange(frame.n)[:2][::-1]).trimmed(),
    "some columns": lambda frame: frame.only({"id", "x:b", "c:b", "u:a", "none"}),
    "the other columns": lambda frame: frame.without({"id", "x:b", "c:b", "u:a", "none"}),
    "one more column": lambda frame: frame.plus("cause", Column(np.arange(frame.n))),
    "another column": lambda frame: frame.plus("x:a", Column(np.arange(frame.n))),
    "another name": lambda frame: frame.alias("ts", "order_ts").alias("id", "other"),
    "by name": lambda frame: frame.by_name(),
    "more than one": lambda frame: (
        frame.plus("cause", Column(np.arange(frame.n))).without({"x:a"}).take(
            np.arange(frame.n)[1:]
        ).by_name().only({"cause", "c:a", "x:always"})
    ),
    "twice": lambda frame: concat([frame, frame.take(np.arange(frame.n)[::-1])]),
    "with itself compact": lambda frame: concat(
        [frame, frame.take(np.arange(frame.n)[::-1]).compact(), frame.span(0, 0)]
    ),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(frame=frames)
def test_a_frame_in_blocks_does_what_one_of_single_columns_does(frame: Frame) -> None:
    for way, do in WAYS.items():
        done, wanted = do(blocks_of(frame)), do(frame)
        assert done.blocks is not None, way
        assert (done.n, encode_frame(done)) == (wanted.n, encode_frame(wanted)), way
        for name, column in wanted.columns.items():
            alone = done.column(name)
            assert alone is not None, way
            assert alone.mask.tolist() == column.mask.tolist(), way
            assert (alone.data[alone.mask] == column.data[column.mask]).all(), way
            assert alone.values == column.values, way
        assert list(done.columns) == list(wanted.columns), way
        assert done.blocks is None, "once somebody may change columns, there are no others"
        assert encode_frame(done) == encode_frame(wanted), way


@settings(max_examples=30, deadline=None)
@given(st.lists(frames, min_size=1, max_size=4))
def test_frames_with_other_columns_come_together_as_single_columns_do(parts: list[Frame]) -> None:
    alone = encode_frame(concat([*parts]))
    assert encode_frame(concat([blocks_of(part) for part in parts])) == alone


@settings(max_examples=30, deadline=None)
@given(frames)
def test_a_frame_that_was_read_is_in_blocks_and_knows_its_size(frame: Frame) -> None:
    read = decode_frame(encode_frame(frame))
    assert read.blocks is not None
    size = read.nbytes
    assert encode_frame(read) == encode_frame(frame)
    assert size == sum(column.nbytes for column in read.columns.values()) == read.nbytes
    assert size == blocks_of(read).nbytes


def test_many_values_are_put_in_order_of_appearance_as_few_are() -> None:
    codes = np.random.default_rng(1).integers(0, 200, 1_000)
    texts: list[str | None] = [None if code == 7 else f"city {code}" for code in codes.tolist()]
    backwards = np.arange(1_000)[::-1]
    frame = Frame("m@1", "prediction", 1_000, {"c:city": text_column(texts)})
    compact = blocks_of(frame).take(backwards).compact()
    expected = list(dict.fromkeys(text for text in texts[::-1] if text is not None))
    assert compact.columns["c:city"].values == expected
    assert compact.columns["c:city"].texts() == texts[::-1]
    assert frame.take(backwards).compact().columns["c:city"].values == expected


def test_only_some_columns_keep_no_memory_of_the_others() -> None:
    wide = {f"x:{i}": Column(np.zeros(100)) for i in range(50)}
    few = Frame("m@1", "prediction", 100, wide).in_blocks().only({"x:3"})
    assert isinstance(few.blocks, Blocks)
    assert few.blocks.floats.shape == (1, 100)
    assert few.blocks.floats.base is None
