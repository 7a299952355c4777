"""Columnar batches straight to frames; `streams.rows.singles` calls this for its odd records.

A batch is taken if it holds predictions or labels of one model, each column of its usual type, and
nothing in doubt; it becomes what `driftline.codec` and `streams.rows.builder` would make of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import astuple

from detectors.blocks import Blocks
from detectors.frame import Column, Frame, text_column
from driftline.batch_shapes import (
    NUMBERS,
    NUMBERS_OR_NULL,
    BatchShape,
    BatchShapes,
    label_batch_decoder,
)
from driftline.rules import MAX_AHEAD_MS, MAX_ROWS, is_name
from driftline.shapes import DOUBTS
from streams.rows.cells import (
    class_columns,
    feature_columns,
    number_column,
    packed,
    segment_columns,
)
from streams.rows.shards import id_hashes

_HEAD_BYTES = 1_000
_COLUMNS, _MODEL = b'"columns"', b'"model":"'


def is_columnar(value: bytes) -> bool:
    """Whether a message looks like a columnar batch; a guess, which decides about speed only."""
    return _COLUMNS in value[:_HEAD_BYTES]


class Batches:
    """Reads columnar batches of one source partition after the other."""

    def __init__(self) -> None:
        self._shapes = BatchShapes()

    def frame(
        self, value: bytes, *, source: int, offset: int, arrival: int, stamp: int
    ) -> Frame | None:
        """The rows of one message; None: it is not beyond doubt, and the codec has to read it.

        Args:
            value: the message.
            source: of the order key, (rank of the topic << 32 | partition).
            offset: of the message.
            arrival: of all its rows, in ms.
            stamp: event time of rows that name none, in ms.
        """
        read = _labels(value) or self._predictions(value)
        if read is None:
            return None
        subject, kind, ids, ts, shared_ts, columns, floats = read
        n = len(ids)
        times = np.full(n, stamp if shared_ts is None else shared_ts) if ts is None else ts
        times = np.asarray(times, np.int64)
        if not 0 < n <= MAX_ROWS or int(times.max()) > arrival + MAX_AHEAD_MS:
            return None
        order = {
            "id": Column(id_hashes(ids)),
            "ts": Column(times),
            "arrival": Column(np.full(n, arrival, np.int64)),
            "source": Column(np.full(n, source, np.int64)),
            "offset": Column(np.full(n, offset, np.int64)),
            "index": Column(np.arange(n)),
        }
        return Frame(subject, kind, n, Blocks.of(order | columns, n, floats))

    def _predictions(self, value: bytes) -> _Read | None:
        begin = value.find(_MODEL, 0, _HEAD_BYTES) + len(_MODEL)
        found = self._shapes.decode(value[begin : value.find(b'"', begin)], value)
        if found is None:
            return None
        shape, batch = found
        columns = batch.columns
        features = _named(shape, columns.features)
        lengths = {len(columns.prediction_id), *map(len, features.values()), *_lengths(columns)}
        if len(lengths) != 1 or not (is_name(batch.model) and is_name(batch.version)):
            return None
        subject = f"{batch.model}@{batch.version}"
        numbers, others = _parted(shape, features)
        made = _prediction_columns(others, columns)
        floats = {f"x:{name}": packed(cells) for name, cells in numbers.items()}
        if isinstance(columns.scores, dict):
            floats |= {f"s:{name}": packed(cells) for name, cells in columns.scores.items()}
        return subject, "prediction", columns.prediction_id, columns.ts, batch.ts, made, floats


_Read = tuple[
    str, str, list[str], list[int] | None, int | None, dict[str, Column], dict[str, bytes]
]
"""(subject, kind, ids, their ts or the ts they share, in ms, columns, those packed as float64)."""


def _labels(value: bytes) -> _Read | None:
    try:
        batch = label_batch_decoder.decode(value)
    except DOUBTS:
        return None
    columns, model = batch.columns, batch.model
    lengths = {len(columns.prediction_id), len(columns.label), *_lengths(columns)}
    if len(lengths) != 1 or (model is not None and not is_name(model)):
        return None
    made = class_columns("label", columns.label)
    origins: Sequence[str | None] = columns.source or ()
    if batch.source is not None:
        given = origins or [None] * len(columns.label)
        origins = [batch.source if origin is None else origin for origin in given]
    if any(origin is not None for origin in origins):
        made["label_source"] = text_column(origins)
    return f"{model or ''}@", "label", columns.prediction_id, columns.ts, batch.ts, made, {}


def _named(shape: BatchShape, features: Any) -> dict[str, list[Any]]:
    if features is None:
        return {}
    cells = zip(shape.features, astuple(features), strict=True)
    return {name: values for name, values in cells if values is not UNSET}


def _lengths(columns: Any) -> Iterator[int]:
    """Of the columns beside ids and features."""
    for field in columns.__struct_fields__:
        column = getattr(columns, field)
        if isinstance(column, list):
            yield len(column)
        elif isinstance(column, dict):
            yield from map(len, column.values())


def _parted(
    shape: BatchShape, features: dict[str, list[Any]]
) -> tuple[dict[str, list[float | None]], dict[str, list[Any]]]:
    """The features that hold numbers or nothing, and the others."""
    numbers: dict[str, list[float | None]] = {}
    others: dict[str, list[Any]] = {}
    for name, cells in features.items():
        which = numbers if shape.features[name] in (NUMBERS, NUMBERS_OR_NULL) else others
        which[name] = cells
    return numbers, others


def _prediction_columns(features: dict[str, list[Any]], columns: Any) -> dict[str, Column]:
    made = feature_columns(features)
    made |= class_columns("prediction", columns.prediction)
    if isinstance(columns.scores, list):
        made["score"] = number_column(columns.scores)
    made |= segment_columns(columns.segments or {})
    made |= {f"a:{name}": number_column(v) for name, v in (columns.attributions or {}).items()}
    if columns.latency_ms is not None:
        made["latency_ms"] = number_column(columns.latency_ms)
    return made
