"""Cells of one field that are most likely a few texts, as codes from the first look at them on."""

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
_SAMPLE = 50
"""Cells looked at first: if most of them differ, a look-up each costs more than it saves."""


class Words:
    """The cells of one field, piece by piece: codes of texts, unless one is something else.

    Each cell is a JSON scalar, None or `UNSET`. A text costs one look-up, and its string need not
    be kept.
    """

    def __init__(self, cells: Sequence[Any] = ()) -> None:
        self._codes = array("I")
        self._code_of: defaultdict[Any, int] = defaultdict(count().__next__)
        self._plain: list[Any] | None = None
        """All cells as they are, if they are not a few texts."""
        if cells:
            self.add(cells)

    def add(self, cells: Sequence[Any]) -> None:
        """Takes more cells, at least one."""
        if self._plain is None and not self._codes and not _few_texts(cells[:_SAMPLE]):
            self._plain = []
        if self._plain is not None:
            self._plain += cells
            return
        n, known = len(self._codes), len(self._code_of)
        self._codes.extend(map(self._code_of.__getitem__, cells))
        new = islice(reversed(self._code_of), len(self._code_of) - known)
        if not _TEXTS.issuperset(map(type, new)):  # the codes lie: 1 and True are equal
            self._plain = [*self.cells()[:n], *cells]

    @property
    def occurs(self) -> bool:
        """Whether one cell is more than `UNSET`, be it None."""
        seen = self._code_of if self._plain is None else self._plain
        return any(cell is not UNSET for cell in seen)

    def cells(self) -> list[Any]:
        """What was taken, None for `UNSET`."""
        if self._plain is not None:
            return [None if cell is UNSET else cell for cell in self._plain]
        values = [None if value is UNSET else value for value in self._code_of]
        return [values[code] for code in self._codes]

    def column(self) -> Column | None:
        """What `detectors.frame.text_column` makes of `cells()`; None: they are not a few texts."""
        text = [type(value) is str for value in self._code_of]
        if self._plain is not None or not any(text):
            return None
        values = [value for value in self._code_of if type(value) is str]
        codes = np.frombuffer(self._codes, np.uint32)
        if all(text):
            return Column(codes, None, values)
        valid = np.array(text)[codes]
        own = (np.cumsum(text) - 1).astype(np.uint32)
        return Column(np.where(valid, own[codes], np.uint32(0)), valid, values)


def _few_texts(sample: Sequence[Any]) -> bool:
    """Whether these are texts or missing, and half of them occur again."""
    return _TEXTS.issuperset(map(type, sample)) and 2 * len(set(sample)) <= len(sample)
