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

Between the stages nobody looks at most columns, so a frame that was read from a message keeps them
in `detectors.blocks` and its methods leave them there; `columns` takes them apart, for good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.blocks import Blocks, concat_blocks
from detectors.column import (
    Array,
    Column,
    Mask,
    concat_columns,
    float_column,
    text_column,
)

__all__ = [
    "ID", "KINDS", "SOURCE_SHIFT", "Array", "Column", "Frame", "Mask",
    "concat", "float_column", "text_column",
]  # fmt: skip

ID = np.dtype("V16")
KINDS = ("prediction", "outcome", "label", "count", "command")
"""What a frame's rows are; `count`: exact counters of join, `command`: what operators asked for."""

SOURCE_SHIFT = 32
"""`source` = rank of the source topic << 32 | partition.

Ranks: predictions 0, labels 1, commands 2.
"""


class Frame:
    """`n` rows of one subject.

    Args:
        subject: whose rows they are.
        kind: one of `KINDS`.
        n: how many rows.
        columns: by name, or in blocks.
        cause: the input offset behind the rows; None: column `offset`.
    """

    __slots__ = ("_blocks", "_columns", "cause", "kind", "n", "subject")

    def __init__(
        self,
        subject: str,
        kind: str,
        n: int,
        columns: dict[str, Column] | Blocks | None = None,
        cause: int | None = None,
    ) -> None:
        self.subject = subject
        self.kind = kind
        self.n = n
        self.cause = cause
        self._blocks: Blocks | None = None
        self._columns: dict[str, Column] = {}
        if isinstance(columns, Blocks):
            self._blocks = columns
        elif columns is not None:
            self._columns = columns

    def __repr__(self) -> str:
        """The frame's head; its rows would be too long."""
        return f"Frame({self.subject!r}, {self.kind!r}, {self.n}, cause={self.cause})"

    @property
    def columns(self) -> dict[str, Column]:
        """The columns by name, which may be changed; taken out of their blocks, if there are."""
        if self._blocks is not None:
            self._columns, self._blocks = self._blocks.columns(), None
        return self._columns

    @columns.setter
    def columns(self, columns: dict[str, Column]) -> None:
        self._columns, self._blocks = columns, None

    @property
    def blocks(self) -> Blocks | None:
        """The columns, if they are in blocks."""
        return self._blocks

    def in_blocks(self) -> Frame:
        """The frame with its columns in blocks."""
        return self if self._blocks is not None else self._of(Blocks.of(self._columns, self.n))

    def _of(self, columns: dict[str, Column] | Blocks) -> Frame:
        return Frame(self.subject, self.kind, self.n, columns, self.cause)

    # -- what leaves columns in their blocks -----------------------------------------------------

    @property
    def column_names(self) -> Collection[str]:
        """The names of the columns, in their order."""
        return (self._columns if self._blocks is None else self._blocks.places).keys()

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in (self._columns if self._blocks is None else self._blocks.places)

    def column(self, name: str) -> Column | None:
        """The column of this name; None: there is none."""
        return self._columns.get(name) if self._blocks is None else self._blocks.column(name)

    def data(self, name: str) -> Array:
        """The data of a column that every frame of this kind has."""
        column = self.column(name)
        if column is None:
            raise KeyError(name)
        return column.data

    def ints(self, name: str) -> NDArray[np.int64]:
        """The int64 data of a column that every frame of this kind has."""
        return self.data(name)

    def plus(self, name: str, column: Column) -> Frame:
        """The frame with one more column, or another in its place."""
        if self._blocks is None:
            return self._of(self._columns | {name: column})
        return self._of(self._blocks.plus(name, column))

    def alias(self, name: str, other: str) -> Frame:
        """The frame with a column under another name, too."""
        if self._blocks is not None:
            return self._of(self._blocks.alias(name, other))
        return self._of(self._columns | {other: self._columns[name]})

    def without(self, names: Collection[str]) -> Frame:
        """The frame without the columns of these names."""
        if not any(map(self.has, names)):
            return self
        if self._blocks is not None:
            return self._of(self._blocks.without(names))
        return self._of({name: c for name, c in self._columns.items() if name not in names})

    def only(self, names: Collection[str]) -> Frame:
        """The frame with none but the columns of these names, in their order here."""
        if self._blocks is not None:
            return self._of(self._blocks.only(names))
        return self._of({name: c for name, c in self._columns.items() if name in names})

    def by_name(self) -> Frame:
        """The frame with its columns in the order of their names."""
        if self._blocks is not None:
            return self._of(self._blocks.by_name())
        return self._of(dict(sorted(self._columns.items())))

    def compact(self) -> Frame:
        """The frame with the text values its rows use, in order of appearance; see `Column`."""
        if self._blocks is not None:
            return self._of(self._blocks.compact())
        return self._of({name: column.compact() for name, column in self._columns.items()})

    def trimmed(self) -> Frame:
        """The frame with no more text values than rows in any column."""
        if self._blocks is not None:
            return self._of(self._blocks.trimmed())
        return self._of({name: column.trimmed() for name, column in self._columns.items()})

    def take(self, rows: Array) -> Frame:
        """A frame of the rows at these positions, or where this mask holds."""
        if self._blocks is not None:
            blocks = self._blocks.take(rows)
            return Frame(self.subject, self.kind, blocks.n, blocks, self.cause)
        n = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        columns = {name: column.take(rows) for name, column in self._columns.items()}
        return Frame(self.subject, self.kind, n, columns, self.cause)

    def span(self, start: int, stop: int) -> Frame:
        """A frame of the rows from `start` to before `stop`; shares their memory."""
        columns: dict[str, Column] | Blocks
        if self._blocks is not None:
            columns = self._blocks.span(start, stop)
        else:
            columns = {name: c.span(start, stop) for name, c in self._columns.items()}
        return Frame(self.subject, self.kind, stop - start, columns, self.cause)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take: arrays, and text values with their overhead."""
        if self._blocks is not None:
            return self._blocks.nbytes
        return sum(column.nbytes for column in self._columns.values())

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
    blocks = [frame.blocks for frame in frames if frame.blocks is not None]
    if len(blocks) == len(frames) and all(map(blocks[0].is_like, blocks)):
        together = concat_blocks(blocks)
        return Frame(first.subject, first.kind, together.n, together)
    each = [frame.columns for frame in frames]
    names = dict.fromkeys(each[0])
    for columns in each[1:]:
        names |= dict.fromkeys(columns)
    sizes = [frame.n for frame in frames]
    columns = {
        name: concat_columns([columns.get(name) for columns in each], sizes) for name in names
    }
    return Frame(first.subject, first.kind, sum(sizes), columns)
