"""The fast path: events as msgspec reads them, checked in C, taken only when beyond doubt.

Whatever these types refuse, or `take` is in doubt about, goes through `driftline.exact`, which
finds the reason and keeps what can be kept. So nothing here decides what is *wrong*; both paths
must agree on what is right (a property test holds them together).
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from driftline.events import Decoded, LabelEvent, PredictionEvent
from driftline.rules import (
    MAX_FEATURES,
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    MAX_TS_MS,
    MIN_TS_MS,
    is_name,
    iso_ms,
)

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Ms: TypeAlias = Annotated[int, Meta(ge=MIN_TS_MS, le=MAX_TS_MS)]
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Score: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Feature: TypeAlias = float | Text | bool | None
Value: TypeAlias = Int64 | float | Text | bool


class Row(Struct, gc=False, forbid_unknown_fields=True):
    """A prediction, a label or an outcome; null is absent."""

    prediction_id: Id | None = None
    model: str | None = None
    version: str | None = None
    ts: Ms | str | None = None
    features: dict[str, Feature] | None = None
    prediction: Value | None = None
    scores: dict[Text, Score] | Score | None = None
    segments: dict[Text, Text] | None = None
    attributions: dict[Text, float] | None = None
    latency_ms: float | None = None
    trace_id: str | None = None
    label: Value | None = None
    source: Text | None = None
    arrival: Ms | None = None
    invalid: dict[str, Count] | None = None


class Columns(Struct, gc=False, forbid_unknown_fields=True):
    """The columns of a columnar batch."""

    prediction_id: list[Id]
    ts: list[Ms | str | None] | None = None
    features: dict[str, list[Feature]] | None = None
    prediction: list[Value] | None = None
    scores: dict[Text, list[Score | None]] | list[Score | None] | None = None
    segments: dict[Text, list[Text | None]] | None = None
    attributions: dict[Text, list[float | None]] | None = None
    latency_ms: list[float | None] | None = None
    trace_id: list[str | None] | None = None
    label: list[Value | None] | None = None
    source: list[Text | None] | None = None
    arrival: list[Ms | None] | None = None


class Message(Row):
    """A whole message: one event, or a batch with what its rows share."""

    predictions: list[Row] | None = None
    labels: list[Row] | None = None
    columns: Columns | None = None
    client_dropped: Count = 0


message_decoder = msgspec.json.Decoder(Message)


class Shared(Struct, frozen=True):
    """What stands once beside the rows of a batch, already checked; of single events: nothing."""

    model: str | None = None
    version: str | None = None
    ts: int | None = None
    source: str | None = None
    arrival: int | None = None


NOTHING = Shared()


def take(out: Decoded, row: Row, index: int, shared: Shared, need: str | None = None) -> bool:
    """Add the row's prediction, label or both to `out`; False, and nothing added: in doubt.

    Args:
        out: what the message held so far.
        row: the row as msgspec read it.
        index: its place in the message.
        shared: what the row falls back on.
        need: the field that this list of rows asks for, `prediction` or `label`; None: either.
    """
    model = shared.model if row.model is None else row.model
    ts: int | str | None = shared.ts if row.ts is None else row.ts
    if isinstance(ts, str):
        ts = iso_ms(ts)
        if ts is None or ts < 0:
            return False
    if row.prediction_id is None or (model is not None and not is_name(model)):
        return False
    if need is not None and getattr(row, need) is None:
        return False
    if row.prediction is not None:
        event = _prediction(row, model, ts, shared)
        if event is None:
            return False
        out.predictions.append(event)
        out.prediction_index.append(index)
    elif row.label is None:
        return False
    if row.label is not None:
        out.labels.append(_label(row, model, ts, shared))
        out.label_index.append(index)
    if row.invalid:
        count_invalid(out, row.invalid)
    return True


def _prediction(
    row: Row, model: str | None, ts: int | None, shared: Shared
) -> PredictionEvent | None:
    """The prediction that the row states, None where that is in doubt."""
    version = shared.version if row.version is None else row.version
    features = row.features or {}
    if model is None or version is None or not is_name(version) or len(features) > MAX_FEATURES:
        return None
    scores = row.scores
    return PredictionEvent(
        row.prediction_id,  # type: ignore[arg-type]  # take() has looked
        model,
        version,
        ts,
        features,
        row.prediction,  # type: ignore[arg-type]  # likewise
        None if scores == {} else scores,
        row.segments or {},
        row.attributions or {},
        row.latency_ms,
        row.trace_id,
        shared.arrival if row.arrival is None else row.arrival,
    )


def _label(row: Row, model: str | None, ts: int | None, shared: Shared) -> LabelEvent:
    return LabelEvent(
        row.prediction_id,  # type: ignore[arg-type]  # take() has looked
        model,
        row.label,  # type: ignore[arg-type]  # likewise
        ts,
        shared.source if row.source is None else row.source,
        shared.arrival if row.arrival is None else row.arrival,
    )


def count_invalid(out: Decoded, counts: dict[str, int]) -> None:
    """Add the client's counts of NaN and infinities to those of the message."""
    for feature, count in counts.items():
        out.invalid[feature] = out.invalid.get(feature, 0) + count
