"""What serving code and labelling jobs say: predictions and labels, as decoded from the wire.

`driftline.codec` turns bytes into a `Decoded` and back. Times are ms since the epoch. Texts that
are compared (classes, segments) are at most 256 characters long, see `driftline.rules.bounded`.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from driftline.rules import Reason

Output: TypeAlias = str | bool | int | float
"""A prediction or a label: a class or a number, as the sender wrote it."""
FeatureValue: TypeAlias = float | str | bool | None
"""A feature's value; integers are read as float64, None is *missing*."""


# gc=False: these hold no cycles, and millions of them would keep the collector busy for nothing.
class PredictionEvent(Struct, gc=False, omit_defaults=True):
    """One output of one version of one model, with what it was computed from.

    A feature that the contract cannot watch is in `unsupported`, not in `features`: its value is
    the length of an over-long string, -1 for an array, an object.
    """

    prediction_id: str
    model: str
    version: str
    ts: int | None = None
    """Event time; None: the record's timestamp."""
    features: dict[str, FeatureValue] = {}
    prediction: Output = ""
    scores: dict[str, float] | float | None = None
    """Class to probability, or the probability of the positive class; in [0, 1]."""
    segments: dict[str, str] = {}
    attributions: dict[str, float] = {}
    latency_ms: float | None = None
    trace_id: str | None = None
    arrival: int | None = None
    """When an exported event arrived; replay goes by it, ingest ignores it."""
    unsupported: dict[str, int] = {}


class PredictionColumns(Struct, gc=False):
    """`n` predictions of one subject as columns: lists of n values, None where missing.

    `index` is each row's place in the batch as it was sent. `unsupported` is feature -> position in
    these columns -> length (-1: array or object); `features` has None there.
    """

    model: str
    version: str
    n: int
    prediction_id: list[str]
    ts: list[int | None]
    features: dict[str, list[FeatureValue]]
    prediction: list[Output]
    scores: dict[str, list[float | None]] | list[float | None] | None = None
    segments: dict[str, list[str | None]] = {}
    attributions: dict[str, list[float | None]] = {}
    latency_ms: list[float | None] | None = None
    trace_id: list[str | None] | None = None
    arrival: list[int | None] | None = None
    index: list[int] = []
    unsupported: dict[str, dict[int, int]] = {}


class LabelEvent(Struct, gc=False, omit_defaults=True):
    """The ground truth for one prediction id; `model` None: of every model that has the id."""

    prediction_id: str
    model: str | None = None
    label: Output = ""
    ts: int | None = None
    source: str | None = None
    arrival: int | None = None


class Reject(Struct, gc=False, frozen=True):
    """What became a dead letter: a row of a batch (`index`), or the whole message (None)."""

    reason: Reason
    detail: str
    index: int | None = None


class Decoded(Struct, gc=False):
    """What one message held, bad rows removed and listed in `rejects`.

    An outcome is in both lists, its prediction and its label under the same index. Indices count
    rows of the message as sent; where `predictions` and `labels` stand side by side, labels come
    second.
    """

    predictions: list[PredictionEvent] = []
    prediction_index: list[int] = []
    columns: list[PredictionColumns] = []
    labels: list[LabelEvent] = []
    label_index: list[int] = []
    rejects: list[Reject] = []
    unknown_fields: int = 0
    """Fields the contract does not know, kept out."""
    dropped_features: int = 0
    """Feature values beyond the first 500 names of their event."""
    client_dropped: int = 0
    """Rows the client says it had to drop before this message."""
    invalid: dict[str, int] = {}
    """Feature to how many of its values the client turned from NaN or infinity into null."""
