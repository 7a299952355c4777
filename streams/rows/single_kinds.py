"""What sets single predictions and single labels apart: how they are decoded and grouped.

`streams.rows.singles` reads either kind in the same steps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

from driftline.rules import is_name
from driftline.shapes import DOUBTS, Shapes, label_decoder
from streams.rows.batches import is_columnar
from streams.rows.single_columns import LabelGather, PredictionGather

LESSONS_PER_BATCH = 4
"""Events of one model and batch that may teach; a stream of odd ones must not cost twice."""

MODELS_PER_BATCH = 64
"""Models whose events may teach in one batch: a lesson costs by how many models are known."""

_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]*)"')

Event: TypeAlias = Any
"""A struct of a shape's own type, or a label."""


@dataclass(slots=True)
class Group:
    """Events of one subject: their places among the records, and what they say."""

    subject: str
    gather: PredictionGather | LabelGather
    places: list[int] = field(default_factory=list)


class LabelKind:
    """Labels, by model."""

    name = "label"
    models = 1
    """Most labels name none; those that do are not dear to group."""
    decode = staticmethod(label_decoder.decode)

    def again(self, _: bytes | None) -> Event | None:
        """None: all labels look alike, and what does not is odd."""
        return None

    def keys(self, events: Sequence[Event]) -> Iterable[Hashable]:
        """Of each event; those of equal keys are a group."""
        return map(attrgetter("model"), events)

    def group(self, event: Event) -> Group | None:
        """The group of events with this one's key; None: they are odd."""
        model = event.model
        if model is None or is_name(model):
            return Group(f"{model or ''}@", LabelGather())
        return None


class PredictionKind:
    """The predictions of one batch, by shape and version."""

    name = "prediction"

    def __init__(self, shapes: Shapes) -> None:
        self.decode = shapes.decode
        self.models = len(shapes.by_type)
        """How many are known."""
        self._shapes = shapes
        self._shape_of = dict(shapes.by_type)
        self._taught = Counter[str]()

    def again(self, value: bytes | None) -> Event | None:
        """The event that `decode` refused, if its model's shape can learn from it; else None."""
        if value is None or is_columnar(value):
            return None
        found = _MODEL.search(value)
        if found is None:
            return None
        model = found[1].decode("utf-8", "replace")
        taught = self._taught[model]
        if taught == LESSONS_PER_BATCH or (not taught and len(self._taught) == MODELS_PER_BATCH):
            return None
        self._taught[model] += 1
        if not self._shapes.learn(model, value):
            return None
        self.decode = self._shapes.decode
        self._shape_of |= self._shapes.by_type  # events of the type before wait for their group
        with suppress(*DOUBTS):
            return self.decode(value)
        return None

    def keys(self, events: Sequence[Event]) -> Iterable[Hashable]:
        """Of each event; those of equal keys are a group."""
        return zip(map(type, events), map(attrgetter("version"), events), strict=True)

    def group(self, event: Event) -> Group | None:
        """The group of events with this one's key; None: they are odd."""
        if not is_name(event.version):
            return None
        shape = self._shape_of[type(event)]
        return Group(f"{shape.model}@{event.version}", PredictionGather(shape))
