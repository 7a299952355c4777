"""Frame: rows of one subject as NumPy columns, the unit every stage passes on.

A column's name says what it holds, so a stage that does not know a column passes it on untouched:

| name | dtype | holds |
|---|---|---|
| `id` | V16 | BLAKE2b-128 of the prediction id; the text stays in the source topic (ADR-0019) |
| `ts` | int64 | event time of the prediction (label frames: of the label), ms since the epoch |
| `arrival` `source` `order_ts` `offset` `index` | int64 | the order key: `detectors.order_key` |
| `prediction` / `prediction_value` | text / float64 | the output as class text, or as a number |
| `label` / `label_value` | text / float64 | the ground truth, likewise |
| `label_ts` `label_source` | int64 / text | outcomes: the label's own time; labels: who says so |
| `previous` / `previous_value` | text / float64 | outcomes: the label that this one replaces |
| `prediction_arrival` | int64 | outcomes: when the prediction arrived, which says if it was late |
| `score` / `s:CLASS` | float64 | probability of the positive class / of one class |
| `x:F` `c:F` `b:F` | float64 / text / bool | feature F: a number, a string, a boolean |
| `u:F` | int64 | feature F, where it was unsupported: length of the string, -1 otherwise |
| `g:S` `a:F` `latency_ms` | text / float64 / float64 | segment, attribution, latency |
| `name` `value` | text / int64 | count frames: which counter, how much it grew |
| `cause` | int64 | on the way from join: the input offset behind each row, as `Frame.cause` |

A feature that changes its type within a frame has two columns whose valid rows are disjoint.
A row where none is valid is *missing*: null or absent, which is the same signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]

ID = np.dtype("V16")
KINDS = ("prediction", "outcome", "label", "count", "command")
"""What a frame's rows are; `count`: exact counters of join, `command`: what operators asked for."""

SOURCE_SHIFT = 32
"""`source` = rank of the source topic << 32 | partition.

Ranks: predictions 0, labels 1, commands 2.
"""


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

    def compact(self) -> Column:
        """This column; of a text column, `values` are those its rows use, in order of appearance.

        So equal rows give equal columns, however the frame was cut and put together.
        """
        if self.values is None:
            return self
        n, k = len(self.data), len(self.values)
        if self.valid is None and n <= k and _distinct(self.data, k):
            values = [self.values[code] for code in self.data.tolist()]
            return Column(np.arange(n, dtype=np.uint32), None, values)
        rows = np.arange(n)
        codes = self.data if self.valid is None else self.data[self.valid]
        if self.valid is not None:
            rows = rows[self.valid]
        first = np.full(k, n)
        first[codes[::-1]] = rows[::-1]  # of repeated codes the last write stays: the first row
        used = np.argsort(first, kind="stable")[: int(np.count_nonzero(first < n))]
        recoded = np.zeros(max(k, 1), np.uint32)
        recoded[used] = np.arange(len(used))
        data = recoded[self.data] if self.valid is None else np.zeros(n, np.uint32)
        if self.valid is not None:
            data[self.valid] = recoded[codes]
        return Column(data, self.valid, [self.values[code] for code in used.tolist()])

    def texts(self) -> list[str | None]:
        """Each row's text, None where invalid. For text columns only."""
        if self.values is None:
            raise TypeError("texts() is for text columns")
        lookup = np.array([*self.values, None], dtype=object)
        codes = np.where(self.mask, self.data, len(self.values))
        out: list[str | None] = lookup[codes].tolist()
        return out


def _distinct(codes: Array, k: int) -> bool:
    """Whether no code, of k, occurs twice."""
    seen = np.zeros(k, bool)
    seen[codes] = True
    return int(np.count_nonzero(seen)) == len(codes)


_STR_BYTES = 57  # a str object and its place in the list, beside its characters


@dataclass(slots=True)
class Frame:
    """`n` rows of one subject. `cause`: the input offset behind them; None: column `offset`."""

    subject: str
    kind: str
    n: int
    columns: dict[str, Column] = field(default_factory=dict)
    cause: int | None = None

    def ints(self, name: str) -> NDArray[np.int64]:
        """The int64 data of a column that every frame of this kind has."""
        data: NDArray[np.int64] = self.columns[name].data
        return data

    def take(self, rows: Array) -> Frame:
        """A frame of the rows at these positions, or where this mask holds."""
        n = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Frame(self.subject, self.kind, n, columns, self.cause)

    def span(self, start: int, stop: int) -> Frame:
        """A frame of the rows from `start` to before `stop`; shares their memory."""
        columns = {
            name: Column(
                column.data[start:stop],
                None if column.valid is None else column.valid[start:stop],
                column.values,
            )
            for name, column in self.columns.items()
        }
        return Frame(self.subject, self.kind, stop - start, columns, self.cause)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take: arrays, and text values with their overhead."""
        total = 0
        for column in self.columns.values():
            total += column.data.nbytes + (0 if column.valid is None else column.valid.nbytes)
            if column.values is not None:
                total += sum(map(len, column.values)) + _STR_BYTES * len(column.values)
        return total

    def names(self, prefix: str) -> Iterator[tuple[str, Column]]:
        """(name without the prefix, column) of the columns under a prefix such as `x:`."""
        for name, column in self.columns.items():
            if name.startswith(prefix):
                yield name[len(prefix) :], column


def concat(frames: Sequence[Frame]) -> Frame:
    """One frame of the rows of all, in the order given; the frames share subject and kind.

    A column that a frame lacks is invalid for that frame's rows. Causes become a column-less None.
    """
    first = frames[0]
    if len(frames) == 1:
        return first
    names = dict.fromkeys(name for frame in frames for name in frame.columns)
    n = sum(frame.n for frame in frames)
    columns = {
        name: _concat_column([f.columns.get(name) for f in frames], frames) for name in names
    }
    return Frame(first.subject, first.kind, n, columns)


def _concat_column(parts: Sequence[Column | None], frames: Sequence[Frame]) -> Column:
    if all(p is not None and p.valid is None and p.values is None for p in parts):
        return Column(np.concatenate([p.data for p in parts]))  # type: ignore[union-attr]
    present = [part for part in parts if part is not None]
    dtype = present[0].data.dtype
    whole = len(present) == len(parts) and all(part.valid is None for part in present)
    values = None
    datas: list[Array] = []
    if present[0].values is not None:
        values, recoded = _merge_values(present)
        codes = iter(recoded)
        datas = [
            np.zeros(f.n, dtype) if p is None else next(codes)
            for p, f in zip(parts, frames, strict=True)
        ]
    else:
        datas = [
            np.zeros(f.n, dtype) if p is None else p.data
            for p, f in zip(parts, frames, strict=True)
        ]
    valid = None
    if not whole:
        valid = np.concatenate(
            [
                np.zeros(f.n, bool) if p is None else p.mask
                for p, f in zip(parts, frames, strict=True)
            ]
        )
    return Column(np.concatenate(datas), valid, values)


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
