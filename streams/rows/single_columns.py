"""Plain single events, as structs of a learnt shape, to columns: see `streams.rows.singles`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import astuple

from detectors.frame import Column, text_column
from driftline.shapes import Shape
from streams.rows.cells import (
    class_columns,
    feature_columns,
    number_column,
    segment_columns,
    transpose,
)

_FLOATS = frozenset({float})


def label_columns(events: Sequence[Any], _: Shape | None) -> dict[str, Column]:
    """Columns of what plain labels say."""
    columns = class_columns("label", [event.label for event in events])
    origins = [event.source for event in events]
    if any(origin is not None for origin in origins):
        columns["label_source"] = text_column(origins)
    return columns


def prediction_columns(events: Sequence[Any], shape: Shape | None) -> dict[str, Column]:
    """Columns of what plain predictions of one shape say."""
    assert shape is not None
    columns = _feature_columns([event.features for event in events], shape)
    columns |= class_columns("prediction", [event.prediction for event in events])
    columns |= _score_columns([event.scores for event in events], shape)
    segments = [event.segments for event in events]
    if shape.segments:
        cells = _cells(segments, shape.segments)
        columns |= segment_columns({name: _none(column) for name, column in cells.items()})
    attributions = [event.attributions for event in events]
    if any(attributions):
        for name, values in transpose([a or {} for a in attributions]).items():
            columns[f"a:{name}"] = number_column(values)
    latency = [event.latency_ms for event in events]
    if any(value is not None for value in latency):
        columns["latency_ms"] = number_column(latency)
    return columns


def _feature_columns(structs: Sequence[Any], shape: Shape) -> dict[str, Column]:
    cells = _cells(structs, tuple(shape.features))
    numbers = {
        name: cells.pop(name)
        for name, types in shape.features.items()
        if types == _FLOATS and name in cells
    }
    columns = matrix_columns("x:", numbers)
    if columns is None:
        cells |= numbers
        columns = {}
    return columns | feature_columns({name: _none(column) for name, column in cells.items()})


def _score_columns(scores: Sequence[Any], shape: Shape) -> dict[str, Column]:
    """Scores by class, and those of the positive class alone."""
    columns: dict[str, Column] = {}
    positive = [score if type(score) is float else None for score in scores]
    if any(score is not None for score in positive):
        columns["score"] = number_column(positive)
        scores = [None if type(score) is float else score for score in scores]
    if shape.scores:
        cells = _cells(scores, shape.scores)
        found = matrix_columns("s:", cells)
        if found is None:
            found = {f"s:{name}": number_column(_none(c)) for name, c in cells.items()}
        columns |= found
    return columns


def _cells(structs: Sequence[Any], names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Each name's values over the structs, `UNSET` where one lacks it; names that all lack go."""
    absent = (UNSET,) * len(names)
    if NoneType in set(map(type, structs)):
        rows = [absent if struct is None else astuple(struct) for struct in structs]
    else:
        rows = list(map(astuple, structs))
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {
        name: cells
        for name, cells in columns
        if cells[0] is not UNSET or any(cell is not UNSET for cell in cells)
    }


def _none(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells with None for `UNSET`."""
    return [None if cell is UNSET else cell for cell in cells]


def matrix_columns(prefix: str, cells: Mapping[str, Sequence[Any]]) -> dict[str, Column] | None:
    """Float columns of cells that are floats or None, all at once; None: some are `UNSET`."""
    if not cells:
        return {}
    try:
        matrix = np.array(list(cells.values()), np.float64)
    except TypeError:
        return None
    finite = np.isfinite(matrix)
    if finite.all():
        return {prefix + name: Column(matrix[at]) for at, name in enumerate(cells)}
    matrix[~finite] = 0.0
    return {
        prefix + name: Column(matrix[at], None if finite[at].all() else finite[at])
        for at, name in enumerate(cells)
    }
