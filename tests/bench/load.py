"""What every engine is given: the same events, as bytes in arrival order.

A prediction is about 650 bytes of JSON: 20 numeric and 3 categorical features, two scores, an id
like a UUID; one numeric value in a thousand is missing. Its label follows LAG predictions later and
agrees nine times in ten. Events are predictions and labels. Nothing drifts unless a caller says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

START_MS = 1_790_000_000_000
LAG = 100
BATCH_ROWS = 1_000
PREDICTIONS, LABELS = 0, 1
MISSING = 0.001
KINDS = ("red", "green", "blue", "white", "black")


class Record(NamedTuple):
    """A message to be: `rows` events of `topic`, with the record timestamp `ts`."""

    topic: int
    key: bytes
    value: bytes
    ts: int
    rows: int


@dataclass(frozen=True)
class Shape:
    """What the events look like."""

    features: int = 20
    models: int = 4
    step_ms: int = 10
    """Event time between two predictions."""
    dated: bool = True
    """Whether events say their time; else it is that of their record."""
    named: bool = False
    """Whether labels name their model; one that does not is kept for models with any horizon."""

    @property
    def names(self) -> list[str]:
        """The models."""
        return [f"model-{i}" for i in range(self.models)]


@dataclass(frozen=True)
class Event:
    """A prediction and, apart, its label."""

    prediction: dict[str, Any]
    label: str


def events(shape: Shape, n: int, first: int = 0) -> Iterator[Event]:
    """n predictions from number `first` on, models in turn; a function of its arguments."""
    rng = np.random.default_rng([shape.features, shape.models, first])
    numeric = [f"feature_{i:02}" for i in range(shape.features)]
    names = shape.names
    for begin in range(first, first + n, 10_000):
        m = min(10_000, first + n - begin)
        values = np.round(rng.standard_normal((m, shape.features)), 5).astype(object)
        values[rng.random(values.shape) < MISSING] = None
        rows = values.tolist()
        kinds = rng.integers(0, len(KINDS), (m, 3)).tolist()
        scores = np.round(rng.random(m), 6).tolist()
        wrong = (rng.random(m) < 0.1).tolist()
        for i in range(m):
            number, score = begin + i, scores[i]
            features: dict[str, Any] = dict(zip(numeric, rows[i], strict=True))
            for at, kind in enumerate(kinds[i]):
                features[f"category_{at}"] = KINDS[kind]
            says = score > 0.5
            prediction = {
                "prediction_id": f"0192f8a2-7c1e-7e0a-9a4a-{number:012x}",
                "model": names[number % shape.models],
                "version": "1",
                "ts": START_MS + number * shape.step_ms,
                "features": features,
                "prediction": "yes" if says else "no",
                "scores": {"yes": score, "no": round(1 - score, 6)},
            }
            yield Event(prediction, "yes" if says != wrong[i] else "no")


def single(shape: Shape, n: int, first: int = 0) -> list[Record]:
    """One message an event: n predictions and their n labels, interleaved."""
    out: list[Record] = []
    waiting: list[Event] = []
    now = START_MS
    for event in events(shape, n, first):
        now = event.prediction["ts"]
        out.append(prediction_record(event, dated=shape.dated))
        waiting.append(event)
        if len(waiting) > LAG:
            out.append(_label_of(waiting.pop(0), now, shape))
    return out + [_label_of(event, now, shape) for event in waiting]


def _label_of(event: Event, now: int, shape: Shape) -> Record:
    model = event.prediction["model"] if shape.named else ""
    return label_record(event, now, dated=shape.dated, model=model)


def prediction_record(event: Event, *, dated: bool = True) -> Record:
    """A prediction as a message of its own."""
    body, ts = event.prediction, event.prediction["ts"]
    value = orjson.dumps(body if dated else {k: v for k, v in body.items() if k != "ts"})
    return Record(PREDICTIONS, body["prediction_id"].encode(), value, ts, 1)


def label_record(event: Event, ts: int = 0, *, dated: bool = True, model: str = "") -> Record:
    """A label, known at `ts`, as a message of its own."""
    body = {"prediction_id": event.prediction["prediction_id"], "label": event.label}
    if model:
        body["model"] = model
    value = orjson.dumps({**body, "ts": ts} if dated else body)
    return Record(LABELS, body["prediction_id"].encode(), value, ts, 1)


def columnar(shape: Shape, n: int, first: int = 0) -> list[Record]:
    """The same events as columns, BATCH_ROWS of one model a message; labels after each round."""
    out: list[Record] = []
    held: dict[str, list[Event]] = {name: [] for name in shape.names}
    for event in events(shape, n, first):
        held[event.prediction["model"]].append(event)
        if all(len(rows) == BATCH_ROWS for rows in held.values()):
            out += _round(held)
            held = {name: [] for name in shape.names}
    return out + _round(held)


def _round(held: dict[str, list[Event]]) -> list[Record]:
    full = {name: rows for name, rows in held.items() if rows}
    predictions = [_prediction_columns(name, rows) for name, rows in full.items()]
    last = max((record.ts for record in predictions), default=0)
    return predictions + [_label_columns(name, rows, last) for name, rows in full.items()]


def _prediction_columns(model: str, rows: Sequence[Event]) -> Record:
    all_of = [row.prediction for row in rows]
    columns = {
        "prediction_id": [p["prediction_id"] for p in all_of],
        "ts": [p["ts"] for p in all_of],
        "features": {k: [p["features"][k] for p in all_of] for k in all_of[0]["features"]},
        "prediction": [p["prediction"] for p in all_of],
        "scores": {k: [p["scores"][k] for p in all_of] for k in ("yes", "no")},
    }
    value = orjson.dumps({"model": model, "version": "1", "columns": columns})
    key = all_of[0]["prediction_id"].encode()
    return Record(PREDICTIONS, key, value, all_of[-1]["ts"], len(rows))


def _label_columns(model: str, rows: Sequence[Event], ts: int) -> Record:
    ids = [row.prediction["prediction_id"] for row in rows]
    columns = {"prediction_id": ids, "label": [r.label for r in rows], "ts": [ts] * len(rows)}
    value = orjson.dumps({"model": model, "columns": columns})
    return Record(LABELS, ids[0].encode(), value, ts, len(rows))


def rows_of(records: Sequence[Record]) -> int:
    """Events in these messages."""
    return sum(record.rows for record in records)


def warm_part(records: Sequence[Record], events: int) -> int:
    """How many messages from the start hold at least so many events."""
    seen = 0
    for at, record in enumerate(records):
        seen += record.rows
        if seen >= events:
            return at + 1
    return len(records)
