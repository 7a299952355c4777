"""Shapes: how the single events of a model look, learnt from them, so that C reads the next ones.

Nearly all events of a model name the same features with the same types. A `Shape` is a msgspec
type made for them, which reads features into fields and not into a dictionary: twice as fast, and
columns fall out of it. The model is the tag of its type, so one decoder reads the events of all
models. It takes only what is beyond doubt; all else is `driftline.codec`'s, which knows every form
that an event may have. Both must agree (a property test holds them together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from driftline.rules import MAX_FEATURES, MAX_MESSAGE_BYTES, is_name
from driftline.wire import Feature, Id, Ms, Row, Score, Text, Value, message_decoder

MAX_SHAPES: Final = 1_000
"""Shapes kept; then all are learnt anew."""

MAX_LESSONS: Final = 64
"""How often the shape of a model grows; a model whose events keep differing has none."""

_SPARSE: Final = 3
"""Events that name less than a third of their model's features are left to the codec."""

DOUBTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for an event that is not of its shape."""

_TYPES: Final[dict[frozenset[type], Any]] = {
    frozenset(): None | UnsetType,
    frozenset({float}): float | None | UnsetType,
    frozenset({str}): Text | None | UnsetType,
    frozenset({bool}): bool | None | UnsetType,
}
_ANY: Final = Feature | UnsetType


class LabelRow(Struct, gc=False, forbid_unknown_fields=True):
    """A single label, as labelling jobs send it."""

    prediction_id: Id
    label: Value
    model: str | None = None
    ts: Ms | str | None = None
    source: Text | None = None
    arrival: Ms | None = None


label_decoder = msgspec.json.Decoder(LabelRow)


class _Nobody(Struct, tag_field="model", tag=""):
    """No event is this one. With it the decoder's type is a union, so that events need a model."""

    prediction_id: Annotated[int, Meta(ge=1, le=0)]


@dataclass(frozen=True, slots=True)
class Shape:
    """The single predictions of one model.

    Its events have the fields of `wire.Row` but for `model`, `label`, `source` and `invalid`;
    `features`, `scores` and `segments` are structs whose fields, in order, are the names here (or
    None; `scores` perhaps a float). A field that the event lacks is `UNSET`.
    """

    model: str
    event: type[Struct]
    features: Mapping[str, frozenset[type]]
    """Feature -> the types it was seen to have: float, str, bool; none: always null."""
    scores: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()


class Shapes:
    """Shapes by model, learnt from the first event and from each that does not fit."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape | None] = {}
        self._lessons: dict[str, int] = {}
        self._renew()

    def _renew(self) -> None:
        known = [shape for shape in self._shapes.values() if shape is not None]
        self.by_type: dict[type[Struct], Shape] = {shape.event: shape for shape in known}
        """The shapes by the type of their events."""
        types = (_Nobody, *self.by_type)
        decoder = msgspec.json.Decoder(Union[types])  # noqa: UP007  # types known only now
        self.decode: Callable[[bytes], Any] = decoder.decode
        """An event of one of the shapes; raises one of `DOUBTS` for any other. Ask anew after
        `learn`."""

    def learn(self, model: str, value: bytes) -> bool:
        """An event of this model that `decode` refuses; whether another shape came of it."""
        lessons = self._lessons.get(model, 0)
        if lessons >= MAX_LESSONS or len(value) > MAX_MESSAGE_BYTES:
            return self._set(model, None)
        if lessons == 0 and len(self._lessons) >= MAX_SHAPES:
            self._shapes.clear()
            self._lessons.clear()
        try:
            event = message_decoder.decode(value)
        except DOUBTS:
            return False  # poison says nothing about the model's events
        if event.model != model or not is_name(model):
            return False
        known = self._shapes.get(model)
        grown = _grown(model, known, event)
        if grown is not None and grown is known:
            return False  # it is odd in another way
        self._lessons[model] = lessons + 1
        return self._set(model, grown)

    def _set(self, model: str, shape: Shape | None) -> bool:
        before = self._shapes.get(model)
        self._shapes[model] = shape
        if shape is not before:
            self._renew()
        return shape is not before


def _grown(model: str, shape: Shape | None, event: Row) -> Shape | None:
    """The shape with the event's names and types, too; None: there is none worth having."""
    given = event.features or {}
    features = dict(shape.features) if shape is not None else {}
    for name, value in given.items():
        seen = features.get(name, frozenset())
        features[name] = seen if value is None else seen | {type(value)}
    if not given or len(features) > min(MAX_FEATURES, _SPARSE * len(given)):
        return None
    scores, segments = shape.scores if shape else (), shape.segments if shape else ()
    if isinstance(event.scores, dict):
        scores = tuple(dict.fromkeys([*scores, *event.scores]))
    segments = tuple(dict.fromkeys([*segments, *(event.segments or {})]))
    if shape is not None and (features, scores, segments) == (
        shape.features,
        shape.scores,
        shape.segments,
    ):
        return shape
    try:
        made = _type(model, features, scores, segments)
    except ValueError:  # a name that no field can have, such as one with a quote
        return None
    return Shape(model, made, features, scores, segments)


def _type(
    model: str,
    features: Mapping[str, frozenset[type]],
    scores: Iterable[str],
    segments: Iterable[str],
) -> type[Struct]:
    """The struct of whole events."""
    scored, parted = list(scores), list(segments)
    score_type: Any = Score | None
    if scored:
        score_type = _part("Scores", scored, [Score | UnsetType] * len(scored)) | Score | None
    segment_type: Any = None
    if parted:
        segment_type = _part("Segments", parted, [Text | UnsetType] * len(parted)) | None
    kinds = [_TYPES.get(types, _ANY) for types in features.values()]
    feature_type = _part("Features", list(features), kinds) | None
    fields: list[Any] = [
        ("prediction_id", Id),
        ("version", str),
        ("ts", Ms | str | None, None),
        ("features", feature_type, None),
        ("prediction", Value),
        ("scores", score_type, None),
        ("segments", segment_type, None),
        ("attributions", dict[Text, float] | None, None),
        ("latency_ms", float | None, None),
        ("trace_id", str | None, None),
        ("arrival", Ms | None, None),
    ]
    options: dict[str, Any] = {"kw_only": True, "gc": False, "forbid_unknown_fields": True}
    return defstruct("Event", fields, tag_field="model", tag=model, **options)


def _part(name: str, names: list[str], types: list[Any]) -> Any:
    """A struct with these names as JSON keys; none of them need be there."""
    fields: list[Any] = [(f"f{i}", kind, UNSET) for i, kind in enumerate(types)]
    rename = {f"f{i}": key for i, key in enumerate(names)}
    return defstruct(name, fields, rename=rename, gc=False, forbid_unknown_fields=True)
