"""Values of one field in many rows as columns, split by their JSON type."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from detectors.frame import Column, float_column, text_column
from driftline.rules import class_text
from streams.rows.words import Words

Cell: TypeAlias = float | int | str | bool | None
Cells: TypeAlias = Sequence[Any]  # of Cell; Any, because lists of one type are not lists of all

_NONE = type(None)
_NUMBERS = {int, float}
_PIECE = 125


def transpose(rows: Sequence[Mapping[str, Any]]) -> dict[str, Cells]:
    """Each key's values over the rows, None where a row lacks it; keys by first appearance."""
    if not rows:
        return {}
    keys = list(rows[0])
    if all(list(row) == keys for row in rows):  # the usual case: one pass over the cells
        flat = list(chain.from_iterable([row.values() for row in rows]))
        return {name: flat[i :: len(keys)] for i, name in enumerate(keys)}
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def feature_columns(features: Mapping[str, Cells | Words]) -> dict[str, Column]:
    """`x:`, `c:` and `b:` columns of features, one per JSON type that occurs.

    A feature that is null in every row has an `x:` column without a valid row, so that it is seen
    to exist and to be missing.
    """
    return {
        prefix + name: column
        for name, cells in features.items()
        for prefix, column in _by_type(cells)
    }


def class_columns(name: str, cells: Cells | Words) -> dict[str, Column]:
    """`name` (strings and booleans, as class text) and `name_value` (numbers), where they occur."""
    columns: dict[str, Column] = {}
    for prefix, column in _by_type(cells, flags_as_text=True):
        columns[name if prefix == "c:" else f"{name}_value"] = column
    return columns


def segment_columns(segments: Mapping[str, Cells | Words]) -> dict[str, Column]:
    """`g:` text columns of segments; values that are not text are missing."""
    columns = {}
    for name, given in segments.items():
        words = given if isinstance(given, Words) else Words(given)
        few = words.column()
        columns[f"g:{name}"] = text_column(_only(words.cells(), str)) if few is None else few
    return columns


@lru_cache(maxsize=1_024)
def packer(kind: str, n: int) -> Callable[..., bytes]:
    """What packs n values, `d` floats or `q` integers: twice as fast as an array made of a list.

    It raises struct.error where one is not a number, such as None.
    """
    return struct.Struct(f"{n}{kind}").pack


def packed(cells: Sequence[float | None]) -> bytes:
    """Floats as float64, None as NaN.

    In pieces, because one with None takes three times as long.
    """
    pieces = []
    for start in range(0, len(cells), _PIECE):
        piece = cells[start : start + _PIECE]
        try:
            pieces.append(packer("d", len(piece))(*piece))
        except struct.error:
            pieces.append(np.array(piece, np.float64).tobytes())
    return b"".join(pieces)


def number_column(cells: Cells) -> Column:
    """A float64 column of numbers; None, NaN, infinities and what float64 cannot hold invalid."""
    try:
        return float_column(cells)
    except OverflowError:  # an integer beyond 1.8e308
        return float_column([_float(cell) for cell in cells])


def _by_type(given: Cells | Words, *, flags_as_text: bool = False) -> Iterator[tuple[str, Column]]:
    words = given if isinstance(given, Words) else Words(given)
    few = words.column()
    if few is not None:
        yield "c:", few
        return
    cells = words.cells()
    types = set(map(type, cells))
    types.discard(_NONE)
    numbers = bool(types & _NUMBERS) or not types
    texts = str in types or (flags_as_text and bool in types)
    flags = bool in types and not flags_as_text
    pure = numbers + texts + flags == 1
    if numbers:
        yield "x:", number_column(cells if pure else _only(cells, int, float))
    if texts:
        named = cells
        if flags_as_text and bool in types:
            named = [class_text(c) if type(c) is bool else c for c in cells]
        yield "c:", text_column(named if pure else _only(named, str))
    if flags:
        yield "b:", _flag_column(cells if pure else _only(cells, bool))


def _only(cells: Cells, *types: type) -> list[Any]:  # Any: the caller names the types
    return [cell if type(cell) in types else None for cell in cells]


def _flag_column(cells: Cells) -> Column:
    data = np.fromiter((cell is True for cell in cells), bool, len(cells))
    if None not in cells:
        return Column(data)
    return Column(data, np.fromiter((cell is not None for cell in cells), bool, len(cells)))


def _float(cell: float | None) -> float | None:
    try:
        return None if cell is None else float(cell)
    except OverflowError:
        return None
