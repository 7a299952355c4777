"""Frames as plain builtins, for messages and checkpoints: columns are packed little-endian bytes.

`encode_frame` gives dicts, lists, strings, integers and bytes only, which msgpack stores as they
are. A column is {name, kind, data} and, where needed, `valid` (a bitmap, first row = lowest bit;
absent: all rows are valid) and `values` (text: what the uint32 codes in `data` mean). `kind` is
`text` or a NumPy type such as `<f8`, `<i8`, `|b1`, `|V16`. What a reader does not know by name it
passes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from detectors.blocks import F8, FLOATS, I8, INTS, NO_TEXT, REST, TEXTS, U4, Blocks, known_floats
from detectors.frame import Array, Column, Frame

TEXT = "text"
_SWAP = sys.byteorder == "big"


def encode_frame(frame: Frame) -> dict[str, Any]:
    """The frame as builtins.

    NaN and infinities become invalid; of text values that are more than rows, unused ones go.
    """
    encoded: dict[str, Any] = {"subject": frame.subject, "kind": frame.kind, "n": frame.n}
    if frame.cause is not None:
        encoded["cause"] = frame.cause
    if frame.blocks is not None:
        encoded["columns"] = _encode_blocks(frame.blocks.trimmed())
    else:
        encoded["columns"] = [_encode_column(name, c) for name, c in frame.columns.items()]
    return encoded


def decode_frame(encoded: dict[str, Any]) -> Frame:
    """The frame that `encode_frame` described, in blocks.

    Raises:
        ValueError: a column's bytes do not hold `n` values of its kind.
    """
    n, columns = encoded["n"], encoded["columns"]
    blocks = _decode_blocks(columns, n)
    return Frame(encoded["subject"], encoded["kind"], n, blocks, encoded.get("cause"))


def encode_array(data: Array) -> bytes:
    """The array's values in order, little-endian."""
    if _SWAP:
        data = data.astype(data.dtype.newbyteorder("<"))
    return data.tobytes()


def _encode_column(name: str, column: Column) -> dict[str, Any]:
    column = column.trimmed()
    data, valid = column.data, column.valid
    encoded: dict[str, Any] = {"name": name}
    if column.values is not None:
        encoded |= {"kind": TEXT, "values": column.values}
    else:
        encoded["kind"] = data.dtype.newbyteorder("<").str
        if data.dtype.kind == "f":
            data, valid = _finite(data, valid)
    encoded["data"] = encode_array(data)
    if valid is not None and not valid.all():
        encoded["valid"] = np.packbits(valid, bitorder="little").tobytes()
    return encoded


def _finite(data: Array, valid: Array | None) -> tuple[Array, Array | None]:
    finite = np.isfinite(data)
    if finite.all():
        return data, valid
    return np.where(finite, data, 0.0), finite if valid is None else finite & valid


def _encode_blocks(blocks: Blocks) -> list[dict[str, Any]]:
    floats, known = known_floats(blocks.floats)
    codes = blocks.codes
    said = codes != NO_TEXT if codes.size and codes.max() == NO_TEXT else None
    if said is not None:
        codes = np.where(said, codes, U4.type(0))
    data = [_rows(floats, 8), _rows(blocks.ints, 8), _rows(codes, 4)]
    bitmaps = {FLOATS: _bitmaps(known), TEXTS: _bitmaps(said)}
    out: list[dict[str, Any]] = []
    for name, (block, row) in blocks.places.items():
        if block == REST:
            out.append(_encode_column(name, blocks.rest[name]))
            continue
        column: dict[str, Any] = {"name": name}
        if block == TEXTS:
            column |= {"kind": TEXT, "values": blocks.values[row]}
        else:
            column["kind"] = _KIND[block]
        column["data"] = data[block][row]
        if block != INTS and row in bitmaps[block]:
            column["valid"] = bitmaps[block][row]
        out.append(column)
    return out


_KIND = {FLOATS: "<f8", INTS: "<i8"}


def _rows(block: Array, size: int) -> list[bytes]:
    """The values of each row, little-endian."""
    together, width = encode_array(block), size * block.shape[1]
    return [together[i * width : (i + 1) * width] for i in range(len(block))]


def _bitmaps(valid: Array | None) -> dict[int, bytes]:
    """Row -> its bitmap, of the rows that are not all valid."""
    if valid is None:
        return {}
    some = np.flatnonzero(~valid.all(axis=1))
    packed = np.packbits(valid[some], axis=1, bitorder="little")
    return {row: bits.tobytes() for row, bits in zip(some.tolist(), packed, strict=True)}


class _Layout(NamedTuple):
    """Where the columns of a frame go, by their names and kinds."""

    places: dict[str, tuple[int, int]]
    at: tuple[list[int], list[int], list[int], list[int]]
    """For each block, which of the columns are in it, in the order of its rows."""


@lru_cache(maxsize=1024)
def _layout(names: tuple[str, ...], kinds: tuple[str, ...]) -> _Layout:
    at: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
    places = {}
    for number, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        block = _BLOCK.get(kind, REST)
        places[name] = block, 0 if block == REST else len(at[block])
        at[block].append(number)
    return _Layout(places, at)


_BLOCK = {"<f8": FLOATS, "<i8": INTS, TEXT: TEXTS}


def _decode_blocks(columns: Sequence[dict[str, Any]], n: int) -> Blocks:
    kinds = [column["kind"] for column in columns]
    if any("valid" in column for column in columns if column["kind"] == "<i8"):
        kinds = [
            "" if kind == "<i8" and "valid" in column else kind
            for kind, column in zip(kinds, columns, strict=True)
        ]
    layout = _layout(tuple([column["name"] for column in columns]), tuple(kinds))
    floats, ints, texts, rest = ([columns[i] for i in at] for at in layout.at)
    others = {column["name"]: _decode_column(column, n) for column in rest}
    return Blocks(
        n,
        layout.places,
        _decode_rows(floats, F8, n, np.nan),
        _decode_rows(ints, I8, n, 0),
        _decode_rows(texts, U4, n, NO_TEXT),
        [column["values"] for column in texts],
        others,
    )


def _decode_rows(columns: list[dict[str, Any]], dtype: np.dtype[Any], n: int, no: float) -> Array:
    """The data of columns of one type, shape (columns, n), with `no` where they are invalid."""
    width = dtype.itemsize * n
    every = [column["data"] for column in columns]
    for column, data in zip(columns, every, strict=True):
        if len(data) != width:
            found = len(data) / dtype.itemsize
            raise ValueError(f"column {column['name']!r} has {found:g} values, not {n}")
    rows = np.frombuffer(b"".join(every), dtype.newbyteorder("<")).reshape(len(columns), n)
    masked = [row for row, column in enumerate(columns) if "valid" in column]
    if masked:
        rows = rows.copy()
        valid = [_unpacked(columns[row]["valid"], n) for row in masked]
        rows[masked] = np.where(valid, rows[masked], dtype.type(no))
    return rows


def _decode_column(encoded: dict[str, Any], n: int) -> Column:
    kind = encoded["kind"]
    data = np.frombuffer(encoded["data"], np.dtype(kind))
    if len(data) != n:
        raise ValueError(f"column {encoded['name']!r} has {len(data)} values, not {n}")
    bitmap = encoded.get("valid")
    return Column(data, None if bitmap is None else _unpacked(bitmap, n))


def _unpacked(bitmap: bytes, n: int) -> Array:
    bits = np.frombuffer(bitmap, np.uint8)
    return np.unpackbits(bits, count=n, bitorder="little").view(bool)
