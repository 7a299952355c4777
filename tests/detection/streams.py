"""Streams made from a seed, replayed as files are: what a monitor with defaults says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detectors.spec import MonitorSpec
from driftline.alerts import Alert, WindowSummary
from streams.files import EventFile
from streams.monitors import Monitors
from streams.replay import Replay

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_772_409_600_000
"""2026-03-02, a Monday."""
_BATCH = 500


@dataclass
class Stream:
    """Predictions of one model, row by row, and their labels; every column has n entries.

    Attributes:
        ts: event times, ms, as they were sent.
        features: name to values; None is missing.
        prediction: classes or numbers.
        label: the truth; None: there are no labels.
        delay: ms from prediction to label.
        scores: class to score.
        version: of the model.
        arrival: ms; None: as `ts`.
        latency: ms.
    """

    ts: np.ndarray
    features: Mapping[str, Sequence[Any]]
    prediction: Sequence[Any]
    label: Sequence[Any] | None = None
    delay: np.ndarray | int = 0
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    version: Sequence[str] | None = None
    arrival: np.ndarray | None = None
    latency: np.ndarray | None = None

    def predictions(self) -> Iterator[bytes]:
        """Batches of one version each, in the order of arrival."""
        arrival = self.ts if self.arrival is None else self.arrival
        versions = np.array(self.version or ["1"] * len(self.ts))
        order = np.argsort(arrival, kind="stable")
        edges = [0, *(np.flatnonzero(versions[order][1:] != versions[order][:-1]) + 1), len(order)]
        for begin, end in zip(edges, edges[1:], strict=False):
            for at in range(begin, end, _BATCH):
                rows = order[at : min(at + _BATCH, end)]
                yield self._batch(rows, arrival, str(versions[rows[0]]))

    def _batch(self, rows: np.ndarray, arrival: np.ndarray, version: str) -> bytes:
        columns: dict[str, Any] = {
            "prediction_id": [f"p{row}" for row in rows],
            "ts": self.ts[rows].tolist(),
            "arrival": arrival[rows].tolist(),
            "features": {name: _some(values, rows) for name, values in self.features.items()},
            "prediction": _some(self.prediction, rows),
        }
        if self.scores:
            columns["scores"] = {name: _some(values, rows) for name, values in self.scores.items()}
        if self.latency is not None:
            columns["latency_ms"] = _some(self.latency, rows)
        return msgspec.json.encode({"model": "m", "version": version, "columns": columns})

    def labels(self) -> Iterator[bytes]:
        """Batches in the order in which labels come."""
        if self.label is None:
            return
        said = (self.ts if self.arrival is None else self.arrival) + self.delay
        order = np.argsort(said, kind="stable")
        for at in range(0, len(order), _BATCH):
            rows = order[at : at + _BATCH]
            columns = {
                "prediction_id": [f"p{row}" for row in rows],
                "label": _some(self.label, rows),
                "ts": said[rows].tolist(),
            }
            yield msgspec.json.encode({"columns": columns})


def _some(values: Sequence[Any], rows: np.ndarray) -> list[Any]:
    if isinstance(values, np.ndarray):
        chosen: list[Any] = values[rows].tolist()
        return chosen
    return [values[row] for row in rows]


@dataclass
class Heard:
    """What came of a stream."""

    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowSummary] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def window(self, window: WindowSummary) -> None:
        self.windows.append(window)

    def opened(self) -> list[tuple[str, str, str]]:
        """(kind, signal, summary) of each opening."""
        return [(a.kind, a.signal, a.summary) for a in self.alerts if a.reason == "opened"]


def heard(stream: Stream, folder: Any, **settings: Any) -> Heard:
    """Replays a stream with default settings but those given."""
    files = []
    for kind, events in (("predictions", stream.predictions()), ("labels", stream.labels())):
        path = folder / f"{kind}.jsonl"
        path.write_bytes(b"\n".join(events))
        role = "labels" if kind == "labels" else "predictions"
        files.append(EventFile(path, role=role))
    labels = files[1:] if stream.label is not None else []
    out = Heard()
    run = Replay(files[:1], labels, Monitors({"m": MonitorSpec(model="m", **settings)}), out)
    run.run()
    out.rejected = dict(run.counts.rejected)
    return out
