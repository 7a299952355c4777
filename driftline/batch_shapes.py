"""Shapes of columnar batches: how those of a model look, learnt from them.

Like `driftline.shapes` for single events: a msgspec type made for a model's features checks each
column in C and says what it holds, so that nobody has to look at the values once more. It takes
only what is beyond doubt; all else is `driftline.codec`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, defstruct

from driftline.rules import MAX_FEATURES, MAX_MESSAGE_BYTES
from driftline.shapes import DOUBTS, MAX_LESSONS, MAX_SHAPES
from driftline.wire import Columns, Feature, Id, Ms, Score, Text, Value, message_decoder

_SPARSE: Final = 3
"""Batches with less than a third of their model's features are left to the codec."""

NUMBERS: Final[frozenset[type]] = frozenset({float})
NUMBERS_OR_NULL: Final[frozenset[type]] = frozenset({float, type(None)})
_TYPES: Final[dict[frozenset[type], Any]] = {
    NUMBERS: list[float],
    NUMBERS_OR_NULL: list[float | None],
    frozenset({str}): list[Text],
    frozenset({bool}): list[bool],
}


class LabelColumns(Struct, gc=False, forbid_unknown_fields=True):
    """Columns of labels."""

    prediction_id: list[Id]
    label: list[Value]
    ts: list[Ms] | None = None
    source: list[Text | None] | None = None
    arrival: list[Ms | None] | None = None


class LabelBatch(Struct, gc=False, forbid_unknown_fields=True):
    """Labels as columns, and what they share."""

    columns: LabelColumns
    model: str | None = None
    ts: Ms | None = None
    source: Text | None = None
    arrival: Ms | None = None


label_batch_decoder = msgspec.json.Decoder(LabelBatch)


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The prediction batches of one model. `decode` raises one of `DOUBTS` for any other message.

    What it gives has the fields `model`, `version`, `ts` and `columns`, which has those of
    `wire.Columns` but for `label` and `source`; `features` is a struct of lists in the order of
    the names here (or None), `UNSET` where the batch lacks one.
    """

    decode: Callable[[bytes], Any]
    features: Mapping[str, frozenset[type]]
    """Feature -> types its values were seen to have."""


class BatchShapes:
    """Shapes by model, learnt from the first batch and from each that does not fit."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, BatchShape] = {}
        self._lessons: dict[bytes, int] = {}

    def decode(self, hint: bytes, value: bytes) -> tuple[BatchShape, Any] | None:
        """The batch and its shape; None: in doubt. `hint` says whose batch it probably is."""
        shape = self._shapes.get(hint)
        for _ in range(2):
            if shape is not None:
                try:
                    return shape, shape.decode(value)
                except DOUBTS:
                    pass
            learnt = self._learn(hint, shape, value)
            if learnt is None or learnt is shape:
                return None
            shape = learnt
        return None

    def _learn(self, hint: bytes, known: BatchShape | None, value: bytes) -> BatchShape | None:
        lessons = self._lessons.get(hint, 0)
        if lessons >= MAX_LESSONS or len(value) > MAX_MESSAGE_BYTES:
            return None
        if lessons == 0 and len(self._lessons) >= MAX_SHAPES:
            self._shapes.clear()
            self._lessons.clear()
        self._lessons[hint] = lessons + 1
        try:
            message = message_decoder.decode(value)
        except DOUBTS:
            return None
        if message.columns is None or message.columns.prediction is None:
            return None
        grown = _grown(known, message.columns)
        if grown is not None:
            self._shapes[hint] = grown
        return grown


def _grown(shape: BatchShape | None, columns: Columns) -> BatchShape | None:
    """The shape with the batch's names and types, too; None: there is none worth having."""
    given = columns.features or {}
    features = dict(shape.features) if shape is not None else {}
    for name, cells in given.items():
        features[name] = features.get(name, frozenset()) | set(map(type, cells))
    if len(features) > min(MAX_FEATURES, _SPARSE * len(given)):
        return None
    if shape is not None and features == shape.features:
        return shape  # it is odd in another way
    try:
        decoder = msgspec.json.Decoder(_type(features))
    except ValueError:  # a name that no field can have, such as one with a quote
        return None
    return BatchShape(decoder.decode, features)


def _type(features: Mapping[str, frozenset[type]]) -> type[Struct]:
    kinds = [_TYPES.get(types, list[Feature]) | UnsetType for types in features.values()]
    fields: list[Any] = [(f"f{i}", kind, UNSET) for i, kind in enumerate(kinds)]
    rename = {f"f{i}": key for i, key in enumerate(features)}
    named = defstruct("Features", fields, rename=rename, gc=False, forbid_unknown_fields=True)
    columns: list[Any] = [
        ("prediction_id", list[Id]),
        ("prediction", list[Value]),
        ("ts", list[Ms] | None, None),
        ("features", named | None, None),
        ("scores", dict[Text, list[Score | None]] | list[Score | None] | None, None),
        ("segments", dict[Text, list[Text | None]] | None, None),
        ("attributions", dict[Text, list[float | None]] | None, None),
        ("latency_ms", list[float | None] | None, None),
        ("trace_id", list[str | None] | None, None),
        ("arrival", list[Ms | None] | None, None),
    ]
    options: dict[str, Any] = {"kw_only": True, "gc": False, "forbid_unknown_fields": True}
    fields = [
        ("model", str),
        ("version", str),
        ("columns", defstruct("Columns", columns, **options)),
        ("ts", Ms | None, None),
        ("arrival", Ms | None, None),
    ]
    return defstruct("Batch", fields, **options)
