"""Blocks: predictions or labels of one model as columns, on their way from the client to the wire.

The serving thread only captures what it is given; the client's own thread makes blocks of the rows,
has their columns cleaned (`driftline.cleaning`) and writes them (`driftline.batches`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from msgspec import Struct

WireColumns: TypeAlias = dict[str, Any]
"""Columns as on the wire: a list of values, or a dict of such lists (features, scores, ...)."""

SPARSE_FACTOR = 4
"""Rows that would fill less than a quarter of their common columns are sent as rows."""


ROW_BYTES = 300
"""About what a row holds beside its features: the fixed fields, and Python's own share."""

_CELL_BYTES = 40


class PredictionRow(Struct, gc=False):
    """One `log_prediction` call as it was made."""

    model: Any
    version: Any
    prediction_id: Any
    ts: Any
    features: dict[Any, Any]
    prediction: Any
    scores: Any
    segments: dict[Any, Any] | None
    attributions: dict[Any, Any] | None
    latency_ms: Any
    trace_id: Any


class LabelRow(Struct, gc=False):
    """One `log_label` call as it was made."""

    prediction_id: Any
    label: Any
    model: Any
    ts: Any
    source: Any


class Block(Struct):
    """`n` rows of one model (and version: predictions). `invalid`: non-finite values by feature."""

    model: Any
    version: Any
    n: int
    columns: WireColumns
    invalid: dict[str, int] = {}

    def map(self, change: Callable[[list[Any]], list[Any]]) -> WireColumns:
        """The columns, each list of values replaced by what `change` makes of it."""
        return {
            name: {key: change(values) for key, values in column.items()}
            if isinstance(column, dict)
            else change(column)
            for name, column in self.columns.items()
        }

    def take(self, rows: Sequence[int]) -> Block:
        """A block of the rows at these positions; `invalid` stays as it is."""
        columns = self.map(lambda values: [values[at] for at in rows])
        return Block(self.model, self.version, len(rows), columns, self.invalid)

    def part(self, start: int, end: int) -> Block:
        """The rows from `start` to before `end`; the first part has all of `invalid`."""
        columns = self.map(lambda values: values[start:end])
        n = min(end, self.n) - start
        return Block(self.model, self.version, n, columns, {} if start else self.invalid)

    def rows(self) -> Iterable[dict[str, Any]]:
        """Each row as an event without model and version; nulls are left out, but for features."""
        for at in range(self.n):
            event: dict[str, Any] = {}
            for name, column in self.columns.items():
                if name == "features":
                    event[name] = {key: values[at] for key, values in column.items()}
                elif isinstance(column, dict):
                    cells = {key: values[at] for key, values in column.items()}
                    event[name] = {key: cell for key, cell in cells.items() if cell is not None}
                else:
                    event[name] = column[at]
            yield {
                name: value
                for name, value in event.items()
                if name == "features" or value not in (None, {})
            }


def prediction_blocks(rows: Iterable[PredictionRow]) -> list[list[Block]]:
    """Uncleaned blocks of the rows, in groups of one model and version.

    A group of one block goes out as columns. Where features differ so much from row to row that
    most cells would be empty, the group has a block per set of features and goes out as rows.
    """
    groups: dict[Hashable, list[PredictionRow]] = defaultdict(list)
    for row in rows:
        # the scores of a block are either one number or one per class, in all rows
        groups[row.model, row.version, isinstance(row.scores, dict)].append(row)
    out = []
    for group in groups.values():
        names = set(chain.from_iterable(row.features for row in group))
        filled = sum(len(row.features) for row in group)
        if len(names) * len(group) <= SPARSE_FACTOR * filled:
            out.append([_prediction_block(group)])
            continue
        alike: dict[Hashable, list[PredictionRow]] = defaultdict(list)
        for row in group:
            alike[tuple(row.features)].append(row)
        out.append([_prediction_block(part) for part in alike.values()])
    return out


def _prediction_block(rows: Sequence[PredictionRow]) -> Block:
    first = rows[0]
    scores: Any = [row.scores for row in rows]
    columns: WireColumns = {
        "prediction_id": [row.prediction_id for row in rows],
        "ts": [row.ts for row in rows],
        "features": transposed([row.features for row in rows]),
        "prediction": [row.prediction for row in rows],
        "scores": transposed(scores) if isinstance(first.scores, dict) else scores,
        "segments": transposed([row.segments or {} for row in rows]),
        "attributions": transposed([row.attributions or {} for row in rows]),
        "latency_ms": [row.latency_ms for row in rows],
        "trace_id": [row.trace_id for row in rows],
    }
    return Block(first.model, first.version, len(rows), columns)


def label_blocks(rows: Iterable[LabelRow]) -> list[list[Block]]:
    """Uncleaned blocks of the labels, one model each (None: every model that has the id)."""
    groups: dict[Hashable, list[LabelRow]] = defaultdict(list)
    for row in rows:
        groups[row.model].append(row)
    return [[_label_block(group)] for group in groups.values()]


def _label_block(rows: Sequence[LabelRow]) -> Block:
    columns: WireColumns = {
        "prediction_id": [row.prediction_id for row in rows],
        "label": [row.label for row in rows],
        "ts": [row.ts for row in rows],
        "source": [row.source for row in rows],
    }
    return Block(rows[0].model, None, len(rows), columns)


def transposed(maps: Sequence[Mapping[Any, Any]]) -> dict[Any, list[Any]]:
    """A column per key, None where a row lacks it."""
    keys = tuple(maps[0])
    if all(tuple(row) == keys for row in maps):
        if not keys:
            return {}
        columns = zip(*(row.values() for row in maps), strict=True)
        return {key: list(values) for key, values in zip(keys, columns, strict=True)}
    names = dict.fromkeys(chain.from_iterable(maps))
    return {key: [row.get(key) for row in maps] for key in names}


def row_bytes(features: Mapping[Any, Any]) -> int:
    """About how much memory one row holds."""
    size = ROW_BYTES + _CELL_BYTES * len(features)
    for value in features.values():
        if type(value) is str:
            size += len(value)
    return size
