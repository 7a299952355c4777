"""What a detector and a metric are. The registry lists those that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST = 1e100
"""Beyond it a square is near the end of float64; no signal of a real model is there."""


def finite(values: Floats) -> NDArray[np.bool_]:
    """Which values a detector may see: neither NaN, infinite nor so large that squares overflow.

    River takes a NaN without a word and then never detects anything again.
    """
    usable: NDArray[np.bool_] = np.abs(values) <= LARGEST  # False for NaN
    return usable


@dataclass(frozen=True, slots=True)
class Change:
    """A detector says that its signal changed.

    `index`: position, in the column given to `update`, of the value at which it said so.
    `width`: values the detector still held afterwards; 0 where it holds none.
    """

    index: int
    width: int = 0


Takes: TypeAlias = Literal["ranks", "shape", "standardised", "errors"]
"""What a detector wants.

`ranks`: values in [0, 1], of which it watches the mean; `shape`: the same, but it watches their
whole distribution; `standardised`: values that it takes a `center` and a `scale` for; `errors`:
0 right, 1 wrong.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a monitor may set of a detector: a flag, a word or a number, whole as its default is.

    `least`, `most`: the range of a number; `inside`: without its ends. `words`: of a word.
    """

    default: str | bool | int | float
    least: float = 0.0
    most: float = inf
    inside: bool = False
    words: tuple[str, ...] = ()


SHARE: Callable[[float], Setting] = partial(Setting, most=1.0, inside=True)
"""A setting between 0 and 1, both excluded."""


class Detector(Protocol):
    """A sequential test of one signal. Deterministic; how values are batched changes nothing.

    Attributes:
        takes: what it is fed with.
        settings: by the names of its arguments.
        quiet: alarms per million values at its defaults where nothing changes, the most measured
            of uniform ranks and of error rates of 5 and 20 % (docs/detection.md).
    """

    name: ClassVar[str]
    takes: ClassVar[Takes]
    settings: ClassVar[Mapping[str, Setting]]
    quiet: ClassVar[float]
    cold: bool
    """True where `load` could not continue the dumped state and began anew."""

    def __init__(self, **settings: Any) -> None:  # Any: as `settings` says
        """A fresh one. Raises: ValueError where settings do not fit together."""
        ...

    def update(self, values: Floats) -> list[Change]:
        """Takes the next values, shape (n,), and returns where it detected a change, in order.

        Values that are not `finite` are skipped; the detector starts afresh after each change.
        """
        ...

    @property
    def statistic(self) -> float:
        """The detector's own statistic after the last value, for display; finite."""
        ...

    @property
    def params(self) -> dict[str, str | bool | int | float]:
        """How it was set, as alerts quote it."""
        ...

    def dump(self) -> dict[str, Any]:  # Any: msgpack-able builtins
        """The whole state; `load` of it continues bit by bit the same."""
        ...

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:  # Any: what dump returned
        """A detector that goes on where the dumped one stood."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value, or why there is none. Undefined is never 0."""

    value: float | None
    reason: str = ""


Tally_contra = TypeVar("Tally_contra", contravariant=True)


class Measure(Protocol[Tally_contra]):
    """Computes one metric from counts or sums."""

    def __call__(self, tally: Tally_contra, /) -> Value:
        """The metric's value, or the reason it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Metric(Generic[Tally_contra]):
    """A named metric: its tasks, and how it follows from what a window or a stretch added up."""

    name: str
    tasks: tuple[str, ...]
    measure: Measure[Tally_contra]
    of: Literal["matrix", "scores", "deviations"] = "matrix"
    """What it is computed from: a `ConfusionView`, a `ScoreTally` or `Deviations`."""
