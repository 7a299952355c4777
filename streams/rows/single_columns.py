"""Plain single events, as structs of a learnt shape, to columns: see `streams.rows.singles`.

What gathers here takes the events piece by piece and keeps of them only their values, floats as
eight bytes each; the columns are made at the end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import astuple

from detectors.frame import Column, text_column
from driftline.shapes import Shape
from streams.rows.cells import (
    class_columns,
    feature_columns,
    float_columns,
    number_column,
    packer,
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
        columns = _class_columns("label", self._labels)
        if _any(self._origins):
            columns["label_source"] = text_column(self._origins)
        return columns


class PredictionGather:
    """What plain predictions of one shape and version say."""

    def __init__(self, shape: Shape) -> None:
        numbers = [name for name, types in shape.features.items() if types == _FLOATS]
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
        """A row for each event taken."""
        columns = float_columns("x:", self._features.numbers())
        for name, words in self._features.others():
            texts = words.column()
            columns |= {f"c:{name}": texts} if texts else feature_columns({name: _null(words)})
        columns |= _class_columns("prediction", self._predictions)
        if _any(self._positive):
            columns["score"] = number_column(self._positive)
        columns |= float_columns("s:", self._scores.numbers())
        for name, words in self._segments.others():
            columns |= {f"g:{name}": words.column() or text_column(_null(words))}
        if any(self._attributions):
            for name, cells in transpose([a or {} for a in self._attributions]).items():
                columns[f"a:{name}"] = number_column(cells)
        if _any(self._latency):
            columns["latency_ms"] = number_column(self._latency)
        return columns


class _Parts:
    """Values by name, of structs whose fields are those names.

    Args:
        names: of the structs' fields, in order.
        numbers: those whose values are floats, None or `UNSET`.
    """

    def __init__(self, names: Iterable[str], numbers: Iterable[str]) -> None:
        self._names = list(names)
        numbers = set(numbers)
        self._packed = {at: bytearray() for at, name in enumerate(self._names) if name in numbers}
        self._others = {at: Words() for at, name in enumerate(self._names) if name not in numbers}
        self._absent = (UNSET,) * len(self._names)
        self._seen: set[int] = set()
        """The numbers that some struct had, perhaps as null."""

    def add(self, structs: Sequence[Any]) -> None:
        """Takes the structs' values; what is no struct lacks them all."""
        if not self._names:
            return
        try:
            rows = list(map(astuple, structs))
        except TypeError:
            rows = [astuple(s) if hasattr(s, "__struct_fields__") else self._absent for s in structs]
        columns = list(zip(*rows, strict=True))
        pack = packer("d", len(rows))
        for at, packed in self._packed.items():
            try:
                packed += pack(*columns[at])
            except struct.error:
                packed += self._doubtful(at, columns[at])
            else:
                self._seen.add(at)
        for at, words in self._others.items():
            words.add(columns[at])

    def _doubtful(self, at: int, cells: Sequence[Any]) -> bytes:
        """Numbers that are not all there, as bytes."""
        try:
            numbers = np.array(cells, np.float64)
        except TypeError:  # of `UNSET`
            if set(cells) != {UNSET}:
                self._seen.add(at)
            numbers = np.array([None if cell is UNSET else cell for cell in cells], np.float64)
        else:
            self._seen.add(at)
        return numbers.tobytes()

    def numbers(self) -> dict[str, bytearray]:
        """The numbers that occur, by name: float64, NaN for none."""
        return {self._names[at]: held for at, held in self._packed.items() if at in self._seen}

    def others(self) -> Iterator[tuple[str, Words]]:
        """The other values by name, of names that occur."""
        for at, words in self._others.items():
            if words.occurs:
                yield self._names[at], words


def _class_columns(name: str, words: Words) -> dict[str, Column]:
    texts = words.column()
    return {name: texts} if texts is not None else class_columns(name, words.cells())


def _null(words: Words) -> list[Any]:
    """The cells with None for `UNSET`."""
    return [None if cell is UNSET else cell for cell in words.cells()]


def _any(cells: Sequence[Any]) -> bool:
    """Whether one of them is not None."""
    return cells.count(None) < len(cells)
