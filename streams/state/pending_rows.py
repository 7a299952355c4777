"""What join keeps on disk of one id, as bytes: prediction rows, their labels, labels that wait.

A prediction row is packed by its *layout*, the columns its frame had: fixed-width values side by
side, a bitmap of the valid ones, then the texts. Layouts are few and lie in the checkpoint.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detectors.flow.pending import Label
from detectors.frame import ID, Array, Column, Frame, concat, text_column
from detectors.frame_codec import TEXT

_TIMES = struct.Struct("<qq")
_TIME_COLUMNS = ("ts", "arrival")
_VALID = "valid"


class StoredRow(msgspec.Struct, array_like=True, gc=False):
    """A prediction, and the label that holds for it."""

    layout: int
    packed: bytes
    label: Label | None = None


class StoredSlot(msgspec.Struct, array_like=True, gc=False):
    """A label that waits for predictions of a model (empty: of any)."""

    model: str
    label: Label
    matched: bool
    arrival: int


class Stored(msgspec.Struct, array_like=True, gc=False):
    """All that one slice holds of one id."""

    rows: list[StoredRow]
    slots: list[StoredSlot] = []


encode_stored = msgspec.msgpack.Encoder().encode
decode_stored = msgspec.msgpack.Decoder(Stored).decode
_encode_texts = msgspec.msgpack.Encoder().encode
_decode_texts = msgspec.msgpack.Decoder(list[str | None]).decode


_encode = msgspec.msgpack.Encoder().encode
_NO_LABEL = _encode(None)
_ONE_ROW = b"\x92\x91\x93"  # arrays of two, one, three
_NO_SLOTS = b"\x90"
_NO_MORE = _NO_LABEL + _NO_SLOTS
_FIXINT = 0x80
_BIN8 = 0xC4


def encode_rows(
    layout: int, packed: Sequence[bytes], labels: Sequence[bytes | None]
) -> list[bytes]:
    """What `encode_stored` gives of `Stored` with one such row each, and no label that waits.

    `labels`: as `encode_labels` gives them; None: no label.
    """
    head = _ONE_ROW + _encode(layout)
    return [
        head + one + (label or _NO_LABEL) + _NO_SLOTS
        for one, label in zip(map(_encode, packed), labels, strict=True)
    ]


def encode_labels(labels: Iterable[tuple[object, ...]]) -> list[bytes]:
    """The labels as they lie in what `encode_stored` gives."""
    return [_encode(label) for label in labels]


def encode_waiting(model: str, labels: Sequence[bytes], arrivals: Sequence[int]) -> list[bytes]:
    """What `encode_stored` gives of `Stored` with one label each that met its prediction.

    `labels`: as `encode_labels` gives them; `arrivals`: when they were last said, in ms.
    """
    head, met = (
        b"\x92\x90\x91\x94" + _encode(model),
        _encode(True),
    )
    return [
        head + label + met + arrival
        for label, arrival in zip(labels, map(_encode, arrivals), strict=True)
    ]


def usual_row(value: bytes) -> tuple[int, bytes] | None:
    """(layout, packed row) where the value is one row without a label, and no label waits.

    None: it may be that or anything else. It reads the bytes that `encode_rows` writes for fewer
    than 128 layouts and rows of less than 256 bytes.
    """
    start = 6
    if value[:3] == _ONE_ROW and value[3] < _FIXINT and value[4] == _BIN8:
        end = start + value[5]
        if value[end:] == _NO_MORE:
            return value[3], value[start:end]
    return None


def times(packed: bytes) -> tuple[int, int]:
    """The (ts, arrival) of a packed row, in ms."""
    ts, arrival = _TIMES.unpack_from(packed)
    return ts, arrival


@dataclass(slots=True)
class Layout:
    """The columns of some rows of one subject: (name, kind) in their packed order, without `id`."""

    subject: str
    columns: tuple[tuple[str, str], ...]
    last_end: int = 0
    """The latest slice end of a row with this layout: afterwards nobody needs it, in ms."""
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        numbers = [(name, kind) for name, kind in self.columns if kind != TEXT]
        flags = (len(self.columns) + 7) // 8
        self.dtype = np.dtype([*numbers, (_VALID, "u1", (flags,))])

    def pack(self, frame: Frame) -> list[bytes]:
        """Each row of a frame with these columns."""
        fixed = np.zeros(frame.n, self.dtype)
        valid = np.ones((frame.n, len(self.columns)), bool)
        texts: list[Column] = []
        for at, (name, kind) in enumerate(self.columns):
            column = frame.columns[name]
            if column.valid is not None:
                valid[:, at] = column.valid
            if kind == TEXT:
                texts.append(column)
            else:
                fixed[name] = column.data
        fixed[_VALID] = np.packbits(valid, axis=1, bitorder="little")
        rows: list[bytes] = fixed.view(f"V{self.dtype.itemsize}").tolist()
        if not texts:
            return rows
        return [row + tail for row, tail in zip(rows, _tails(texts), strict=True)]

    def unpack(self, ids: Sequence[bytes], packed: Sequence[bytes]) -> Frame:
        """The rows that `pack` packed, with the ids they had."""
        size = self.dtype.itemsize
        fixed = np.frombuffer(b"".join([row[:size] for row in packed]), self.dtype)
        flags = np.unpackbits(
            fixed[_VALID].reshape(len(packed), -1),
            axis=1,
            count=len(self.columns),
            bitorder="little",
        ).view(bool)
        kinds = [kind for _, kind in self.columns]
        texts = iter(_texts([row[size:] for row in packed]) if TEXT in kinds else ())
        columns = {"id": Column(np.frombuffer(b"".join(ids), ID))}
        for at, (name, kind) in enumerate(self.columns):
            if kind == TEXT:
                columns[name] = next(texts)
            else:
                valid: Array | None = np.ascontiguousarray(flags[:, at])
                valid = None if valid is None or valid.all() else valid
                columns[name] = Column(np.ascontiguousarray(fixed[name]), valid)
        return Frame(self.subject, "prediction", len(packed), columns)


def _texts(tails: Sequence[bytes]) -> Iterator[Column]:
    """The text columns of rows; equal tails, which are many, are decoded once."""
    numbers: dict[bytes, int] = {}
    codes = np.array([numbers.setdefault(tail, len(numbers)) for tail in tails])
    for texts in zip(*map(_decode_texts, numbers), strict=True):
        yield text_column(texts).take(codes).compact()


def _tails(columns: Sequence[Column]) -> list[bytes]:
    """The texts of each row; equal ones, which are many, are encoded once."""
    which = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes = np.where(column.mask, column.data.astype(np.int64) + 1, 0)
        key = which * (len(column.values or ()) + 1) + codes
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
    distinct = zip(*[column.take(first).texts() for column in columns], strict=True)
    tails = list(map(_encode_texts, distinct))
    return [tails[at] for at in which.tolist()]


class Layouts:
    """The layouts in use, by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self._layouts: dict[int, Layout] = {}
        self._next = 0

    def __getitem__(self, number: int) -> Layout:
        return self._layouts[number]

    def of(self, frame: Frame, last_end: int) -> int:
        """The number of a frame's layout, which is needed until `last_end`, in ms."""
        rest = sorted(name for name in frame.columns if name not in {"id", *_TIME_COLUMNS})
        columns = tuple((n, _kind(frame.columns[n])) for n in (*_TIME_COLUMNS, *rest))
        key = (frame.subject, columns)
        number = self._numbers.get(key)
        if number is None:
            number = self._add(self._next, Layout(*key))
        layout = self._layouts[number]
        layout.last_end = max(layout.last_end, last_end)
        return number

    def _add(self, number: int, layout: Layout) -> int:
        self._numbers[layout.subject, layout.columns] = number
        self._layouts[number] = layout
        self._next = number + 1
        return number

    def expire(self, now: int) -> None:
        """Forgets the layouts that only rows of ended slices have."""
        for number in [n for n, layout in self._layouts.items() if layout.last_end < now]:
            gone = self._layouts.pop(number)
            del self._numbers[gone.subject, gone.columns]

    def frame(self, rows: Sequence[tuple[bytes, int, bytes]]) -> Frame:
        """The frame of (id, layout, packed) rows of one subject, in the order given."""
        by_layout: dict[int, list[int]] = {}
        for at, (_, number, _) in enumerate(rows):
            by_layout.setdefault(number, []).append(at)
        parts = [
            self[number].unpack([rows[i][0] for i in at], [rows[i][2] for i in at])
            for number, at in by_layout.items()
        ]
        if len(parts) == 1:
            return parts[0]
        places = np.concatenate([np.array(at) for at in by_layout.values()])
        return concat(parts).take(np.argsort(places))

    def dump(self) -> dict[str, Any]:
        """As builtins, for the checkpoint."""
        layouts = [
            [number, layout.subject, [list(c) for c in layout.columns], layout.last_end]
            for number, layout in self._layouts.items()
        ]
        return {"next": self._next, "layouts": layouts}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Layouts:
        """The layouts that `dump` described."""
        layouts = cls()
        for number, subject, columns, last_end in dumped["layouts"]:
            shape = tuple((name, kind) for name, kind in columns)
            layouts._add(number, Layout(subject, shape, last_end))
        layouts._next = dumped["next"]
        return layouts


def _kind(column: Column) -> str:
    return TEXT if column.values is not None else column.data.dtype.newbyteorder("<").str
