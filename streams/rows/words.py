"""Cells of one field that are most likely texts, as codes from the first look at them on."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, islice
from types import NoneType
from typing import Any

import numpy as np
from msgspec import UNSET, UnsetType

from detectors.frame import Column

_TEXTS = frozenset({str, NoneType, UnsetType})


class Words:
    """The cells of one field, piece by piece: codes of texts, unless one is something else.

    Each cell is a JSON scalar, None or `UNSET`. A text costs one look-up, and its string need not
    be kept.
    """

    def __init__(self, cells: Sequence[Any] = ()) -> None:
        self._codes = array("I")
        self._codes_of: defaultdict[Any, int] = defaultdict(count().__next__)
        self._others: list[Any] | None = None
        """All cells as they are, if not all are texts."""
        if cells:
            self.add(cells)

    def add(self, cells: Sequence[Any]) -> None:
        """Takes more cells, at least one."""
        if self._others is None and type(cells[0]) not in _TEXTS:
            self._others = self.cells()
        if self._others is not None:
            self._others += cells
            return
        n, known = len(self._codes), len(self._codes_of)
        self._codes.extend(map(self._codes_of.__getitem__, cells))
        new = islice(reversed(self._codes_of), len(self._codes_of) - known)
        if not _TEXTS.issuperset(map(type, new)):  # they may be equal, as 1 and True are
            self._others = [*self.cells()[:n], *cells]

    @property
    def occurs(self) -> bool:
        """Whether one cell is more than `UNSET`, be it None."""
        return self._others is not None or bool(self._codes_of.keys() - {UNSET})

    def cells(self) -> list[Any]:
        """What was taken."""
        if self._others is not None:
            return self._others
        values = list(self._codes_of)
        return [values[code] for code in self._codes]

    def column(self) -> Column | None:
        """What `detectors.frame.text_column` makes of the cells; None: not all, or none, are texts.

        None and `UNSET` are missing.
        """
        values = [value for value in self._codes_of if value is not None and value is not UNSET]
        if self._others is not None or not values:
            return None
        codes = np.frombuffer(self._codes, np.uint32)
        if len(values) == len(self._codes_of):
            return Column(codes, None, values)
        text = np.array([type(value) is str for value in self._codes_of])
        valid = text[codes]
        own = (np.cumsum(text) - 1).astype(np.uint32)
        return Column(np.where(valid, own[codes], np.uint32(0)), valid, values)
