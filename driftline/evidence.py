"""The parts of an alert: what was measured, where, and what somebody would look at to believe it.

Numbers are finite or absent: what is not finite is dropped when the object is made, because JSON
cannot say it and a consumer must not have to guess.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr

MAX_EVIDENCE_IDS = 10


class DetectorRef(Struct, frozen=True):
    """Which detector spoke, and how it was set."""

    name: str
    params: dict[str, str | bool | int | float] = {}

    def __post_init__(self) -> None:
        """Drop parameters that JSON cannot say."""
        force_setattr(self, "params", finite_values(self.params))


class Statistic(Struct, frozen=True, omit_defaults=True):
    """The number that crossed, and what it is compared with. `interval`: 95 %, low and high."""

    name: str
    value: float | None = None
    threshold: float | None = None
    baseline: float | None = None
    effect_size: float | None = None
    sample_size: int | None = None
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Finite or absent."""
        for field in ("value", "threshold", "baseline", "effect_size"):
            number = getattr(self, field)
            if number is not None and not isfinite(number):
                force_setattr(self, field, None)
        if self.interval is not None and not all(map(isfinite, self.interval)):
            force_setattr(self, "interval", None)


class Span(Struct, frozen=True):
    """A stretch of event time, RFC 3339, `end` exclusive."""

    start: str
    end: str


class OffsetRange(Struct, frozen=True):
    """Where the evidence lies in Kafka, both ends inclusive."""

    topic: str
    partition: int
    first: int
    last: int


class Histogram(Struct, frozen=True):
    """Shares or counts per bin, of the reference and now; `edges` has one more than bins."""

    edges: list[float]
    reference: list[float]
    current: list[float]

    @property
    def finite(self) -> bool:
        """Whether every number can be written as JSON."""
        return all(map(isfinite, (*self.edges, *self.reference, *self.current)))


class Contributor(Struct, frozen=True):
    """A feature's share (0 to 1) of what moved, and which way it went: `up`, `down`, `changed`."""

    feature: str
    share: float
    direction: str


class Evidence(Struct, frozen=True):
    """What somebody would look at to believe the alert; a histogram with infinities is absent."""

    prediction_ids: list[str] = []
    offsets: list[OffsetRange] = []
    histogram: Histogram | None = None
    contributors: list[Contributor] = []

    def __post_init__(self) -> None:
        """Keep the limits of the contract."""
        if len(self.prediction_ids) > MAX_EVIDENCE_IDS:
            force_setattr(self, "prediction_ids", self.prediction_ids[:MAX_EVIDENCE_IDS])
        if self.histogram is not None and not self.histogram.finite:
            force_setattr(self, "histogram", None)
        if not all(isfinite(c.share) for c in self.contributors):
            kept = [c for c in self.contributors if isfinite(c.share)]
            force_setattr(self, "contributors", kept)


class Cause(Struct, frozen=True, omit_defaults=True):
    """A suspected cause: a stable code, a sentence, and how sure (0 to 1)."""

    code: str
    text: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Finite or absent."""
        if self.confidence is not None and not isfinite(self.confidence):
            force_setattr(self, "confidence", None)


class Counterpart(Struct, frozen=True, omit_defaults=True):
    """The same statistic of another version of the model, and what that says."""

    version: str
    value: float | None = None
    verdict: str = ""

    def __post_init__(self) -> None:
        """Finite or absent."""
        if self.value is not None and not isfinite(self.value):
            force_setattr(self, "value", None)


def finite_values(values: dict[str, Any]) -> dict[str, Any]:  # numbers, texts and booleans
    """The entries that JSON can say."""
    return {k: v for k, v in values.items() if not isinstance(v, float) or isfinite(v)}
