"""The task while it is being learned: decided at the first row that leaves no doubt.

A text, a boolean or an object of scores is a class; a fraction, or more than 20 numbers, is a
regression. Integers alone stay open until the warm-up is over. Everything follows from rows in key
order: what was known *at* an arrival is what the rows before it said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import finite
from detectors.classes import (
    MAX_NUMERIC_CLASSES,
    Decision,
    Family,
    Key,
    aliases_of,
    local_classes,
    positive_of,
    row_key,
)
from detectors.frame import Frame
from detectors.spec import MonitorSpec

Mask: TypeAlias = NDArray[np.bool_]

_ENOUGH = 3  # names tell two classes from more


@dataclass(slots=True)
class Guess:
    """What is known of the task.

    Attributes:
        family: None while it is open.
        decided: key of the row that decided it; () where it was known beforehand, or is open.
        numbers: distinct numeric predictions, while it is open.
        names: class -> arrival of the first row that named it; at most three.
        scored: a row had scores, and `positive` is what they are probabilities of for ever; None:
            scores are those of each class.
    """

    family: Family | None = None
    decided: Key = ()
    numbers: set[float] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)
    scored: bool = False
    positive: str | None = None

    @classmethod
    def of(cls, spec: MonitorSpec) -> Self:
        """What the specification says."""
        if spec.task is None:
            return cls()
        return cls("numbers" if spec.task == "regression" else "classes")

    def meet(self, rows: Frame, spec: MonitorSpec) -> None:
        """Takes note of prediction rows, in key order."""
        if self.family is None:
            self._decide(rows)
        if self.family == "numbers" or (self.scored and len(self.names) >= _ENOUGH):
            return
        until = rows.n
        first = _first(_has_scores(rows))
        if not self.scored and first is not None:
            until = first + 1
            self._names(rows.span(0, until), spec)
            self.scored, decision = True, self.decision(spec)
            self.positive = decision.positive if decision.task == "binary" else None
        self._names(rows, spec)

    def _decide(self, rows: Frame) -> None:
        texts = rows.columns.get("prediction")
        is_class = np.zeros(rows.n, bool) if texts is None else texts.mask.copy()
        for _, column in rows.names("s:"):
            is_class |= column.mask
        at = [(row, "classes") for row in [_first(is_class)] if row is not None]
        row = self._first_number(rows)
        if row is not None:
            at.append((row, "numbers"))
        if at:
            row, family = min(at)
            self.family = "classes" if family == "classes" else "numbers"
            self.decided = row_key(rows, row)
            self.numbers = set()

    def _first_number(self, rows: Frame) -> int | None:
        """The first row whose number cannot be a class."""
        column = rows.columns.get("prediction_value")
        if column is None:
            return None
        values, mask = column.data, column.mask
        odd = mask & ((values != np.round(values)) | ~finite(values))
        firsts = [row for row in [_first(odd)] if row is not None]
        distinct, first = np.unique(values[mask], return_index=True)
        places = np.flatnonzero(mask)[first]
        new = sorted(
            (int(row), float(value))
            for value, row in zip(distinct.tolist(), places.tolist(), strict=True)
            if value not in self.numbers
        )
        room = MAX_NUMERIC_CLASSES - len(self.numbers)
        if len(new) > room:
            firsts.append(new[room][0])
        self.numbers |= {value for _, value in new[:room]}
        return min(firsts, default=None)

    def _names(self, rows: Frame, spec: MonitorSpec) -> None:
        aliases, arrivals = aliases_of(spec.classes), rows.ints("arrival")
        codes, texts = local_classes(rows, "prediction", aliases)
        met = [(int(np.argmax(codes == code)), text) for code, text in enumerate(texts)]
        for name, column in rows.names("s:"):
            if (row := _first(column.mask)) is not None:
                met.append((row, aliases.get(name, name)))
        for row, name in sorted(met):
            if len(self.names) < _ENOUGH:
                self.names.setdefault(name, int(arrivals[row]))

    def decision(self, spec: MonitorSpec, before: int | None = None) -> Decision:
        """The task as far as rows that arrived before this told it."""
        if self.family == "numbers":
            return Decision("regression", None, {})
        names = {name for name, at in self.names.items() if before is None or at < before}
        task = spec.task or ("multiclass" if len(names) >= _ENOUGH else "binary")
        positive = spec.positive
        if positive is None and task == "binary":
            positive = positive_of(names)
        aliases = aliases_of(spec.classes)
        return Decision(task, None if positive is None else aliases.get(positive, positive), {})

    def known(self, at: int) -> bool:
        """The family was certain to whoever looks at this arrival."""
        return self.family is not None and (not self.decided or int(self.decided[0]) < at)

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "family": self.family,
            "decided": list(self.decided),
            "numbers": sorted(self.numbers),
            "names": sorted(self.names.items()),
            "scored": self.scored,
            "positive": self.positive,
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        return cls(
            dumped["family"],
            tuple(dumped["decided"]),
            set(dumped["numbers"]),
            dict(dumped["names"]),
            dumped["scored"],
            dumped["positive"],
        )


def _has_scores(rows: Frame) -> Mask:
    found = np.zeros(rows.n, bool)
    for name, column in rows.columns.items():
        if name == "score" or name[:2] == "s:":
            found |= column.mask
    return found


def _first(mask: Mask) -> int | None:
    return int(np.argmax(mask)) if mask.any() else None
