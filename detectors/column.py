"""Columns: what a frame's rows say under one name, as a NumPy array with what is invalid in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]

STR_BYTES = 57
"""A str object and its place in a list take about so many, beside its characters."""


@dataclass(slots=True)
class Column:
    """One column: `data` of n values, `valid` (None: all), and for text the `values` it indexes.

    Text columns hold uint32 codes into `values`. The datum of an invalid row is 0 and meaningless.
    """

    data: Array
    valid: Mask | None = None
    values: list[str] | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def mask(self) -> Mask:
        """The valid rows as a boolean array of n values."""
        return np.ones(len(self.data), bool) if self.valid is None else self.valid

    def take(self, rows: Array) -> Column:
        """The rows at these positions (or where this mask holds), in the order given."""
        valid = None if self.valid is None else self.valid[rows]
        if valid is not None and valid.all():
            valid = None
        return Column(self.data[rows], valid, self.values)

    def span(self, start: int, stop: int) -> Column:
        """The rows from `start` to before `stop`; shares their memory."""
        valid = None if self.valid is None else self.valid[start:stop]
        return Column(self.data[start:stop], valid, self.values)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes, of texts the values with their overhead."""
        total: int = self.data.nbytes + (0 if self.valid is None else self.valid.nbytes)
        if self.values is not None:
            total += sum(map(len, self.values)) + STR_BYTES * len(self.values)
        return total

    def compact(self) -> Column:
        """This column; of a text column, `values` are those its rows use, in order of appearance.

        So equal rows give equal columns, however the frame was cut and put together.
        """
        if self.values is None:
            return self
        k = len(self.values)
        used = appearance(self.data if self.valid is None else self.data[self.valid], k)
        if self.valid is None and used == list(range(k)):
            return self
        recoded = np.zeros(max(k, 1), np.uint32)
        recoded[used] = np.arange(len(used))
        if self.valid is None:
            data = recoded[self.data]
        else:
            data = np.zeros(len(self.data), np.uint32)
            data[self.valid] = recoded[self.data[self.valid]]
        return Column(data, self.valid, [self.values[code] for code in used])

    def trimmed(self) -> Column:
        """This column, with no more text values than rows."""
        spare = self.values is not None and len(self.values) > len(self.data)
        return self.compact() if spare else self

    def texts(self) -> list[str | None]:
        """Each row's text, None where invalid. For text columns only."""
        if self.values is None:
            raise TypeError("texts() is for text columns")
        lookup = np.array([*self.values, None], dtype=object)
        codes = np.where(self.mask, self.data, len(self.values))
        out: list[str | None] = lookup[codes].tolist()
        return out


_SOON = 64
"""So many rows mostly show all values of a column, where they are few."""


def appearance(codes: Array, k: int) -> list[int]:
    """The codes below `k` that occur, in order of appearance."""
    n = len(codes)
    if k <= _SOON or n <= _SOON:
        found = [code for code in dict.fromkeys(codes[:_SOON].tolist()) if code < k]
        if len(found) == k or n <= _SOON:
            return found
    first = np.full(k + 1, n)
    first[np.minimum(codes[::-1], k)] = np.arange(n - 1, -1, -1)  # of several the last holds
    first = first[:k]
    used = int(np.count_nonzero(first < n))
    return first.argsort(kind="stable")[:used].tolist()  # type: ignore[no-any-return]


def text_column(texts: Sequence[str | None]) -> Column:
    """A text column from strings, None where missing."""
    index: dict[str | None, int] = dict.fromkeys(texts, 0)
    valid = None
    if None in index:
        del index[None]
        valid = np.fromiter((t is not None for t in texts), bool, len(texts))
    if len(index) == len(texts):
        return Column(np.arange(len(texts), dtype=np.uint32), None, list(texts))  # type: ignore[arg-type]
    values = [text for text in index if text is not None]
    index = {text: code for code, text in enumerate(index)}
    if valid is not None:
        index[None] = 0
    codes = np.fromiter(map(index.__getitem__, texts), np.uint32, len(texts))
    return Column(codes, valid, values)


def float_column(values: Sequence[float | None] | Array) -> Column:
    """A float64 column; None, NaN and infinities are invalid, and their datum is 0."""
    data = np.asarray(values, dtype=np.float64)  # None becomes NaN
    finite = np.isfinite(data)
    if finite.all():
        return Column(data)
    return Column(np.where(finite, data, 0.0), finite)


def concat_columns(parts: Sequence[Column | None], sizes: Sequence[int]) -> Column:
    """One column of the rows of all; None stands for so many invalid rows."""
    present = [part for part in parts if part is not None]
    whole = len(present) == len(parts) and all(part.valid is None for part in present)
    dtype = present[0].data.dtype
    each = [part.data for part in present]
    values = None
    if present[0].values is not None:
        values, each = _merge_values(present)
    if whole:
        return Column(np.concatenate(each), None, values)
    following = iter(each)
    datas = [
        np.zeros(n, dtype) if part is None else next(following)
        for part, n in zip(parts, sizes, strict=True)
    ]
    masks = [
        np.zeros(n, bool) if part is None else part.mask
        for part, n in zip(parts, sizes, strict=True)
    ]
    data, valid = np.concatenate(datas), np.concatenate(masks)
    if values is not None:
        data = np.where(valid, data, np.uint32(0))
    return Column(data, valid, values)


def _merge_values(parts: Sequence[Column]) -> tuple[list[str], list[Array]]:
    """The union of the dictionaries, in order of first appearance, and each part's new codes."""
    each = [part.values or [] for part in parts]
    together = list(chain.from_iterable(each))
    index = dict.fromkeys(together)
    if len(index) == len(together):  # nothing in common, as among ids
        starts = np.cumsum([0, *map(len, each)])[:-1].astype(np.uint32)
        mappings: Iterable[Array | None] = [None] * len(each)
    else:
        starts = np.zeros(len(each), np.uint32)
        codes = dict(zip(index, range(len(index)), strict=True))
        mappings = [np.array([codes[v] for v in values] or [0], np.uint32) for values in each]
    recoded = []
    for part, start, mapping in zip(parts, starts, mappings, strict=True):
        data = np.where(part.mask, part.data, 0) if part.valid is not None else part.data
        recoded.append(data + start if mapping is None else mapping[data])
    return list(index), recoded
