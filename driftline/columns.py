"""Tables as plain columns, by what they offer and not by what they are.

pandas and polars data frames, pyarrow tables and record batches, NumPy structured arrays and
matrices, dicts of columns and lists of dicts are read; none of these packages is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from driftline.values import is_missing

Columns: TypeAlias = dict[str, list[Any]]

_ARROW_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "float", "double"}) | {
    "uint8", "uint16", "uint32", "uint64"
}  # fmt: skip


_NUMPY_TIMES = {"M": "datetime64[us]", "m": "timedelta64[us]"}


class NotATableError(TypeError):
    """The frame, or one of its columns, is of no form that can be read."""


def read_columns(frame: Any, names: Sequence[Any] | None = None) -> Columns:
    """The frame's columns as lists of Python values, in the frame's order; a copy.

    Args:
        frame: a table, see the module docstring.
        names: the names of a matrix's columns (needed there), or the columns to read, by default
            all. Names that the frame does not have are left out.

    Raises:
        NotATableError: the frame cannot be read, or a matrix came without a name for each column.
    """
    wanted = None if names is None else {str(name) for name in names}
    columns: Columns = {}
    for name, column in _named(frame, names):
        text = str(name)
        if wanted is None or text in wanted:
            columns[text] = as_list(column)
    return columns


def as_list(column: Any) -> list[Any]:
    """One column as a list of Python values, None where its own kind of table marks missing.

    NaN stays NaN in columns of numbers; among texts pandas means missing: None.

    Raises:
        NotATableError: text, bytes, a mapping or a single value is no column.
    """
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind in _NUMPY_TIMES and hasattr(column, "astype") and not hasattr(column, "iloc"):
        column = column.astype(_NUMPY_TIMES[kind])  # nanoseconds would come as bare integers
    if hasattr(column, "null_count") and str(getattr(column, "type", "")) in _ARROW_NUMBERS:
        return _arrow_numbers(column)
    for method in ("to_pylist", "to_list", "tolist"):
        convert = getattr(column, method, None)
        values = convert() if convert is not None else None
        if isinstance(values, list):
            is_text = kind == "O" and hasattr(column, "iloc")
            return [None if is_missing(v) else v for v in values] if is_text else values
    if not isinstance(column, Sequence) or isinstance(column, str | bytes | bytearray):
        raise NotATableError(f"a column must be a sequence of values, not {_kind(column)}")
    return list(column)


def _named(frame: Any, names: Sequence[Any] | None) -> Iterable[tuple[Any, Any]]:
    """(name, column) of every column."""
    if isinstance(frame, Mapping):
        return frame.items()
    if hasattr(frame, "get_columns"):  # polars
        return [(series.name, series) for series in frame.get_columns()]
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):  # pandas; also with repeated names
        return ((name, frame.iloc[:, at]) for at, name in enumerate(frame.columns))
    if hasattr(frame, "column_names") and hasattr(frame, "columns"):  # Arrow
        return zip(frame.column_names, frame.columns, strict=True)
    if isinstance(getattr(frame, "shape", None), tuple):
        return _numpy(frame, names)
    return _records(frame)


def _numpy(frame: Any, names: Sequence[Any] | None) -> Iterable[tuple[Any, Any]]:
    """The columns of a structured array or of a matrix."""
    fields = getattr(frame.dtype, "names", None)
    if fields:
        return ((name, frame[name]) for name in fields)
    width = frame.shape[1] if len(frame.shape) == 2 else 0  # noqa: PLR2004  a matrix
    if names is None or len(names) != width:
        raise NotATableError(
            f"an array of shape {frame.shape} is read as a table only with a name per column"
        )
    return ((name, frame[:, at]) for at, name in enumerate(names))


def _records(rows: Any) -> Iterable[tuple[Any, Any]]:
    """A list of dicts; what a row lacks is None."""
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise NotATableError(
            f"cannot read {_kind(rows)} as a table: pass a pandas or polars DataFrame, an Arrow"
            " table, a dict of columns, or a matrix with its column names in `features`"
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return ((name, [row.get(name) for row in rows]) for name in names)


def _arrow_numbers(column: Any) -> list[Any]:
    """Arrow's own `to_pylist` builds a scalar object per value; NumPy does not."""
    if column.null_count:
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"
