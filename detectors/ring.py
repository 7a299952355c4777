"""The last rows of a subject, column by column, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array

Columns: TypeAlias = dict[str, NDArray[Any]]

_MOST_WAITING: Final = 16
"""Parts that wait; an array takes more memory than a few rows."""


@dataclass(slots=True)
class Ring:
    """At most `capacity` rows; the row axis of each column is its last one. `total`: rows ever.

    What comes is put together when somebody looks; until then it waits as it came.
    """

    capacity: int
    _columns: Columns = field(default_factory=dict)
    total: int = 0
    _waiting: list[Columns] = field(default_factory=list)
    _held: int = 0
    """Rows that `_columns` and `_waiting` hold together."""

    def __post_init__(self) -> None:
        self._held = _rows(self._columns) if self._columns else 0

    def extend(self, columns: Columns) -> History:
        """Takes the next rows; returns all that is held with them, for looking back from any."""
        held = self.columns
        joined = columns
        if held:
            joined = {n: np.concatenate([held[n], new], axis=-1) for n, new in columns.items()}
        history = History(joined, self.total - self._held)
        self.total += _rows(columns)
        self._keep(joined)
        return history

    def add(self, columns: Columns) -> None:
        """Takes the next rows, which nobody changes any more, and looks at none."""
        n = _rows(columns)
        self.total += n
        if n >= self.capacity:
            self._keep(columns)
        elif n:
            self._waiting.append(columns)
            self._held += n
            if self._held > 2 * self.capacity or len(self._waiting) > _MOST_WAITING:
                self._settle()

    @property
    def columns(self) -> Columns:
        """What is held, by name; empty while there was nothing."""
        if self._waiting:
            self._settle()
        return self._columns

    def _settle(self) -> None:
        parts = [self._columns, *self._waiting] if self._columns else self._waiting
        self._keep({n: np.concatenate([part[n] for part in parts], axis=-1) for n in parts[-1]})

    def _keep(self, columns: Columns) -> None:
        """Holds the last of these rows, and nothing else."""
        self._held = min(_rows(columns), self.capacity)
        self._waiting = []
        self._columns = {n: np.ascontiguousarray(c[..., -self._held :]) for n, c in columns.items()}

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        columns = {name: _dump(column) for name, column in self.columns.items()}
        return {"capacity": self.capacity, "columns": columns, "total": self.total}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        columns = {name: _load(column) for name, column in dumped["columns"].items()}
        return cls(dumped["capacity"], columns, dumped["total"])


def _rows(columns: Columns) -> int:
    return int(next(iter(columns.values())).shape[-1])


def _dump(column: NDArray[Any]) -> Any:
    """A column; of a matrix each row by itself, since a signal's codes are few."""
    if column.ndim == 1 or not len(column):
        return dump_array(column)
    return [dump_array(row) for row in column]


def _load(dumped: Any) -> NDArray[Any]:
    if isinstance(dumped, list):
        return np.stack([load_array(row) for row in dumped])
    return load_array(dumped)


@dataclass(frozen=True, slots=True)
class History:
    """Rows `first`, `first` + 1, ... of a subject, counted since its ring began."""

    columns: Columns
    first: int

    def of(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop (exclusive) of a column, as far back as they are held."""
        at = max(start - self.first, 0)
        return self.columns[name][..., at : max(stop - self.first, 0)]

    def held_from(self, start: int) -> int:
        """The first row at or after `start` that is held."""
        return max(start, self.first)
