"""Rows and frames for tests of the flow, written by hand or drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from detectors.frame import ID, SOURCE_SHIFT, Column, Frame, float_column, text_column
from detectors.order_key import merged_order, order


@dataclass(frozen=True, kw_only=True)
class Prediction:
    id: str = "a"
    subject: str = "fraud@1"
    arrival: int
    ts: int | None = None  # None: as it arrives
    says: str | float = "legit"
    score: float | None = None
    segment: str | None = None
    amount: float | None = 1.0
    partition: int = 0
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Label:
    id: str = "a"
    model: str = "fraud"  # "": of any model
    arrival: int
    ts: int | None = None
    says: str | float = "fraud"
    by: str | None = None
    partition: int = 0
    offset: int = 0


Row: TypeAlias = Prediction | Label


def id_of(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


def frames_of(rows: Iterable[Row]) -> list[Frame]:
    """One frame per subject and kind, each in key order."""
    groups: dict[tuple[str, type], list[Row]] = {}
    for row in rows:
        subject = row.subject if isinstance(row, Prediction) else f"{row.model}@"
        groups.setdefault((subject, type(row)), []).append(row)
    frames = [_frame(subject, group) for (subject, _), group in groups.items()]
    return [frame.take(order(frame)) for frame in frames]


def _frame(subject: str, rows: Sequence[Row]) -> Frame:
    is_prediction = isinstance(rows[0], Prediction)
    rank = 0 if is_prediction else 1
    numbers = {
        "ts": [r.arrival if r.ts is None else r.ts for r in rows],
        "arrival": [r.arrival for r in rows],
        "source": [rank << SOURCE_SHIFT | r.partition for r in rows],
        "offset": [r.offset for r in rows],
        "index": [0] * len(rows),
    }
    columns = {name: Column(np.array(values, np.int64)) for name, values in numbers.items()}
    columns["id"] = Column(np.frombuffer(b"".join(id_of(r.id) for r in rows), ID))
    columns["prediction_id"] = text_column([r.id for r in rows])
    name = "prediction" if is_prediction else "label"
    texts = [r.says if isinstance(r.says, str) else None for r in rows]
    values = [None if isinstance(r.says, str) else r.says for r in rows]
    if any(text is not None for text in texts):
        columns[name] = text_column(texts)
    if any(value is not None for value in values):
        columns[f"{name}_value"] = float_column(values)
    for row_column, attribute, make in (
        ("label_source", "by", text_column),
        ("s:fraud", "score", float_column),
        ("g:region", "segment", text_column),
        ("x:amount", "amount", float_column),
    ):
        cells = [getattr(r, attribute, None) for r in rows]
        if any(cell is not None for cell in cells):
            columns[row_column] = make(cells)
    return Frame(subject, "prediction" if is_prediction else "label", len(rows), columns)


def rows_of(frame: Frame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts of what is valid in them."""
    rows: list[dict[str, Any]] = [
        {"subject": frame.subject, "kind": frame.kind} for _ in range(frame.n)
    ]
    for name, column in frame.columns.items():
        cells = column.texts() if column.values is not None else column.data.tolist()
        for row, cell, valid in zip(rows, cells, column.mask.tolist(), strict=True):
            if valid:
                row[name] = cell
    return rows


def in_key_order(rows: Sequence[Row]) -> list[Row]:
    """The rows in the order in which join takes them."""
    singles = [frames_of([row])[0] for row in rows]
    which, _ = merged_order(singles)
    return [rows[i] for i in which.tolist()]


# -- drawn by Hypothesis ---------------------------------------------------------------------------

times = st.integers(0, 60)
names = st.sampled_from(["a", "b", "c"])
classes = st.sampled_from(["legit", "fraud", 1.0, "1"])

predictions = st.builds(
    Prediction,
    id=names,
    subject=st.sampled_from(["fraud@1", "fraud@2", "churn@1"]),
    arrival=times,
    ts=st.none() | times,
    says=classes,
    score=st.none() | st.sampled_from([0.25, 0.75]),
    segment=st.none() | st.sampled_from(["eu", "us"]),
    partition=st.integers(0, 1),
)
labels = st.builds(
    Label,
    id=names,
    model=st.sampled_from(["fraud", "churn", ""]),
    arrival=times,
    ts=st.none() | times,
    says=classes,
    by=st.none() | st.sampled_from(["chargeback", "form"]),
    partition=st.integers(0, 1),
)


@st.composite
def row_lists(draw: st.DrawFn, max_size: int = 40) -> list[Row]:
    """Rows of few ids at few times, so that they meet; each has an offset of its own."""
    rows = draw(st.lists(predictions | labels, max_size=max_size))
    return [_at(row, offset) for offset, row in enumerate(rows)]


def _at(row: Row, offset: int) -> Row:
    return type(row)(**{**vars(row), "offset": offset})
