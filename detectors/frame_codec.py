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

from detectors.block_texts import NO_TEXT, U4
from detectors.blocks import FLOATS, INTS, REST, TEXTS, Blocks, known_floats
from detectors.column import STR_BYTES
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
    number, integer, text = _rows(floats, 8), _rows(blocks.ints, 8), _rows(codes, 4)
    known_bits, said_bits = _bitmaps(known), _bitmaps(said)
    out: list[dict[str, Any]] = []
    for name, (block, row) in blocks.places.items():
        if block == FLOATS:
            column = {"name": name, "kind": "<f8", "data": number[row]}
            if row in known_bits:
                column["valid"] = known_bits[row]
        elif block == INTS:
            column = {"name": name, "kind": "<i8", "data": integer[row]}
        elif block == TEXTS:
            values = blocks.values[row]
            column = {"name": name, "kind": TEXT, "values": values, "data": text[row]}
            if row in said_bits:
                column["valid"] = said_bits[row]
        else:
            column = _encode_column(name, blocks.rest[name])
        out.append(column)
    return out


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
    names = tuple([column["name"] for column in columns])
    kinds = tuple([column["kind"] for column in columns])
    layout = _layout(names, kinds)
    floats, ints, texts, rest = ([columns[i] for i in at] for at in layout.at)
    if partly := [column["name"] for column in ints if "valid" in column]:
        kinds = tuple(["" if name in partly else k for name, k in zip(names, kinds, strict=True)])
        layout = _layout(names, kinds)
        floats, ints, texts, rest = ([columns[i] for i in at] for at in layout.at)
    others = {column["name"]: _decode_column(column, n) for column in rest}
    numbers, part_numbers = _decode_rows(floats, _F8, n, np.nan)
    integers, _ = _decode_rows(ints, _I8, n, 0)
    codes, part_texts = _decode_rows(texts, _U4, n, NO_TEXT)
    values = [column["values"] for column in texts]
    size = 8 * n * (len(floats) + len(ints)) + 4 * n * len(texts) + n * (part_numbers + part_texts)
    for known in values:
        size += sum(map(len, known)) + STR_BYTES * len(known)
    for column in others.values():
        size += column.nbytes
    return Blocks(n, layout.places, numbers, integers, codes, values, others, size)


_F8, _I8, _U4 = np.dtype("<f8"), np.dtype("<i8"), np.dtype("<u4")


def _decode_rows(
    columns: list[dict[str, Any]], dtype: np.dtype[Any], n: int, no: float
) -> tuple[Array, int]:
    """The data of columns of one type, shape (columns, n), and how many are not all valid.

    They hold `no` where they are invalid.
    """
    if not columns:
        return np.empty((0, n), dtype), 0
    width = dtype.itemsize * n
    every = [column["data"] for column in columns]
    if [*map(len, every)].count(width) < len(every):
        wrong = next(column for column in columns if len(column["data"]) != width)
        found = len(wrong["data"]) / dtype.itemsize
        raise ValueError(f"column {wrong['name']!r} has {found:g} values, not {n}")
    rows = np.frombuffer(b"".join(every), dtype).reshape(len(columns), n)
    masked = [row for row, column in enumerate(columns) if "valid" in column]
    if not masked:
        return rows, 0
    valid = np.ones(rows.shape, bool)
    bitmaps = [columns[row]["valid"] for row in masked]
    if [*map(len, bitmaps)].count(-(-n // 8)) == len(bitmaps):
        bits = np.frombuffer(b"".join(bitmaps), np.uint8).reshape(len(bitmaps), -1)
        valid[masked] = np.unpackbits(bits, axis=1, count=n, bitorder="little")
    else:
        valid[masked] = [_unpacked(bitmap, n) for bitmap in bitmaps]
    return np.where(valid, rows, dtype.type(no)), len(masked)


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
