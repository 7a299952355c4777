"""The rows behind an alert, read again where they came from: topics or files. No state is asked.

Alerts carry no offsets: they would differ between a live run and a replay of the same rows. So the
rows are found by what an alert does say: model version, segment, the span it is about, and when it
was known.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from driftline.alerts import Alert
from driftline.codec import decode
from driftline.events import Decoded, FeatureValue, Output, PredictionEvent
from driftline.rules import MAX_AHEAD_MS, iso_ms
from streams.kafka.records import Record

FEATURE = "feature:"
"""Before the name of a feature, as a signal's name."""

Value: TypeAlias = FeatureValue | Output


@dataclass(slots=True)
class Row:
    """One prediction that the alert is about; `value`: of the alert's signal, None: it has none."""

    prediction_id: str
    ts: int
    arrival: int
    topic: str
    partition: int
    offset: int
    value: Value = None
    prediction: Output = ""
    label: Output | None = None


@dataclass(slots=True)
class Found:
    """The rows that tell most, and where all of them lie."""

    matched: int = 0
    rows: list[Row] = field(default_factory=list)
    offsets: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """(topic, partition) -> first and last offset, inclusive."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows an alert is about. Times in ms; `end` is exclusive, `known` inclusive."""

    alert: Alert
    start: int
    end: int
    known: int

    @classmethod
    def of(cls, alert: Alert) -> Scope:
        """From the window; without one, from the change point to when it was known."""
        known = iso_ms(alert.detected_at) or 0
        start, end = iso_ms(alert.change_point or alert.started_at) or 0, known + 1
        if alert.window is not None:
            start = min(start, iso_ms(alert.window.start) or 0)
            end = iso_ms(alert.window.end) or known + 1
        return cls(alert, start, end, known)

    @property
    def read_from(self) -> int:
        """Arrival of the first row that can be one of them: a row may be dated a little ahead."""
        return max(0, self.start - MAX_AHEAD_MS)

    def holds(self, event: PredictionEvent, ts: int, arrival: int) -> bool:
        """Whether the alert is about this row."""
        if (event.model, event.version) != (self.alert.model, self.alert.version):
            return False
        if not self.start <= ts < self.end or arrival > self.known:
            return False
        cells = {**event.features, **event.segments}
        segment = self.alert.segment or {}
        return all(str(cells.get(name)) == text for name, text in segment.items())


def predictions(decoded: Decoded) -> Iterator[PredictionEvent]:
    """Every prediction of a message, those of a batch of columns too."""
    yield from decoded.predictions
    for batch in decoded.columns:
        arrivals = batch.arrival or [None] * batch.n
        for i in range(batch.n):
            segments = {n: text for n, v in batch.segments.items() if (text := v[i]) is not None}
            yield PredictionEvent(
                prediction_id=batch.prediction_id[i],
                model=batch.model,
                version=batch.version,
                ts=batch.ts[i],
                features={name: values[i] for name, values in batch.features.items()},
                prediction=batch.prediction[i],
                segments=segments,
                arrival=arrivals[i],
            )


def find(alert: Alert, records: Iterable[Record], limit: int) -> Found:
    """The rows of an alert among these records of predictions.

    Args:
        alert: what is to be believed.
        records: in any order; a record's timestamp is its arrival unless the row says another.
        limit: most rows to keep: those in the bins that grew most, the earliest first.
    """
    scope, growth, found = Scope.of(alert), Growth(alert), Found()
    kept: list[tuple[tuple[float, int, int, int], Row]] = []
    for record in records:
        for event in predictions(decode(record.value or b"")):
            arrival = record.timestamp_ms if event.arrival is None else event.arrival
            ts = arrival if event.ts is None else event.ts
            if not scope.holds(event, ts, arrival):
                continue
            found.matched += 1
            place = (record.topic, record.partition)
            first, last = found.offsets.get(place, (record.offset, record.offset))
            found.offsets[place] = min(first, record.offset), max(last, record.offset)
            value = value_of(alert.signal, event)
            row = Row(
                event.prediction_id, ts, arrival, *place, record.offset, value, event.prediction
            )
            rank = (growth.of(value), -ts, -record.offset, -found.matched)
            if len(kept) < limit:
                heapq.heappush(kept, (rank, row))
            elif limit:
                heapq.heappushpop(kept, (rank, row))
    found.rows = [row for _, row in sorted(kept, key=lambda item: item[0], reverse=True)]
    return found


def add_labels(alert: Alert, found: Found, records: Iterable[Record]) -> None:
    """Gives each kept row the label that held when the alert was known."""
    known = iso_ms(alert.detected_at) or 0
    rows = {row.prediction_id: row for row in found.rows}
    for record in records:
        for label in decode(record.value or b"").labels:
            arrival = record.timestamp_ms if label.arrival is None else label.arrival
            row = rows.get(label.prediction_id)
            if row is not None and arrival <= known and label.model in (None, alert.model):
                row.label = label.label


def value_of(signal: str, event: PredictionEvent) -> Value:
    """What a prediction says of a signal; None: nothing, or it is not known from one row."""
    if signal.startswith(FEATURE):
        return event.features.get(signal.removeprefix(FEATURE))
    if signal == "prediction":
        return event.prediction
    if signal == "latency_ms":
        return event.latency_ms
    return event.features.get(signal)


class Growth:
    """By how much the share of a value's bin grew, by the alert's histogram."""

    def __init__(self, alert: Alert) -> None:
        shown = alert.evidence.histogram
        self._edges = [] if shown is None else list(shown.edges)
        self._grown: list[float] = []
        if shown is not None:
            before, now = sum(shown.reference) or 1.0, sum(shown.current) or 1.0
            pairs = zip(shown.reference, shown.current, strict=False)
            self._grown = [b / now - a / before for a, b in pairs]

    def of(self, value: Value) -> float:
        """The growth in [-1, 1] of the bin; -1 for what lies in none."""
        if isinstance(value, str) or value is None or not self._grown:
            return -1.0
        at = bisect_right(self._edges, float(value)) - 1
        return self._grown[min(max(at, 0), len(self._grown) - 1)]
