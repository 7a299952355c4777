"""Texts as codes at the first look, and floats packed: the columns of the plain ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from detectors.blocks import Blocks
from detectors.frame import Column, float_column, text_column
from streams.rows.cells import packed
from streams.rows.words import Words

TEXTS = st.none() | st.just(UNSET) | st.sampled_from(["a", "b", "", "ünï"])
CELLS = TEXTS | st.booleans() | st.sampled_from([0, 1, 1.0, 0.0])
NUMBERS = st.none() | st.floats(allow_nan=False) | st.integers(-5, 5).map(float)


def taken(pieces: Sequence[Sequence[Any]]) -> Words:
    words = Words()
    for piece in pieces:
        words.add(piece)
    return words


def plain(pieces: Sequence[Sequence[Any]]) -> list[Any]:
    return [None if cell is UNSET else cell for piece in pieces for cell in piece]


def same(one: Column, other: Column) -> bool:
    return one.texts() == other.texts() and repr(one) == repr(other)


@given(st.lists(st.lists(TEXTS, min_size=4, max_size=9), min_size=1, max_size=4))
@example([["a", "a", None, UNSET], ["b"]])
def test_texts_in_pieces_are_the_column_of_all_at_once(pieces: list[list[Any]]):
    column, cells = taken(pieces).column(), plain(pieces)
    if set(cells) == {None}:
        assert column is None
    elif column is not None:
        assert same(column, text_column(cells))


def test_few_texts_are_coded_and_many_left_as_they_are():
    few = taken([["a", None, "b"] * 9, ["c", UNSET]])
    many = taken([[f"comment {i}" for i in range(99)]])
    column = few.column()
    assert column is not None
    assert column.values == ["a", "b", "c"]
    assert many.column() is None
    assert many.cells()[98] == "comment 98"


@given(st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=5))
@example([["a", "a"], [1, True, 1.0]])
@example([["a", "a", True], [1]])
def test_no_cell_is_taken_for_one_that_equals_it(pieces: list[list[Any]]):
    words, cells = taken(pieces), plain(pieces)
    assert repr(words.cells()) == repr(cells)  # 1, 1.0 and True are equal
    if any(cell is not None and type(cell) is not str for cell in cells):
        assert words.column() is None


@pytest.mark.parametrize(
    ("cells", "occurs"),
    [([UNSET] * 3, False), ([UNSET, None, UNSET], True), ([UNSET, 1], True), (["a"], True)],
)
def test_a_field_occurs_even_if_only_as_null(cells: list[Any], occurs: bool):
    assert Words(cells).occurs is occurs


@given(st.lists(NUMBERS, min_size=1, max_size=12), st.integers(1, 40))
def test_packed_floats_are_the_column_that_numpy_makes(cells: list[float | None], times: int):
    long = cells * times  # more than one piece
    floats = {"x:f": packed(long), "x:g": packed(long[::-1])}
    column = Blocks.of({}, len(long), floats).columns()["x:f"]
    expected = float_column(long)
    assert np.array_equal(column.mask, expected.mask)
    assert (column.valid is None) == (expected.valid is None)
    assert column.data.tobytes() == expected.data.tobytes()
