"""What join remembers: predictions that may yet get a label, and labels for predictions to come.

`Pending` is the store behind `detectors.flow.join`. It knows nothing of the rules, only how to find
rows by id, to keep a label beside them, and to let whole slices of time go. Rows are named by
*refs*, integers that are good until the next `settle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from detectors.frame import ID, Array, Column, Frame, float_column, text_column
from driftline.rules import class_text

SLICES = 16
"""A horizon is kept in this many slices, each dropped as a whole."""


def slice_ends(lives: Array, horizon_ms: int) -> Array:
    """The end of the slice in which each life ends: int64 ms, at or after the life's own end."""
    width = max(1, horizon_ms // SLICES)
    ends: Array = -(-lives // width) * width
    return ends


class Label(NamedTuple):
    """One label row: what it says, and its order key."""

    ts: int
    source: str
    """Who says so; empty if nobody was named."""
    text: str | None
    value: float | None
    """One of `text` and `value` is None."""
    arrival: int
    origin: int
    """Column `source` of the order key."""
    order_ts: int
    offset: int
    row: int
    """Column `index` of the order key."""

    def words(self) -> str:
        """The label as class text: 1, 1.0 and "1" are the same label."""
        return self.text if self.text is not None else class_text(self.value or 0.0)

    def rank(self) -> tuple[int, bytes, bytes]:
        """The greater one holds: later, or at the same time greater in byte order."""
        return self.ts, self.source.encode(), self.words().encode()


class Slot(NamedTuple):
    """The label that holds for one id of a model (or of any model), for predictions to come."""

    label: Label
    matched: bool
    """Whether a prediction was ever there for it."""
    arrival: int
    """When it was last said, in ms; it waits one horizon from then."""
    end: int
    """End of the slice it lies in, in ms."""


class Pending(Protocol):
    """The store of one shard of prediction ids."""

    @property
    def next_end(self) -> int:
        """The arrival at which the next slice ends, in ms."""

    @property
    def room(self) -> int:
        """How many predictions and labels fit before the oldest slice has to go."""

    @property
    def waiting_labels(self) -> int:
        """Labels whose prediction has not come yet."""

    def fetch(self, ids: Array) -> None:
        """These ids, of dtype V16 and perhaps repeated, are looked up in this step: all at once.

        A store on disk reads them here, so that `find` and `slot` of them never wait. Called once
        per step, before its rows have their turns; ids that were not named cannot be found in it.
        """

    def keep(self, frame: Frame, ends: Array) -> Array:
        """Store prediction rows of one subject that end with the slices `ends`; gives their refs.

        They are found only after `put`; each is `put` or `dismiss`ed, in their order, in this step.
        """

    def put(self, row_id: bytes, ref: int) -> None:
        """Make a kept row findable."""

    def dismiss(self, ref: int) -> None:
        """A kept row is not wanted after all."""

    def find(self, row_id: bytes) -> tuple[int, ...]:
        """The findable rows with this id, of any subject."""

    def forget(self, row_id: bytes, ref: int) -> None:
        """Make a row unfindable."""

    def subject(self, ref: int) -> str:
        """The row's subject, "model@version"."""

    def times(self, ref: int) -> tuple[int, int]:
        """The row's (ts, arrival), in ms."""

    def label(self, ref: int) -> Label | None:
        """The label that holds for a row."""

    def set_label(self, ref: int, label: Label) -> None:
        """A row has this label from now on."""

    def rows(self, refs: Array) -> Frame:
        """These rows, in this order, all of one subject."""

    def slot(self, model: str, row_id: bytes) -> Slot | None:
        """The label waiting for an id of a model; `model` empty: of any model."""

    def set_slot(self, model: str, row_id: bytes, slot: Slot) -> None:
        """Keep a label, or one that changed, until its slice ends."""

    def expire(self, now: int) -> None:
        """Forget every slice that ended at or before `now`."""

    def settle(self) -> None:
        """The step is over: let go of what was forgotten."""

    def take_losses(self) -> dict[tuple[str, str], int]:
        """(subject, `orphan_labels` or `pending_full`) -> lost since the last call."""

    def dump(self) -> dict[str, Any]:
        """The store as builtins, for the checkpoint."""


class PendingAtOnce(Pending, Protocol):
    """A store that takes the usual rows of a step as whole columns: `detectors.flow.usual`."""

    def places(self, words: Array) -> tuple[Array, Array, Array]:
        """Of ids: where they lie in a table (until the end of the step), and what is known.

        Returns:
            places; the ref of the id's one prediction, `GONE` where nothing is known of the id,
            something else below 0 otherwise; the ref of its label, `NONE` where it never had one.
            Each of shape (n,).
        """

    def subjects(self, refs: Array) -> tuple[Array, Array, list[str]]:
        """(ts in ms, place in the list, subjects) of predictions."""

    def put_all(self, places: Array, refs: Array) -> None:
        """Make kept rows of new ids findable; there is room for them."""

    def meet_all(self, model: str, places: Array, refs: Array, labels: Frame, ends: Array) -> None:
        """Rows without a label get their first one, which is also kept; there is room for it."""


def label_rows(frame: Frame) -> list[Label]:
    """The labels of a frame, in its order."""
    return list(map(Label._make, label_fields(frame)))


def label_fields(frame: Frame) -> Iterator[tuple[Any, ...]]:
    """The fields of each `Label` of a frame, in its order."""
    columns = frame.columns
    n = frame.n
    ts = frame.ints("ts").tolist()
    sources = columns["label_source"].texts() if "label_source" in columns else []
    order_ts = columns["order_ts"].data.tolist() if "order_ts" in columns else ts
    return zip(
        ts,
        [source or "" for source in sources] or [""] * n,
        columns["label"].texts() if "label" in columns else [None] * n,
        _floats(columns.get("label_value"), n),
        frame.ints("arrival").tolist(),
        frame.ints("source").tolist(),
        order_ts,
        frame.ints("offset").tolist(),
        frame.ints("index").tolist(),
        strict=True,
    )


def label_frame(subject: str, ids: Sequence[bytes] | None, labels: Sequence[Label]) -> Frame:
    """A label frame of which `label_rows` gives these labels; without `ids`, for storage only."""
    ts, source, text, value, arrival, origin, order_ts, offset, index = (
        zip(*labels, strict=True) if labels else ((),) * len(Label._fields)
    )
    numbers = {
        "ts": ts,
        "arrival": arrival,
        "source": origin,
        "order_ts": order_ts,
        "offset": offset,
        "index": index,
    }
    columns = {name: Column(np.array(data, np.int64)) for name, data in numbers.items()}
    if ids is not None:
        columns["id"] = Column(np.frombuffer(b"".join(ids), ID))
    if any(source):
        columns["label_source"] = text_column(source)
    columns |= class_columns("label", text, value)
    return Frame(subject, "label", len(labels), columns)


_OF_LABELS = frozenset(
    {
        "id", "ts", "arrival", "source", "order_ts", "offset", "index",
        "label", "label_value", "label_source",
    }
)  # fmt: skip


def plain_labels(frame: Frame) -> Frame:
    """The columns of a label frame that make a `Label`, `order_ts` always among them, and `id`."""
    plain = frame.only(_OF_LABELS)
    return plain if plain.has("order_ts") else plain.alias("ts", "order_ts")


_STORED = ("ts", "arrival", "source", "order_ts", "offset", "index", "id")


def stored_labels(frame: Frame) -> Frame:
    """What `label_frame` gives of the `label_rows` of `plain_labels`, and of their ids."""
    columns = {n: Column(frame.columns[n].data) for n in _STORED if n in frame.columns}
    if "label_source" in frame.columns:
        sources = [source or "" for source in frame.columns["label_source"].texts()]
        if any(sources):
            columns["label_source"] = text_column(sources)
    for name in ("label", "label_value"):
        column = frame.columns.get(name)
        if column is None or not column.mask.any():
            continue
        if column.values is None and column.valid is not None:
            column = Column(np.where(column.valid, column.data, 0), column.valid)
        columns[name] = column.compact()
    return Frame("", "label", frame.n, columns)


def class_columns(
    name: str, texts: Sequence[str | None], values: Sequence[float | None]
) -> dict[str, Column]:
    """The column `name` of texts and `name_value` of numbers; one without a value is left out."""
    columns: dict[str, Column] = {}
    if any(text is not None for text in texts):
        columns[name] = text_column(texts)
    if any(value is not None for value in values):
        columns[f"{name}_value"] = float_column(values)
    return columns


def _floats(column: Column | None, n: int) -> list[float | None]:
    if column is None:
        return [None] * n
    numbers: list[float | None] = column.data.tolist()
    if column.valid is not None:
        valid = column.valid.tolist()
        return [number if ok else None for number, ok in zip(numbers, valid, strict=True)]
    return numbers
