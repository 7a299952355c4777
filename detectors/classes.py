"""Classes of a subject: which task its predictions are, and which texts are its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import finite
from detectors.frame import SOURCE_SHIFT, Frame
from detectors.spec import MonitorSpec, Task
from driftline.rules import class_text

Ints: TypeAlias = NDArray[np.int64]
Key: TypeAlias = tuple[int | bytes, ...]
Family: TypeAlias = Literal["classes", "numbers"]
"""What predictions are, before it is known how many classes there are."""

NONE: Final = -1
"""Code of a row without the value."""
OTHER: Final = 0
"""Code of all classes over the cap."""
DIFFERENT: Final = 1
"""Code of a label over the cap that is not its prediction's class, which is over the cap, too."""
RESERVED: Final = ("_other", "_other_label")
MAX_CLASSES: Final = 100
"""Classes of predictions, and as many again that only labels have."""
MAX_NUMERIC_CLASSES: Final = 20

_FEW_TEXTS: Final = 8
"""Texts up to which a look at all rows for each is faster than at the texts of all rows."""
_COUNTERPARTS: Final = {"0": "1", "false": "true", "no": "yes", "negative": "positive"}


def row_key(frame: Frame, row: int) -> Key:
    """The order key of one row, comparable with that of any other; see `detectors.frame.ORDER`."""
    columns = frame.columns
    source = int(columns["source"].data[row])
    time = columns["ts"]
    ordered = columns.get("order_ts")
    if ordered is not None and (ordered.valid is None or ordered.valid[row]):
        time = ordered
    return (
        int(columns["arrival"].data[row]),
        source >> SOURCE_SHIFT,
        int(time.data[row]),
        columns["id"].data[row].tobytes(),
        source & ((1 << SOURCE_SHIFT) - 1),
        int(columns["offset"].data[row]),
        int(columns["index"].data[row]),
    )


def aliases_of(classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Text -> the class it means, from a specification's `classes`."""
    return {text: name for name, texts in classes.items() for text in texts}


def local_classes(frame: Frame, name: str, aliases: Mapping[str, str]) -> tuple[Ints, list[str]]:
    """(index into the list or -1, list of class texts) of the column `name` and its numeric twin.

    The list holds each class that occurs, once, in order of first appearance in the rows.
    """
    texts: list[str] = []
    column = frame.columns.get(name)
    numbers = frame.columns.get(f"{name}_value")
    if numbers is None and frame.n:
        if column is None:
            return np.full(frame.n, NONE, dtype=np.int64), texts
        if column.values is not None and column.valid is None and len(column.values) <= _FEW_TEXTS:
            return _of_few(column.data, column.values, aliases)
    if column is None or column.values is None:
        raw = np.full(frame.n, NONE, dtype=np.int64)
    else:
        texts += column.values
        raw = column.data.astype(np.int64)
        if column.valid is not None:
            raw[~column.valid] = NONE
    if numbers is not None:
        rows = numbers.mask & (raw == NONE)
        values, codes = np.unique(numbers.data[rows], return_inverse=True)
        raw[rows] = codes + len(texts)
        texts += [class_text(value) for value in values.tolist()]
    # Of a code that repeats, the last write stays: in reverse order, that of its first row.
    first = np.full(len(texts) + 1, frame.n)  # the last one serves raw == -1
    first[raw[::-1]] = np.arange(frame.n - 1, -1, -1)
    firsts = first.tolist()
    index: dict[str, int] = {}
    lookup = np.full(len(texts) + 1, NONE, dtype=np.int64)
    for code in sorted(range(len(texts)), key=firsts.__getitem__):
        if firsts[code] < frame.n:
            text = aliases.get(texts[code], texts[code])
            lookup[code] = index.setdefault(text, len(index))
    return lookup[raw], list(index)


def _of_few(
    codes: NDArray[Any], values: Sequence[str], aliases: Mapping[str, str]
) -> tuple[Ints, list[str]]:
    """As `local_classes`, of rows that all have one of a few texts."""
    found = [codes == code for code in range(len(values))]
    firsts = [int(rows.argmax()) for rows in found]
    index: dict[str, int] = {}
    lookup = np.full(len(values), NONE, dtype=np.int64)
    for first, code in sorted(zip(firsts, range(len(values)), strict=True)):
        if found[code][first]:
            text = aliases.get(values[code], values[code])
            lookup[code] = index.setdefault(text, len(index))
    return lookup[codes], list(index)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the predictions are, decided once. `classes`: predicted ones with their counts."""

    task: Task
    positive: str | None
    classes: dict[str, int]


def decide(warmup: Frame, spec: MonitorSpec, family: Family | None = None) -> Decision:
    """The task, positive class and classes from the warm-up rows (contract.md, section 2).

    `family`: what was certain before, and holds.
    """
    aliases = aliases_of(spec.classes)
    scored = [name for name, column in warmup.names("s:") if column.mask.any()]
    task = spec.task
    if family is None and not scored and _is_regression(warmup):
        family = "numbers"
    if task is None and family == "numbers":
        task = "regression"
    if task == "regression":
        return Decision("regression", None, {})
    codes, texts = local_classes(warmup, "prediction", aliases)
    counts = np.bincount(codes[codes != NONE], minlength=len(texts)).tolist()
    classes = dict(sorted(zip(texts, counts, strict=True), key=lambda item: (-item[1], item[0])))
    names = {*classes, *(aliases.get(name, name) for name in scored)}
    if task is None:
        task = "multiclass" if len(names) > 2 else "binary"  # noqa: PLR2004  # two classes: binary
    positive = spec.positive
    if positive is None and task == "binary":
        positive = positive_of(names)
    return Decision(task, None if positive is None else aliases.get(positive, positive), classes)


def _is_regression(warmup: Frame) -> bool:
    text = warmup.columns.get("prediction")
    numbers = warmup.columns.get("prediction_value")
    if numbers is None or (text is not None and text.mask.any()):
        return False
    values = np.unique(numbers.data[numbers.mask])
    if len(values) > MAX_NUMERIC_CLASSES:
        return True
    return bool(np.any(values != np.round(values)) or not finite(values).all())


def positive_of(names: set[str]) -> str | None:
    """The positive one of at most two classes, where their names say which it is."""
    for negative, positive in _COUNTERPARTS.items():
        if names and names <= {negative, positive}:
            return positive
    return None


@dataclass(slots=True)
class ClassTable:
    """Codes for class texts: those over the cap share `_other`, the rest as they were met.

    `predicted` maps a class to the order key of its first prediction, while that may still lie
    ahead of a label of the same step; None afterwards. So a label counts as unknown by what came
    before it in order, not by what happened to share its step.
    """

    aliases: dict[str, str]
    names: list[str] = field(default_factory=lambda: list(RESERVED))
    index: dict[str, int] = field(default_factory=dict)
    predicted: dict[str, Key | None] = field(default_factory=dict)
    labelled: set[str] = field(default_factory=set)

    def know(self, texts: Sequence[str]) -> None:
        """Takes classes known beforehand (warm-up, reference) as predicted."""
        for text in texts[:MAX_CLASSES]:
            self.predicted[text] = None
            self._code(text)

    def settle(self) -> None:
        """The step is over: what was predicted in it precedes every later label."""
        for text, key in self.predicted.items():
            if key is not None:
                self.predicted[text] = None

    def of_predictions(self, frame: Frame, known: tuple[Ints, list[str]] | None = None) -> Ints:
        """The class code of each prediction row; new classes join, up to the cap.

        `known`: their `local_classes`, where somebody has them.
        """
        local, texts = known or local_classes(frame, "prediction", self.aliases)
        codes = [self._predicted(text, frame, local, i) for i, text in enumerate(texts)]
        return _spread(local, codes)

    def _predicted(self, text: str, frame: Frame, local: Ints, i: int) -> int:
        if text not in self.predicted:
            if len(self.predicted) >= MAX_CLASSES:
                return OTHER
            self.predicted[text] = row_key(frame, int(np.argmax(local == i)))
        return self._code(text)

    def of_labels(self, frame: Frame) -> tuple[Ints, NDArray[np.bool_]]:
        """(class code, whether no prediction had it before) of each row's label."""
        local, texts = local_classes(frame, "label", self.aliases)
        unknown = np.zeros(frame.n, bool)
        codes = []
        for i, text in enumerate(texts):
            if self.predicted.get(text, ()) is None:  # before this step
                codes.append(self._code(text))
                continue
            early = self._before_predicted(text, frame, local == i)
            unknown |= early
            codes.append(self._labelled(text) if early.any() else self._code(text))
        return _spread(local, codes), unknown

    def _before_predicted(
        self, text: str, frame: Frame, rows: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Those of the rows that precede the first prediction of this class."""
        if text not in self.predicted:
            return rows
        key = self.predicted[text]
        assert key is not None  # else nobody asks
        early = [row for row in np.flatnonzero(rows).tolist() if row_key(frame, row) < key]
        return np.isin(np.arange(frame.n), early)

    def _labelled(self, text: str) -> int:
        if text not in self.labelled and text not in self.predicted:
            if len(self.labelled) >= MAX_CLASSES:
                return OTHER
            self.labelled.add(text)
        return self._code(text)

    def known(self, frame: Frame, name: str) -> Ints:
        """The class code of each row's `name` (prediction or previous label of an outcome)."""
        local, texts = local_classes(frame, name, self.aliases)
        return _spread(local, [self._labelled(text) for text in texts])

    def _code(self, text: str) -> int:
        code = self.index.get(text)
        if code is None:
            code = self.index[text] = len(self.names)
            self.names.append(text)
        return code

    def dump(self) -> dict[str, Any]:
        """As builtins; call `settle` before."""
        return {
            "names": self.names[len(RESERVED) :],
            "predicted": sorted(self.predicted),
            "labelled": sorted(self.labelled),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any], aliases: dict[str, str]) -> Self:
        """Goes on from `dump`."""
        table = cls(aliases)
        for name in dumped["names"]:
            table._code(name)
        table.predicted = dict.fromkeys(dumped["predicted"])
        table.labelled = set(dumped["labelled"])
        return table


def _spread(local: Ints, codes: Sequence[int]) -> Ints:
    """Local indices as codes, -1 staying -1."""
    spread: Ints = np.array([*codes, NONE], dtype=np.int64)[local]
    return spread
