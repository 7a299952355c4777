"""Columnar batches on the fast path: whole columns checked in C by msgspec's types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from driftline.events import Decoded, LabelEvent, Output, PredictionColumns
from driftline.rules import MAX_FEATURES, MAX_ROWS, iso_ms
from driftline.wire import Columns, Shared


def take(out: Decoded, columns: Columns, shared: Shared) -> bool:
    """Add a columnar batch to `out`; False, and nothing added: in doubt, see `wire.take`."""
    n = len(columns.prediction_id)
    ts = _times(columns.ts, n, shared.ts)
    if ts is None or n > MAX_ROWS or not set(_lengths(columns)) <= {n}:
        return False
    arrival = filled(columns.arrival, n, shared.arrival)
    index = list(range(n))
    if columns.prediction is not None:
        batch = _predictions(columns, shared, ts, arrival, index)
        if batch is None:
            return False
        out.columns += [batch] if n else []
    elif columns.label is None or None in columns.label:
        return False
    if columns.label is not None:
        add_labels(
            out,
            model=shared.model,
            index=index,
            ids=columns.prediction_id,
            labels=columns.label,
            ts=ts,
            source=filled(columns.source, n, shared.source),
            arrival=arrival,
        )
    return True


def _predictions(
    columns: Columns,
    shared: Shared,
    ts: list[int | None],
    arrival: list[int | None] | None,
    index: list[int],
) -> PredictionColumns | None:
    features, scores = columns.features or {}, columns.scores
    if shared.model is None or shared.version is None or len(features) > MAX_FEATURES:
        return None
    return PredictionColumns(
        shared.model,
        shared.version,
        len(index),
        columns.prediction_id,
        ts,
        features,
        columns.prediction or [],
        None if scores == {} else scores,
        columns.segments or {},
        columns.attributions or {},
        columns.latency_ms,
        columns.trace_id,
        arrival,
        index,
    )


def add_labels(
    out: Decoded,
    *,
    model: str | None,
    index: Sequence[int],
    ids: Sequence[str],
    labels: Sequence[Output | None],
    ts: Sequence[int | None],
    source: Sequence[str | None] | None,
    arrival: Sequence[int | None] | None,
) -> None:
    """Add a label for every row whose label is not None; all sequences have one value per row."""
    nothing: Sequence[None] = [None] * len(ids)
    rows = zip(index, ids, labels, ts, source or nothing, arrival or nothing, strict=True)
    for place, prediction_id, label, time, where, arrived in rows:
        if label is not None:
            out.labels.append(LabelEvent(prediction_id, model, label, time, where, arrived))
            out.label_index.append(place)


def filled(column: list[Any] | None, n: int, shared: object) -> list[Any] | None:
    """The column, with what the rows share where it has none; None if there is neither."""
    if shared is None:
        return column
    if column is None:
        return [shared] * n
    return [shared if value is None else value for value in column]


def _times(column: list[Any] | None, n: int, shared: int | None) -> list[int | None] | None:
    """Event times in ms, texts parsed; None if a text is not a time."""
    times: list[Any] = filled(column, n, shared) or [None] * n
    if str not in set(map(type, times)):
        return times
    parsed: list[int | None] = []
    for value in times:
        ms = iso_ms(value) if isinstance(value, str) else value
        if value is not None and (ms is None or ms < 0):
            return None
        parsed.append(ms)
    return parsed


def _lengths(columns: Columns) -> Iterator[int]:
    for field in columns.__struct_fields__:
        column = getattr(columns, field)
        if isinstance(column, dict):
            yield from map(len, column.values())
        elif column is not None:
            yield len(column)
