"""Tables of predictions and labels as blocks: which column plays which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftline.blocks import Block
from driftline.columns import Columns, NotATableError, as_list, read_columns
from driftline.errors import ContractError
from driftline.ids import uuid7_many
from driftline.rules import Reason, clip
from driftline.values import as_id, is_missing


class Table:
    """A table of `n` rows whose columns are given parts to play, by name or as sequences.

    Args:
        frame: see `driftline.columns`; None: no columns, so every part is given as a sequence.
        rows: the part that says how many rows there are.
        names: of a matrix's columns.

    Raises:
        ContractError: a column is missing (`missing_field`).
        NotATableError: the frame or the part cannot be read.
    """

    def __init__(self, frame: Any, rows: Any, names: Sequence[Any] | None = None) -> None:
        matrix = names if len(getattr(frame, "shape", ())) == 2 else None  # noqa: PLR2004
        matrix = None if hasattr(frame, "columns") else matrix
        self._columns: Columns = {} if frame is None else read_columns(frame, matrix)
        self._used: set[str] = set()
        self._rows = self._find(rows, "rows")
        self.n = len(self._rows)

    def part(self, given: Any, what: str) -> list[Any]:
        """A part of `n` values: the column of that name, or the sequence itself.

        Raises:
            ContractError: no such column (`missing_field`), or not `n` values (`unequal_columns`).
        """
        return self._checked(self._find(given, what), what)

    def optional(self, given: Any, what: str) -> list[Any]:
        """Like `part`, but a single value stands for all rows; None for none."""
        if given is None or isinstance(given, int):  # an integer is a time here, and no name
            return [given] * self.n
        if isinstance(given, str) and given not in self._columns:
            return [given] * self.n
        try:
            return self.part(given, what)
        except NotATableError:
            return [given] * self.n

    def parts(self, given: Any, what: str) -> Columns:
        """Named parts: a list of column names, a dict of name to part, or a table of its own."""
        if given is None:
            return {}
        if isinstance(given, Mapping):
            return {key: self.part(value, f"{what}: {key}") for key, value in given.items()}
        if hasattr(given, "columns"):
            columns = read_columns(given)
            return {key: self._checked(values, what) for key, values in columns.items()}
        return {str(name): self.part(name, what) for name in as_list(given)}

    def ids(self, given: Any) -> tuple[list[str], list[Any]]:
        """The ids as text, and as they are to be sent; a new one where none is given."""
        fresh = uuid7_many(self.n)
        if given is None:
            return fresh, list(fresh)
        values = self.part(given, "prediction_id")
        if set(map(type, values)) == {str}:
            return list(values), values
        pairs = [
            (new, new) if is_missing(value) else as_id(value)
            for value, new in zip(values, fresh, strict=True)
        ]
        return [text for text, _ in pairs], [value for _, value in pairs]

    def times(self, given: Any, now_ms: int) -> list[Any]:
        """The `ts` of each row; `now_ms` where there is none."""
        if given is None:
            return [now_ms] * self.n
        values = self.optional(given, "ts")
        if set(map(type, values)) == {int}:
            return values
        return [now_ms if is_missing(value) else value for value in values]

    def scores(self, given: Any) -> Any:
        """One list, or one list per class. Raises: ContractError for a matrix without classes."""
        if isinstance(given, Mapping) or hasattr(given, "columns"):
            return self.parts(given, "scores")
        if len(getattr(given, "shape", ())) == 2:  # noqa: PLR2004  a matrix has two dimensions
            raise ContractError(
                Reason.BAD_SCORES,
                "a matrix of scores needs its classes: scores=dict(zip(model.classes_, p.T))",
            )
        return self.optional(given, "scores")

    def rest(self) -> Columns:
        """The columns that play no part so far."""
        return {
            name: self._checked(values, name)
            for name, values in self._columns.items()
            if name not in self._used
        }

    def _find(self, given: Any, what: str) -> list[Any]:
        if isinstance(given, str | int):
            name = str(given)
            if name not in self._columns:
                raise ContractError(
                    Reason.MISSING_FIELD, f"{what}: the table has no column {clip(name)!r}"
                )
            self._used.add(name)
            return self._columns[name]
        return as_list(given)

    def _checked(self, values: list[Any], what: str) -> list[Any]:
        if len(values) != self.n:
            raise ContractError(
                Reason.UNEQUAL_COLUMNS, f"{clip(what)} has {len(values)} values, not {self.n}"
            )
        return values


def prediction_block(
    table: Table,
    head: tuple[str, str],
    ids: list[Any],
    now_ms: int,
    parts: Mapping[str, Any],
) -> Block:
    """The predictions of a table. `head`: model and version; `parts`: as `Client.log_batch` says.

    Raises: ContractError or NotATableError, see `Table`.
    """
    columns: dict[str, Any] = {
        "prediction_id": ids,
        "ts": table.times(parts["ts"], now_ms),
        "prediction": table.part(parts["prediction"], "prediction"),
        "scores": table.scores(parts["scores"]),
        "segments": table.parts(parts["segments"], "segments"),
        "attributions": table.parts(parts["attributions"], "attributions"),
        "latency_ms": table.optional(parts["latency_ms"], "latency_ms"),
        "trace_id": [],
    }
    features = parts["features"]
    columns["features"] = (
        table.rest() if features is None else table.parts(list(features), "features")
    )
    return Block(*head, table.n, columns)


def label_block(
    frame: Any, model: str | None, now_ms: int, parts: tuple[Any, Any, Any, Any]
) -> Block:
    """The labels of a table. `parts`: ids, labels, times and sources as `Client.log_labels` says.

    Raises: ContractError or NotATableError, see `Table`.
    """
    prediction_id, label, ts, source = parts
    table = Table(frame, label)
    columns = {
        "prediction_id": [
            value if type(value) is str else as_id(value)[1]
            for value in table.part(prediction_id, "prediction_id")
        ],
        "ts": table.times(ts, now_ms),
        "label": table.part(label, "label"),
        "source": table.optional(source, "source"),
    }
    return Block(model, None, table.n, columns)


def row_count(*candidates: Any) -> int:
    """How many rows a table that could not be read would have had, as far as one can tell."""
    for candidate in candidates:
        if isinstance(candidate, Mapping):
            return max((row_count(column) for column in candidate.values()), default=1)
        if hasattr(candidate, "__len__") and not isinstance(candidate, str) and len(candidate):
            return len(candidate)
    return 1


def size_bytes(block: Block) -> int:
    """About how much a block holds: its cells, and its text as judged by each column's first."""
    lists: list[list[Any]] = []
    for column in block.columns.values():
        lists.extend(column.values() if isinstance(column, dict) else [column])
    return sum(12 * len(values) + _text_bytes(values) for values in lists)


def _text_bytes(values: list[Any]) -> int:
    first = next((value for value in values if value is not None), None)
    if not isinstance(first, str):
        return 0
    return sum(len(value) for value in values if isinstance(value, str))
