"""Streams made from a seed, replayed as files are: what a monitor with defaults says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from detectors.spec import MonitorSpec
from driftline.alerts import Alert, WindowSummary
from driftline.rules import iso_ms
from streams.monitors.load import Monitors
from streams.offline.files import EventFile
from streams.offline.replay import Replay

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
    features: dict[str, Any]
    prediction: Any
    label: Any = None
    delay: np.ndarray | int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    version: Any = None
    arrival: np.ndarray | None = None
    latency: np.ndarray | None = None

    def predictions(self) -> Iterator[bytes]:
        """Batches of one version each, in the order of arrival."""
        arrival = self.ts if self.arrival is None else self.arrival
        versions = np.array(["1"] * len(self.ts) if self.version is None else self.version)
        order = np.argsort(arrival, kind="stable")
        edges = [0, *(np.flatnonzero(versions[order][1:] != versions[order][:-1]) + 1), len(order)]
        for begin, end in pairwise(edges):
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

    def known(self, kind: str, signal: str) -> int:
        """When the first alert of a signal was told, ms. Raises: ValueError, there was none."""
        of = [a for a in self.alerts if (a.kind, a.signal, a.reason) == (kind, signal, "opened")]
        if not of:
            raise ValueError(f"no {kind} of {signal}, only {self.opened()}")
        known = iso_ms(of[0].detected_at)
        assert known is not None
        return known


def times(
    rng: np.random.Generator,
    per_day: float,
    days: float,
    *,
    cycle: float = 0.0,
    weekend: float = 1.0,
) -> np.ndarray:
    """Poisson arrivals from a Monday on, ms.

    Args:
        rng: what they are drawn from.
        per_day: how many there are on average on a weekday.
        days: how long.
        cycle: amplitude of the daily cycle, as a share.
        weekend: share of traffic that is left at weekends.
    """
    minutes = np.arange(int(days * 1_440))
    rate = per_day / 1_440 * (1 + cycle * np.sin(2 * np.pi * minutes / 1_440))
    counts = rng.poisson(np.where(minutes // 1_440 % 7 >= 5, weekend * rate, rate))
    within = rng.integers(0, MINUTE_MS, counts.sum())
    return START_MS + np.sort(np.repeat(minutes, counts) * MINUTE_MS + within)


def classifier(rng: np.random.Generator, ts: np.ndarray, positive: float = 0.3) -> Stream:
    """A calibrated binary classifier with a number, a text and a flag; labels an hour later."""
    n = len(ts)
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-np.log(positive / (1 - positive)) - x))
    return Stream(
        ts,
        {
            "x": x,
            "country": rng.choice(["de", "fr", "us", "it"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "flag": rng.random(n) < 0.2,
        },
        np.where(p > 0.5, "yes", "no"),
        np.where(rng.random(n) < p, "yes", "no"),
        delay=HOUR_MS,
        scores={"yes": p, "no": 1 - p},
    )


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
