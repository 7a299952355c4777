"""Plain single events, as structs of a learnt shape, to columns: see `streams.rows.singles`.

What gathers here takes the events piece by piece and keeps of them only their values, floats as
eight bytes each; the columns are made at the end.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from detectors.frame import Column, text_column
from driftline.shapes import Shape
from streams.rows.cells import (
    class_columns,
    feature_columns,
    number_column,
    packer,
    segment_columns,
    transpose,
)
from streams.rows.words import Words

_FLOATS = frozenset({float})


class LabelGather:
    """What plain labels of one model say."""

    def __init__(self) -> None:
        self._labels = Words()
        self._origins: list[str | None] = []

    def add(self, events: Sequence[Any]) -> None:
        """Takes the events' values."""
        self._labels.add([event.label for event in events])
        self._origins += [event.source for event in events]

    def columns(self) -> dict[str, Column]:
        """A row for each event taken."""
        columns = class_columns("label", self._labels)
        if _any(self._origins):
            columns["label_source"] = text_column(self._origins)
        return columns

    def packed(self) -> dict[str, bytearray]:
        """None: labels are few numbers."""
        return {}


class PredictionGather:
    """What plain predictions of one shape and version say."""

    def __init__(self, shape: Shape) -> None:
        numbers = {name for name, types in shape.features.items() if types == _FLOATS}
        self._features = _Parts(shape.features, numbers)
        self._scores = _Parts(shape.scores, shape.scores)
        self._segments = _Parts(shape.segments, ())
        self._predictions = Words()
        self._positive: list[float | None] = []
        self._attributions: list[dict[str, float] | None] = []
        self._latency: list[float | None] = []

    def add(self, events: Sequence[Any]) -> None:
        """Takes the events' values."""
        _, _, _, features, predictions, scores, segments, attributions, latency, *_ = zip(
            *map(astuple, events), strict=True
        )
        self._features.add(features)
        self._predictions.add(predictions)
        self._scores.add(scores)
        self._positive += [score if type(score) is float else None for score in scores]
        self._segments.add(segments)
        self._attributions += attributions
        self._latency += latency

    def columns(self) -> dict[str, Column]:
        """A row for each event taken, but for what is `packed`."""
        columns = feature_columns(self._features.others())
        columns |= class_columns("prediction", self._predictions)
        if _any(self._positive):
            columns["score"] = number_column(self._positive)
        columns |= segment_columns(self._segments.others())
        if any(self._attributions):
            for name, cells in transpose([a or {} for a in self._attributions]).items():
                columns[f"a:{name}"] = number_column(cells)
        if _any(self._latency):
            columns["latency_ms"] = number_column(self._latency)
        return columns

    def packed(self) -> dict[str, bytearray]:
        """Columns of floats: float64, NaN for none."""
        return {
            prefix + name: numbers
            for prefix, parts in (("x:", self._features), ("s:", self._scores))
            for name, numbers in parts.numbers().items()
        }


class _Parts:
    """Values by name, of structs whose fields are those names.

    Args:
        names: of the structs' fields, in order.
        numbers: those whose values are floats, None or `UNSET`.
    """

    def __init__(self, names: Iterable[str], numbers: Container[str]) -> None:
        self._names = list(names)
        fields = range(len(self._names))
        self._packed = {at: bytearray() for at in fields if self._names[at] in numbers}
        self._others = {at: Words() for at in fields if self._names[at] not in numbers}
        self._absent = (UNSET,) * len(self._names)
        self._seen: set[int] = set()
        """The numbers that some struct had, perhaps as null."""

    def add(self, structs: Sequence[Any]) -> None:
        """Takes the structs' values; what is no struct (None, a float) lacks them all."""
        if not self._names:
            return
        try:
            rows = list(map(astuple, structs))
        except TypeError:
            rows = [astuple(s) if isinstance(s, Struct) else self._absent for s in structs]
        columns = list(zip(*rows, strict=True))
        pack = packer("d", len(rows))
        for at, packed in self._packed.items():
            try:
                packed.extend(pack(*columns[at]))
            except struct.error:
                packed.extend(self._with_gaps(at, columns[at]))
            else:
                self._seen.add(at)
        for at, words in self._others.items():
            words.add(columns[at])

    def _with_gaps(self, at: int, cells: Sequence[float | UnsetType | None]) -> bytes:
        """Numbers of which some are None or `UNSET`, packed as NaN."""
        if UNSET not in cells:
            self._seen.add(at)
            return np.array(cells, np.float64).tobytes()
        if set(cells) != {UNSET}:
            self._seen.add(at)
        return np.array([None if c is UNSET else c for c in cells], np.float64).tobytes()

    def numbers(self) -> dict[str, bytearray]:
        """The numbers that occur, by name: float64, NaN for none."""
        return {self._names[at]: held for at, held in self._packed.items() if at in self._seen}

    def others(self) -> dict[str, Words]:
        """The other values that occur, by name."""
        return {self._names[at]: words for at, words in self._others.items() if words.occurs}


def _any(cells: Sequence[Any]) -> bool:
    """Whether one of them is not None."""
    return cells.count(None) < len(cells)
