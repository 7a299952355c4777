"""Rows of CSV and Parquet tables as wire events."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from driftline.errors import UsageError

SNIFFED_ROWS = 1_000
"""Rows of a CSV file that decide whether a column holds numbers, booleans or text."""

FIELDS = ("prediction_id", "model", "version", "ts", "arrival", "prediction", "label", "score")
OPTIONAL = ("latency_ms", "trace_id")
LABEL_FIELDS = ("prediction_id", "model", "label", "ts", "arrival", "source")
GROUPS = ("features", "scores", "segments", "attributions")
IDENTITIES = {"prediction_id", "model", "version"}
TIMES = {"ts", "arrival"}

Cell = Any  # whatever a table cell holds; the decoder judges it
Row = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column holds which field, where the names differ; and fields constant for all rows."""

    columns: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, options: Iterable[str]) -> ColumnMap:
        """From `field=column` and `field:=constant` as given on the command line.

        Raises:
            UsageError: an option is not of this form, or names no field.
        """
        columns: dict[str, str] = {}
        constants: dict[str, str] = {}
        for option in options:
            name, equals, value = option.partition("=")
            constant = name.endswith(":")
            name = name.removesuffix(":")
            if not equals or not value or not _is_field(name):
                raise UsageError(
                    f"--map {option}: write field=column or field:=constant, where field is one of"
                    f" {', '.join(dict.fromkeys((*FIELDS, *OPTIONAL, *LABEL_FIELDS)))}"
                    " or features.X, scores.X, segments.X, attributions.X"
                )
            (constants if constant else columns)[name] = value
        return cls(columns, constants)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the columns of one table become an event: (column, group or empty, name) each."""

    targets: list[tuple[int, str, str]]
    constants: dict[str, str]

    def event(self, row: Row) -> bytes:
        """The wire bytes of one row; empty cells are left out, but for features."""
        event: dict[str, Any] = dict(self.constants)  # Any: a wire value may be anything
        for position, group, name in self.targets:
            cell = row[position]
            if group == "features":
                event.setdefault(group, {})[name] = cell  # null: missing, which is a signal
            elif cell is None:
                continue
            elif group:
                event.setdefault(group, {})[name] = cell
            else:
                event[name] = cell
        return orjson.dumps(event, default=str, option=orjson.OPT_NAIVE_UTC)


def layout(columns: Sequence[str], mapping: ColumnMap, role: str) -> Layout:
    """The layout of a table with these column names.

    Raises:
        UsageError: the mapping names a column that is not there.
    """
    fields = LABEL_FIELDS if role == "labels" else (*FIELDS, *OPTIONAL)
    mapped: dict[str, str] = {}
    for name, column in mapping.columns.items():
        if column not in columns:
            raise UsageError(f"--map {name}={column}: no such column; there are {list(columns)}")
        mapped[column] = name
    targets = []
    for position, column in enumerate(columns):
        name = mapped.get(column, column)
        taken = name in mapping.columns and column not in mapped
        if taken or name in mapping.constants:
            continue  # the mapping says that this field comes from elsewhere
        target = _target(name, fields, role)
        if target is not None:
            targets.append((position, *target))
    if any(group == "scores" for _, group, _ in targets):  # per class says more than one number
        targets = [target for target in targets if target[1:] != ("", "scores")]
    constants = {n: v for n, v in mapping.constants.items() if n in fields}
    return Layout(targets, constants)


def csv_events(lines: Iterable[str], mapping: ColumnMap, role: str) -> Iterator[bytes]:
    """Each CSV row's event. The first line names the columns; the first rows fix their types."""
    rows = csv.reader(lines)
    header = next(rows, None)
    if header is None:
        return
    plan = layout(header, mapping, role)
    width = len(header)
    sample = [_padded(row, width) for row in itertools.islice(rows, SNIFFED_ROWS) if row]
    kinds = [_csv_kind([row[i] for row in sample]) for i in range(width)]
    for position, group, name in plan.targets:
        if not group and name in IDENTITIES | {"trace_id", "source"}:
            kinds[position] = _text_cell
        elif not group and name in TIMES:
            kinds[position] = _number_cell
    rest = (_padded(row, width) for row in rows if row)
    for row in itertools.chain(sample, rest):
        yield plan.event([kind(cell) for kind, cell in zip(kinds, row, strict=True)])


def parquet_events(path: Path, mapping: ColumnMap, role: str) -> Iterator[tuple[bytes, float]]:
    """Each Parquet row's event, and the share of the rows read so far in (0, 1].

    Raises:
        UsageError: pyarrow is not installed, or the file is no Parquet file.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  only who reads Parquet needs it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from error
    try:
        table = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: not a Parquet file: {error}") from error
    with table:
        plan = layout(table.schema_arrow.names, mapping, role)
        times = {position for position, group, name in plan.targets if not group and name in TIMES}
        texts = {
            position for position, group, name in plan.targets if not group and name in IDENTITIES
        }
        total, done = table.metadata.num_rows, 0
        for batch in table.iter_batches(batch_size=4096):
            columns = [
                _arrow_cells(pa, column, i in times, i in texts)
                for i, column in enumerate(batch.columns)
            ]
            for row in zip(*columns, strict=True):
                done += 1
                yield plan.event(row), done / total


def _arrow_cells(pa: Any, column: Any, time: bool, text: bool) -> list[Cell]:  # Any: no types
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind) and time:
        column = column.cast(pa.timestamp("ms", tz=kind.tz), safe=False).cast(pa.int64())
    elif pa.types.is_timestamp(kind) or (text and pa.types.is_integer(kind)):
        column = column.cast(pa.string())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    cells: list[Cell] = column.to_pylist()
    return cells


def _is_field(name: str) -> bool:
    group, dot, rest = name.partition(".")
    if dot:
        return group in GROUPS and bool(rest)
    return name in {*FIELDS, *OPTIONAL, *LABEL_FIELDS}


def _target(name: str, fields: Sequence[str], role: str) -> tuple[str, str] | None:
    group, dot, rest = name.partition(".")
    if name == "score" and "score" in fields:
        return "", "scores"  # one number: the probability of the positive class
    if name in fields:
        return "", name
    if role == "labels":
        return None
    return (group, rest) if dot and rest and group in GROUPS else ("features", name)


def _padded(row: list[str], width: int) -> list[str]:
    """The row cut or filled to the header's width: a short row lacks its last fields."""
    return row[:width] + [""] * (width - len(row))


def _csv_kind(cells: Sequence[str]) -> Callable[[str], Cell]:
    filled = [cell for cell in cells if cell]
    if filled and all(cell.lower() in {"true", "false"} for cell in filled):
        return _flag_cell
    if filled and all(isinstance(_number_cell(cell), float | int | None) for cell in filled):
        return _number_cell
    return _text_cell


def _text_cell(cell: str) -> Cell:
    return cell or None


def _flag_cell(cell: str) -> Cell:
    known: Cell = {"true": True, "false": False, "": None}.get(cell.lower(), cell)
    return known


def _number_cell(cell: str) -> Cell:
    """The number; None where empty or not finite; the text itself where it is no number."""
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        return cell
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and cell.lstrip("+-").isdecimal() else value
