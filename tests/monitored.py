"""Rows of one subject as the core sees them: made from seeds, cut into frames any way one likes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from detectors import engine, policy
from detectors.frame import ID, Column, Frame, float_column, text_column
from detectors.spec import MonitorSpec
from driftline.alerts import Alert, WindowSummary
from driftline.subject import Subject

SUBJECT = Subject("m", "1")
START_MS = 1_700_000_000_000


@dataclass
class Row:
    """One prediction or outcome; `body` as in an event."""

    kind: str
    id: str
    ts: int
    arrival: int
    body: dict[str, Any]
    rank: int = 0
    offset: int = 0

    @property
    def key(self) -> tuple[Any, ...]:
        digest = blake2b(self.id.encode(), digest_size=16).digest()
        return (self.arrival, self.rank, self.ts, digest, 0, self.offset, 0)


def frames(rows: Sequence[Row]) -> list[Frame]:
    """Prediction and outcome frames of rows that are in key order."""
    kinds = ("prediction", "outcome")
    return [_frame(kind, part) for kind in kinds if (part := [r for r in rows if r.kind == kind])]


def _frame(kind: str, rows: list[Row]) -> Frame:
    digests = b"".join(blake2b(r.id.encode(), digest_size=16).digest() for r in rows)
    columns = {
        "id": Column(np.frombuffer(digests, ID)),
        "ts": _ints([r.ts for r in rows]),
        "arrival": _ints([r.arrival for r in rows]),
        "source": _ints([r.rank << 32 for r in rows]),
        "offset": _ints([r.offset for r in rows]),
        "index": _ints([0] * len(rows)),
    }
    for name in ("prediction", "label", "previous"):
        cells = [r.body.get(name) for r in rows]
        if any(isinstance(c, str) for c in cells):
            columns[name] = text_column([c if isinstance(c, str) else None for c in cells])
        if any(isinstance(c, int | float) for c in cells):
            columns[f"{name}_value"] = _floats(cells)
    for name in dict.fromkeys(n for r in rows for n in r.body.get("scores", {})):
        columns[f"s:{name}"] = _floats([r.body.get("scores", {}).get(name) for r in rows])
    if kind == "outcome":
        arrivals = [r.body["prediction_arrival"] for r in rows]
        columns["prediction_arrival"] = _ints(arrivals)
        columns["previous_arrival"] = _ints([r.body.get("previous_arrival", 0) for r in rows])
    for name in dict.fromkeys(n for r in rows for n in r.body.get("features", {})):
        columns |= _feature(name, [r.body.get("features", {}).get(name) for r in rows])
    return Frame(str(SUBJECT), kind, len(rows), columns)


def _feature(name: str, cells: list[Any]) -> dict[str, Column]:
    columns = {}
    if any(type(c) in (int, float) for c in cells):
        columns[f"x:{name}"] = _floats(cells)
    if any(type(c) is str for c in cells):
        columns[f"c:{name}"] = text_column([c if type(c) is str else None for c in cells])
    if any(type(c) is bool for c in cells):
        valid = np.array([type(c) is bool for c in cells])
        columns[f"b:{name}"] = Column(np.array([c is True for c in cells]), valid)
    if any(type(c) is list for c in cells):
        valid = np.array([type(c) is list for c in cells])
        columns[f"u:{name}"] = Column(np.full(len(cells), -1, dtype=np.int64), valid)
    return columns


def _floats(cells: list[Any]) -> Column:
    return float_column([c if type(c) in (int, float) else None for c in cells])


def _ints(values: list[int]) -> Column:
    return Column(np.array(values, dtype=np.int64))


@dataclass
class Run:
    """A monitor with everything that came out of it."""

    spec: MonitorSpec
    reference: Any = None
    state: Any = None
    findings: list[Any] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowSummary] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = engine.new(SUBJECT, self.spec, self.reference)

    def step(self, rows: Sequence[Row], clock: int) -> Run:
        self.state, findings = engine.step(self.state, frames(rows), clock)
        self.state.policy, alerts = policy.step(self.state.policy, findings)
        self.findings += findings
        self.alerts += alerts
        self.windows += self.state.take_windows()
        return self

    def restart(self) -> Run:
        self.state = engine.restore(engine.snapshot(self.state), self.spec)
        return self

    def result(self) -> dict[str, Any]:
        """Whatever anybody could see, comparable with that of another run."""
        return {
            "findings": self.findings,
            "alerts": self.alerts,
            "windows": self.windows,
            "counters": self.state.counters,
            "detections": self.state.detections,
            "statistics": self.state.statistics(),
            "values": self.state.values(),
            "recent": self.state.values("last_1000"),
            "profile": self.state.profile,
            "error": self.state.concept.reference,
            "new": self.state.roster.new,
        }


def classifier(seed: int, n: int = 6_000, *, hostile: bool = True) -> list[Row]:
    """A binary classifier whose error and one feature change and are repaired, in key order.

    `hostile`: late rows, revisions, unknown classes, missing and mistyped features, new features.
    """
    rng = random.Random(seed)
    rows: list[Row] = []
    for i in range(n):
        changed = 0.3 * n <= i < 0.5 * n
        ts = START_MS + i * 1_000 + rng.randrange(500)
        arrival = ts + (rng.randrange(40_000) if hostile and rng.random() < 0.1 else 5)
        score = round(rng.random(), 3)
        says = "yes" if score > 0.5 else "no"
        if hostile and i > 0.6 * n and rng.random() < 0.01:
            says = "maybe"
        features = _features(rng, changed, hostile)
        scores = {"yes": score, "no": 1 - score}
        body = {"features": features, "prediction": says, "scores": scores}
        rows.append(Row("prediction", f"p{i}", ts, arrival, body, offset=i))
        wrong = rng.random() < (0.45 if changed else 0.1)
        truth = {"yes": "no"}.get(says, "yes") if wrong else says
        if hostile and rng.random() < 0.02:
            truth = rng.choice(["maybe", "yes", "no"])
        rows += _outcomes(rng, rows[-1], truth, hostile)
    return sorted(rows, key=lambda row: row.key)


def regression(seed: int, n: int = 4_000) -> list[Row]:
    """A regression whose residuals grow and are repaired, in key order."""
    rng = random.Random(seed)
    rows: list[Row] = []
    for i in range(n):
        ts = START_MS + i * 1_000
        x = rng.gauss(0, 1)
        body = {"features": {"x": x, "flag": rng.random() < 0.5}, "prediction": 100 + 10 * x}
        rows.append(Row("prediction", f"p{i}", ts, ts + rng.randrange(3_000), body, offset=i))
        noise = rng.gauss(8 if 0.3 * n <= i < 0.5 * n else 0, 3)
        rows += _outcomes(rng, rows[-1], 100 + 10 * x + noise, hostile=True)
    return sorted(rows, key=lambda row: row.key)


def _features(rng: random.Random, changed: bool, hostile: bool) -> dict[str, Any]:
    features: dict[str, Any] = {
        "amount": rng.lognormvariate(2 if changed else 0, 1),
        "country": rng.choice(["DE", "FR", "FR", "US"]),
        "member": rng.random() < 0.3,
        "constant": 1,
    }
    if not hostile:
        return features
    if rng.random() < 0.1:
        features["amount"] = rng.choice([None, "12", 1e308, -1e308, True])
    if rng.random() < 0.05:
        features["country"] = rng.choice([None, 7.0, "XX", ["a"]])
    if rng.random() < 0.3:
        features[f"rare{rng.randrange(5)}"] = rng.random()
    if changed and rng.random() < 0.1:
        features[f"new{rng.randrange(30)}"] = 1.0
    return features


def _outcomes(rng: random.Random, of: Row, truth: Any, hostile: bool) -> list[Row]:
    said = of.arrival + rng.randrange(1, 60_000)
    body = {
        "prediction": of.body["prediction"],
        "scores": of.body.get("scores", {}),
        "prediction_arrival": of.arrival,
    }
    rows = [Row("outcome", of.id, of.ts, said, {**body, "label": truth}, rank=1)]
    if hostile and rng.random() < 0.1:
        again = truth + 1.0 if isinstance(truth, float) else rng.choice(["yes", "no"])
        late = said + rng.randrange(1, 200_000)
        revised = {**body, "label": again, "previous": truth}
        rows.append(Row("outcome", of.id, of.ts, late, revised, rank=1, offset=1))
    return rows
