"""Blocks: columns of one type as the rows of one array, so that a step costs one call for all.

A frame on its way has some forty columns of a hundred rows, and a NumPy call costs as much as the
work on all of them. So a frame keeps its columns like this until somebody asks for `columns`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias

import numpy as np

from detectors.block_texts import NO_TEXT, U4, column_of_codes, compact_texts, concat_texts
from detectors.column import STR_BYTES, Array, Column, Mask, concat_columns

FLOATS, INTS, TEXTS, REST = range(4)
"""Which block a column is in; `REST`: in none."""
Place: TypeAlias = tuple[int, int]
"""(block, row in it)"""

F8, I8 = np.dtype(np.float64), np.dtype(np.int64)


@dataclass(slots=True, eq=False)
class Blocks:
    """The columns of a frame of `n` rows; two names may share a place."""

    n: int
    places: dict[str, Place]
    """In the order of the columns."""
    floats: Array
    """float64, shape (columns, n); NaN or infinite where invalid."""
    ints: Array
    """int64, shape (columns, n), all valid."""
    codes: Array
    """uint32, shape (columns, n); `NO_TEXT` where invalid."""
    values: list[list[str]]
    """What the codes of each row of `codes` mean."""
    rest: dict[str, Column]
    """Columns of other types, and of integers that are not all valid."""
    size: int = -1
    """`nbytes`, where it is known."""

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Column],
        n: int,
        packed: Mapping[str, bytes | bytearray] | None = None,
    ) -> Blocks:
        """These columns, and those that are `packed`: as float64, NaN or infinite where invalid."""
        places: dict[str, Place] = {}
        floats: list[Array] = []
        ints: list[Array] = []
        codes: list[Array] = []
        values: list[list[str]] = []
        rest: dict[str, Column] = {}
        for name, column in columns.items():
            data, valid, dtype = column.data, column.valid, column.data.dtype
            if column.values is not None and dtype == U4:
                places[name] = TEXTS, len(codes)
                codes.append(data if valid is None else np.where(valid, data, U4.type(NO_TEXT)))
                values.append(column.values)
            elif dtype == F8:
                places[name] = FLOATS, len(floats)
                floats.append(data if valid is None else np.where(valid, data, np.nan))
            elif dtype == I8 and valid is None:
                places[name] = INTS, len(ints)
                ints.append(data)
            else:
                places[name] = REST, 0
                rest[name] = column
        for name, numbers in (packed or {}).items():
            places[name] = FLOATS, len(floats)
            floats.append(np.frombuffer(numbers, F8))
        return cls(
            n, places, _stacked(floats, n, F8), _stacked(ints, n, I8), _stacked(codes, n, U4),
            values, rest,
        )  # fmt: skip

    def columns(self) -> dict[str, Column]:
        """The columns by name, each on its own."""
        rows = (_float_columns(self.floats), [Column(row) for row in self.ints], self._texts())
        rest = self.rest
        return {
            name: rest[name] if block == REST else rows[block][row]
            for name, (block, row) in self.places.items()
        }

    def column(self, name: str) -> Column | None:
        """One column; None: there is none of this name."""
        place = self.places.get(name)
        if place is None:
            return None
        block, row = place
        if block == INTS:
            return Column(self.ints[row])
        if block == FLOATS:
            return _float_columns(self.floats[row : row + 1])[0]
        if block == REST:
            return self.rest[name]
        return column_of_codes(self.codes[row], self.values[row])

    def take(self, rows: Array) -> Blocks:
        """The rows at these positions, or where this mask holds, in the order given."""
        if rows.dtype == np.bool_:
            rows = rows.nonzero()[0]
        return Blocks(
            len(rows),
            self.places,
            self.floats.take(rows, axis=1) if len(self.floats) else self.floats[:, : len(rows)],
            self.ints.take(rows, axis=1) if len(self.ints) else self.ints[:, : len(rows)],
            self.codes.take(rows, axis=1) if len(self.codes) else self.codes[:, : len(rows)],
            self.values,
            {name: column.take(rows) for name, column in self.rest.items()},
        )

    def span(self, start: int, stop: int) -> Blocks:
        """The rows from `start` to before `stop`; shares their memory."""
        return Blocks(
            stop - start,
            self.places,
            self.floats[:, start:stop],
            self.ints[:, start:stop],
            self.codes[:, start:stop],
            self.values,
            {name: column.span(start, stop) for name, column in self.rest.items()},
        )

    def plus(self, name: str, column: Column) -> Blocks:
        """With one more column, or another in its place."""
        places = self.places | {name: (REST, 0)}
        return self._placed(places, self.rest | {name: column})

    def without(self, names: Collection[str]) -> Blocks:
        """Without some columns; their memory stays with the block."""
        places = {name: place for name, place in self.places.items() if name not in names}
        rest = {name: column for name, column in self.rest.items() if name in places}
        return self._placed(places, rest)

    def only(self, names: Collection[str]) -> Blocks:
        """Some columns, in their order here, and memory for no others."""
        used: tuple[list[int], ...] = ([], [], [])
        places: dict[str, Place] = {}
        for name, (block, row) in self.places.items():
            if name not in names:
                continue
            if block == REST:
                places[name] = REST, 0
                continue
            rows = used[block]
            if row not in rows:
                rows.append(row)
            places[name] = block, rows.index(row)
        floats, ints, codes = used
        return Blocks(
            self.n, places, self.floats[floats], self.ints[ints], self.codes[codes],
            [self.values[row] for row in codes],
            {name: column for name, column in self.rest.items() if name in places},
        )  # fmt: skip

    def by_name(self) -> Blocks:
        """In the order of the names."""
        return self._placed(dict(sorted(self.places.items())), self.rest)

    def alias(self, name: str, other: str) -> Blocks:
        """With a column under another name, too."""
        rest = self.rest
        if name in rest:
            rest = rest | {other: rest[name]}
        return self._placed(self.places | {other: self.places[name]}, rest)

    def _placed(self, places: dict[str, Place], rest: dict[str, Column]) -> Blocks:
        return Blocks(self.n, places, self.floats, self.ints, self.codes, self.values, rest)

    def compact(self) -> Blocks:
        """Of texts, `values` are those that rows use, in order of appearance; see `Column`."""
        compacted = compact_texts(self.codes, self.values)
        rest = self.rest
        if any(column.values is not None for column in rest.values()):
            rest = {name: column.compact() for name, column in rest.items()}
        elif compacted is None:
            return self
        codes, values = compacted or (self.codes, self.values)
        return Blocks(self.n, self.places, self.floats, self.ints, codes, values, rest)

    def trimmed(self) -> Blocks:
        """With no more text values than rows in any column."""
        spare = [row for row, values in enumerate(self.values) if len(values) > self.n]
        if not spare:
            return self
        compacted = compact_texts(self.codes[spare], [self.values[row] for row in spare])
        if compacted is None:
            return self
        codes, values = self.codes.copy(), self.values.copy()
        codes[spare] = compacted[0]
        for row, texts in zip(spare, compacted[1], strict=True):
            values[row] = texts
        return Blocks(self.n, self.places, self.floats, self.ints, codes, values, self.rest)

    @property
    def nbytes(self) -> int:
        """About how many bytes its columns take."""
        if self.size >= 0:
            return self.size
        total = sum(column.nbytes for column in self.rest.values())
        invalid = np.asarray(np.isnan(self.floats).any(axis=1))
        absent = np.asarray(np.equal(self.codes, NO_TEXT).any(axis=1))
        for block, row in self.places.values():
            if block == FLOATS:
                total += (9 if invalid[row] else 8) * self.n
            elif block == INTS:
                total += 8 * self.n
            elif block == TEXTS:
                values = self.values[row]
                total += (5 if absent[row] else 4) * self.n
                total += sum(map(len, values)) + STR_BYTES * len(values)
        return total

    def is_like(self, other: Blocks) -> bool:
        """Whether both have their columns in the same places."""
        return (
            len(self.floats) == len(other.floats)
            and len(self.ints) == len(other.ints)
            and len(self.codes) == len(other.codes)
            and (self.places is other.places or self.places == other.places)
        )

    def _texts(self) -> list[Column]:
        if not len(self.codes):
            return []
        if self.codes.max(initial=0) < NO_TEXT:
            return list(map(Column, self.codes, repeat(None), self.values))
        return [column_of_codes(*both) for both in zip(self.codes, self.values, strict=True)]


def concat_blocks(parts: Sequence[Blocks]) -> Blocks:
    """The rows of all, in the order given, of blocks that are alike."""
    first = parts[0]
    sizes = [part.n for part in parts]
    floats = (
        np.concatenate([part.floats for part in parts], axis=1)
        if len(first.floats)
        else np.empty((0, sum(sizes)))
    )
    ints = np.concatenate([part.ints for part in parts], axis=1)
    codes, values = concat_texts([(part.codes, part.values) for part in parts], sizes)
    rest = {name: concat_columns([part.rest[name] for part in parts], sizes) for name in first.rest}
    return Blocks(sum(sizes), first.places, floats, ints, codes, values, rest)


def _stacked(rows: list[Array], n: int, dtype: np.dtype[np.generic]) -> Array:
    if not rows:
        return np.empty((0, n), dtype)
    return np.concatenate(rows).reshape(len(rows), n)


def known_floats(floats: Array) -> tuple[Array, Mask | None]:
    """The floats, 0 where invalid, and which are valid (None: all); shape (columns, n)."""
    finite = np.isfinite(floats)
    if finite.all():
        return floats, None
    return np.where(finite, floats, 0.0), finite


def _float_columns(floats: Array) -> list[Column]:
    data, finite = known_floats(floats)
    if finite is None:
        return [Column(row) for row in data]
    return [
        Column(row, None if valid.all() else valid) for row, valid in zip(data, finite, strict=True)
    ]
