"""Columnar batches on the exact path: finds the bad rows, keeps the rest.

A column that is fine as a whole is still read in C; only one that is not is read value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from driftline import rules
from driftline.columnar import add_labels, filled
from driftline.errors import ContractError
from driftline.events import Decoded, PredictionColumns, Reject
from driftline.exact import (
    Json,
    feature,
    feature_names,
    kind,
    number,
    output,
    score,
    text,
    trace,
    unsupported_length,
)
from driftline.rules import MAX_ROWS, Reason, bounded, clip
from driftline.wire import Columns, Feature, Id, Ms, Score, Shared, Text, Value

FIELDS = frozenset(Columns.__struct_fields__)
NESTED = ("features", "scores", "segments", "attributions")
"""Columns that are objects of columns; `scores` may also be one column."""


Cell: TypeAlias = Callable[[Json, str], Any]


def read(out: Decoded, columns: Json, shared: Shared) -> None:
    """Add a columnar batch to `out`, its bad rows as rejects.

    Raises: ContractError when the batch as a whole is unusable, and nothing was added but the count
        of unknown fields.
    """
    if not isinstance(columns, dict):
        raise ContractError(Reason.WRONG_TYPE, f"columns must be an object, not {kind(columns)}")
    given = {field: column for field, column in columns.items() if column is not None}
    out.unknown_fields += sum(field not in FIELDS for field in columns)
    batch = _Batch(given, _rows(given))
    if batch.n > MAX_ROWS:
        raise ContractError(Reason.TOO_MANY_ROWS, f"{batch.n} rows; write at most {MAX_ROWS}")
    if "prediction" not in given and "label" not in given:
        missing = "columns need a prediction, a label, or both"
        raise ContractError(Reason.MISSING_FIELD, missing)
    ids = batch.required("prediction_id", Id, _id)
    ts = filled(batch.read("ts", Ms, _ts), batch.n, shared.ts) or [None] * batch.n
    arrival = filled(batch.arrivals(out), batch.n, shared.arrival)
    labels = batch.read("label", Value, output) or [None] * batch.n
    source = filled(batch.read("source", Text, text), batch.n, shared.source)
    if "prediction" in given:
        _predictions(out, batch, shared, ids=ids, ts=ts, arrival=arrival, labels=labels)
    else:
        batch.miss("label", labels)
    out.rejects += [Reject(Reason(e.reason), e.detail, i) for i, e in sorted(batch.bad.items())]
    labels = [None if i in batch.bad else label for i, label in enumerate(labels)]
    add_labels(
        out,
        model=shared.model,
        index=range(batch.n),
        ids=ids,
        labels=labels,
        ts=ts,
        source=source,
        arrival=arrival,
    )


def _predictions(
    out: Decoded,
    batch: _Batch,
    shared: Shared,
    *,
    ids: list[Any],
    ts: list[Any],
    arrival: list[Any] | None,
    labels: list[Any],
) -> None:
    """Add the rows with a prediction; a row without one is a label, or bad."""
    model, version = rules.name(shared.model, "model"), rules.name(shared.version, "version")
    names, dropped = feature_names(batch.columns.get("features", {}))
    prediction = batch.values(batch.columns["prediction"], "prediction", Value, output)
    batch.miss(
        "prediction", [p if p is not None else q for p, q in zip(prediction, labels, strict=True)]
    )
    scores = batch.scores()
    segments = batch.read_nested("segments", Text, text)
    attributions = batch.read_nested("attributions", float, number)
    latency_ms = batch.read("latency_ms", float, number)
    trace_id = batch.read("trace_id", str, trace)
    rows = [i for i in range(batch.n) if i not in batch.bad and prediction[i] is not None]
    if not rows:
        return
    features, unsupported = batch.features(names, rows)
    out.dropped_features += dropped * len(rows)
    out.columns.append(
        PredictionColumns(
            model,
            version,
            len(rows),
            _some(ids, rows),
            _some(ts, rows),
            features,
            _some(prediction, rows),
            _some(scores, rows),
            _some(segments, rows),
            _some(attributions, rows),
            _some(latency_ms, rows),
            _some(trace_id, rows),
            _some(arrival, rows),
            rows,
            unsupported,
        )
    )


def _some(column: Any, rows: list[int]) -> Any:
    """These rows of a column, of an object of columns, or of nothing."""
    if isinstance(column, dict):
        return {name: _some(values, rows) for name, values in column.items()}
    return None if column is None else [column[i] for i in rows]


class _Batch:
    """One columnar batch while it is read: its rows, and the first thing wrong with each."""

    def __init__(self, columns: dict[str, Json], n: int) -> None:
        self.columns = columns
        self.n = n
        self.bad: dict[int, ContractError] = {}

    def required(self, field: str, wire: Any, cell: Cell) -> list[Any]:
        """The values of a column that every row needs."""
        values = self.values(self.columns[field], field, wire, cell)
        self.miss(field, values)
        return values

    def read(self, field: str, wire: Any, cell: Cell) -> list[Any] | None:
        """The values of a plain column, None where it is absent."""
        column = self.columns.get(field)
        return None if column is None else self.values(column, field, wire, cell)

    def read_nested(self, field: str, wire: Any, cell: Cell) -> dict[str, list[Any]]:
        """The values of an object of columns, empty where it is absent."""
        columns = self.columns.get(field, {}).items()
        return {bounded(k): self.values(v, f"{field}.{clip(k)}", wire, cell) for k, v in columns}

    def scores(self) -> dict[str, list[Any]] | list[Any] | None:
        """The scores, by class or of the positive class."""
        if isinstance(self.columns.get("scores"), dict):
            return self.read_nested("scores", Score, score) or None
        return self.read("scores", Score, score)

    def values(self, column: list[Json], field: str, wire: Any, cell: Cell) -> list[Any]:
        """A column's values, None where null or bad; bad ones are noted for their row."""
        try:
            whole: list[Any] = msgspec.convert(column, list[wire | None])
        except msgspec.ValidationError:
            return [self._value(i, value, field, cell) for i, value in enumerate(column)]
        return whole

    def _value(self, row: int, value: Json, field: str, cell: Cell) -> Any:
        if value is None:
            return None
        try:
            return cell(value, field)
        except ContractError as error:
            self.bad.setdefault(row, error)
            return None

    def miss(self, field: str, values: list[Any]) -> None:
        """Note the rows that lack a value they need."""
        for row, value in enumerate(values):
            if value is None:
                error = ContractError(Reason.MISSING_FIELD, f"{field} is missing")
                self.bad.setdefault(row, error)

    def arrivals(self, out: Decoded) -> list[int | None] | None:
        """Exported arrivals; whatever else a live batch calls so is an unknown field, no error."""
        column = self.columns.get("arrival")
        if column is None:
            return None
        try:
            return [None if value is None else rules.ts(value) for value in column]
        except ContractError:
            out.unknown_fields += 1
            return None

    def features(
        self, names: list[str], rows: list[int]
    ) -> tuple[dict[str, list[Any]], dict[str, dict[int, int]]]:
        """Feature columns of these rows, and the lengths of unsupported values by position."""
        kept: dict[str, list[Any]] = {}
        unsupported: dict[str, dict[int, int]] = {}
        for name in names:
            column = _some(self.columns["features"][name], rows)
            try:
                kept[name] = msgspec.convert(column, list[Feature])
            except msgspec.ValidationError:
                lengths = {i: unsupported_length(value) for i, value in enumerate(column)}
                found = {i: length for i, length in lengths.items() if length is not None}
                kept[name] = [None if i in found else feature(v) for i, v in enumerate(column)]
                unsupported[name] = found
        return kept, unsupported


def _id(value: Json, _field: str) -> str:
    return rules.prediction_id(value)


def _ts(value: Json, _field: str) -> int:
    return rules.ts(value)


def _rows(columns: dict[str, Json]) -> int:
    """The number of rows. Raises: ContractError unless all columns are arrays of one length."""
    if "prediction_id" not in columns:
        raise ContractError(Reason.MISSING_FIELD, "the column prediction_id is missing")
    lengths: dict[str, int] = {}
    for name, column in _plain_columns(columns):
        if not isinstance(column, list):
            raise ContractError(
                Reason.WRONG_TYPE, f"column {clip(name)} must be an array, not {kind(column)}"
            )
        lengths[name] = len(column)
    n = lengths["prediction_id"]
    for name, length in lengths.items():
        if length != n:
            raise ContractError(
                Reason.UNEQUAL_COLUMNS, f"column {clip(name)} has {length} rows, prediction_id {n}"
            )
    return n


def _plain_columns(columns: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Every column the contract knows, those inside objects as `features.amount`."""
    for field, column in columns.items():
        if field not in FIELDS:
            continue
        if field not in NESTED or (field == "scores" and not isinstance(column, dict)):
            yield field, column
        elif isinstance(column, dict):
            yield from ((f"{field}.{name}", values) for name, values in column.items())
        else:
            raise ContractError(
                Reason.WRONG_TYPE, f"{field} must be an object of columns, not {kind(column)}"
            )
