"""The last rows of a subject, column by column, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import dump_array, load_array


@dataclass(slots=True)
class Ring:
    """At most `capacity` rows; the row axis of each column is its last one. `total`: rows ever."""

    capacity: int
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    total: int = 0

    def extend(self, columns: Mapping[str, NDArray[Any]]) -> History:
        """Takes the next rows; returns all that is held with them, for looking back from any."""
        first = self.total - self._held
        joined = {
            name: np.concatenate([self.columns[name], new], axis=-1)
            if name in self.columns
            else new
            for name, new in columns.items()
        }
        self.columns = {
            name: np.ascontiguousarray(c[..., max(0, c.shape[-1] - self.capacity) :])
            for name, c in joined.items()
        }
        self.total += next(iter(columns.values())).shape[-1]
        return History(joined, first)

    @property
    def _held(self) -> int:
        return next(iter(self.columns.values())).shape[-1] if self.columns else 0

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        columns = {name: _dump(column) for name, column in self.columns.items()}
        return {"capacity": self.capacity, "columns": columns, "total": self.total}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        columns = {name: _load(column) for name, column in dumped["columns"].items()}
        return cls(dumped["capacity"], columns, dumped["total"])


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

    columns: dict[str, NDArray[Any]]
    first: int

    def of(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop (exclusive) of a column, as far back as they are held."""
        at = max(start - self.first, 0)
        return self.columns[name][..., at : max(stop - self.first, 0)]

    def held_from(self, start: int) -> int:
        """The first row at or after `start` that is held."""
        return max(start, self.first)
