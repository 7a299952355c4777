"""Batches: cleaned blocks as messages that stay under the contract's limits.

Rows that agree go out as columns, which is the fast path of the worker; a lone row as a single
event; rows that hardly share a feature as a list of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import orjson
from msgspec import Struct

from driftline.blocks import Block
from driftline.cleaning import Bad, clean_labels, clean_predictions, made_safe
from driftline.rules import MAX_MESSAGE_BYTES, MAX_ROWS, Reason

Drop: TypeAlias = Callable[[str, str, int], None]
"""Told of rows that cannot be sent: the reason, a detail for the log, how many."""

MAX_VALUE_BYTES: Final = MAX_MESSAGE_BYTES - 65_536
"""Largest value sent. The rest is for the key, the headers and the counts added at the last."""

_FEW = 512  # rows that are tried as one message without asking how large they may be
_SAMPLE = 64  # rows written to learn how large the others may be
_FULL_ENOUGH = 0.8  # of a message: rows differ in size


class Batch(Struct):
    """One message to be: `n` rows. `key` None: any partition."""

    model: str | None
    version: str | None
    n: int
    value: bytes
    key: bytes | None = None

    def value_with_dropped(self, count: int) -> bytes:
        """The value, saying, unless it is 0, that the client lost `count` rows before this."""
        return b'%b,"client_dropped":%d}' % (self.value[:-1], count) if count else self.value


def prediction_batches(group: Sequence[Block], drop: Drop) -> Iterator[Batch]:
    """Messages of the predictions of one model and version, from uncleaned blocks."""
    return _batches([_cleaned(block, clean_predictions, drop) for block in group], drop)


def label_batches(group: Sequence[Block], drop: Drop) -> Iterator[Batch]:
    """Messages of the labels of one model, from uncleaned blocks."""
    return _batches([_cleaned(block, clean_labels, drop) for block in group], drop)


def _cleaned(block: Block, clean: Callable[[Block], tuple[Block, Bad]], drop: Drop) -> Block:
    block, bad = clean(block)
    _tell(bad, drop)
    return block


def _tell(bad: Bad, drop: Drop) -> None:
    """One call per reason, with the detail of its first row."""
    details: dict[str, str] = {}
    for reason, detail in bad.values():
        details.setdefault(reason, detail)
    counts = Counter(reason for reason, _ in bad.values())
    for reason, count in counts.items():
        drop(reason, details[reason], count)


def _batches(blocks: Sequence[Block], drop: Drop) -> Iterator[Batch]:
    whole = [block for block in blocks if block.n]
    if len(whole) > 1:
        yield from _as_rows(whole, drop)
    elif whole:
        yield from _as_columns(whole[0], drop)


def _as_columns(block: Block, drop: Drop) -> Iterator[Batch]:
    """Columnar messages; as many rows in each as fit."""
    start, size = 0, _first_size(block)
    while start < block.n:
        part = block.part(start, start + size)
        n, value = part.n, b""
        try:
            value = _value(part)
        except orjson.JSONEncodeError:
            part = _safe(part, drop)
            value = _value(part) if part.n else b""
        if len(value) > MAX_VALUE_BYTES and part.n > 1:
            size = min(part.n // 2, _fitting(part.n, len(value)))
            continue
        start += n
        if len(value) > MAX_VALUE_BYTES:
            drop(Reason.TOO_LARGE, f"one row of {len(value)} bytes", 1)
        elif part.n:
            size = _fitting(part.n, len(value))
            yield Batch(part.model, part.version, part.n, value, _key(part))


def _first_size(block: Block) -> int:
    """How many rows to try in the first message."""
    if block.n <= _FEW:
        return _FEW
    try:
        return _fitting(_SAMPLE, len(_value(block.part(0, _SAMPLE))))
    except orjson.JSONEncodeError:
        return _FEW


def _fitting(n: int, size_bytes: int) -> int:
    """How many rows like these `n` fill a message."""
    return max(1, min(MAX_ROWS, int(_FULL_ENOUGH * MAX_VALUE_BYTES * n / size_bytes)))


def _key(block: Block) -> bytes | None:
    """A lone row's key is its id, as other producers are advised to do."""
    if block.n > 1:
        return None
    key: str = block.columns["prediction_id"][0]
    return key.encode()


def _safe(block: Block, drop: Drop) -> Block:
    block, bad = made_safe(block)
    _tell(bad, drop)
    return block


def _value(block: Block) -> bytes:
    message = _head(block)
    if block.n == 1:
        message |= next(iter(block.rows()))
    else:
        message["columns"] = block.columns
    if block.invalid:
        message["invalid"] = block.invalid
    return orjson.dumps(message)


def _head(block: Block) -> dict[str, Any]:
    head = {"model": block.model, "version": block.version}
    return {name: value for name, value in head.items() if value is not None}


def _as_rows(blocks: Sequence[Block], drop: Drop) -> Iterator[Batch]:
    """Messages of row lists."""
    first, events, size = blocks[0], list[bytes](), 0
    for event in _events(blocks, drop):
        if size + len(event) > MAX_VALUE_BYTES or len(events) >= MAX_ROWS:
            yield _row_batch(first, events)
            events, size = [], 0
        if len(event) > MAX_VALUE_BYTES:
            drop(Reason.TOO_LARGE, f"one row of {len(event)} bytes", 1)
            continue
        events.append(event)
        size += len(event) + 1
    if events:
        yield _row_batch(first, events)


def _row_batch(head: Block, events: Sequence[bytes]) -> Batch:
    value = b'%b,"predictions":[%b]}' % (orjson.dumps(_head(head))[:-1], b",".join(events))
    return Batch(head.model, head.version, len(events), value)


def _events(blocks: Sequence[Block], drop: Drop) -> Iterator[bytes]:
    """Each row as JSON; the first row of a block tells its `invalid`."""
    for block in blocks:
        try:
            yield from list(_dumped(block))
        except orjson.JSONEncodeError:
            yield from list(_dumped(_safe(block, drop)))


def _dumped(block: Block) -> Iterator[bytes]:
    invalid = block.invalid
    for event in block.rows():
        yield orjson.dumps(event | {"invalid": invalid} if invalid else event)
        invalid = {}
