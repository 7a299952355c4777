"""Frames as plain builtins, for messages and checkpoints: columns are packed little-endian bytes.

`encode_frame` gives dicts, lists, strings, integers and bytes only, which msgpack stores as they
are. A column is {name, kind, data} and, where needed, `valid` (a bitmap, first row = lowest bit;
absent: all rows are valid) and `values` (text: what the uint32 codes in `data` mean). `kind` is
`text` or a NumPy type such as `<f8`, `<i8`, `|b1`, `|V16`. What a reader does not know by name it
passes on.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from detectors.frame import Array, Column, Frame

TEXT = "text"
_CODES = np.dtype("<u4")
_SWAP = sys.byteorder == "big"


def encode_frame(frame: Frame) -> dict[str, Any]:
    """The frame as builtins.

    NaN and infinities become invalid; of text values that are more than rows, unused ones go.
    """
    encoded: dict[str, Any] = {"subject": frame.subject, "kind": frame.kind, "n": frame.n}
    if frame.cause is not None:
        encoded["cause"] = frame.cause
    encoded["columns"] = [_encode_column(name, c) for name, c in frame.columns.items()]
    return encoded


def decode_frame(encoded: dict[str, Any]) -> Frame:
    """The frame that `encode_frame` described; its arrays share the encoded bytes, read-only.

    Raises:
        ValueError: a column's bytes do not hold `n` values of its kind.
    """
    n = encoded["n"]
    columns = {column["name"]: _decode_column(column, n) for column in encoded["columns"]}
    return Frame(encoded["subject"], encoded["kind"], n, columns, encoded.get("cause"))


def encode_array(data: Array) -> bytes:
    """The array's values in order, little-endian."""
    if _SWAP:
        data = data.astype(data.dtype.newbyteorder("<"))
    return data.tobytes()


def _encode_column(name: str, column: Column) -> dict[str, Any]:
    data, valid, values = column.data, column.valid, column.values
    encoded: dict[str, Any] = {"name": name}
    if values is not None:
        if len(values) > len(data):
            compact = column.compact()
            data, values = compact.data, compact.values or []
        encoded |= {"kind": TEXT, "values": values}
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


def _decode_column(encoded: dict[str, Any], n: int) -> Column:
    kind = encoded["kind"]
    data = np.frombuffer(encoded["data"], _CODES if kind == TEXT else np.dtype(kind))
    if len(data) != n:
        raise ValueError(f"column {encoded['name']!r} has {len(data)} values, not {n}")
    valid = None
    bitmap = encoded.get("valid")
    if bitmap is not None:
        bits = np.frombuffer(bitmap, np.uint8)
        valid = np.unpackbits(bits, count=n, bitorder="little").view(bool)
    return Column(data, valid, encoded["values"] if kind == TEXT else None)
