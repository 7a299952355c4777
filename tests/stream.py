"""A seeded stream with everything that goes wrong in life, for tests of the whole path.

Two models, one in two versions; duplicates, conflicting repeats, rows out of event-time order,
late labels, revisions, labels before their prediction, orphans, poison, and two real changes.
Every event carries `arrival`, which is also its record's timestamp, so `replay` of the written
files and a live run with `clock: records` must agree to the bit (architecture section 3, c).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

START_MS = 1_790_000_000_000
STEP_MS = 20_000
HORIZON_MS = 6 * 3_600_000


@dataclass
class Stream:
    """Events in arrival order; `poison` lies among the predictions at its arrival."""

    predictions: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    poison: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def last_arrival(self) -> int:
        return max(e["arrival"] for e in (*self.predictions, *self.labels))

    def until(self, arrival: int) -> Stream:
        """What arrives before."""
        return self._where(lambda at: at < arrival)

    def since(self, arrival: int) -> Stream:
        """What arrives then or later."""
        return self._where(lambda at: at >= arrival)

    def _where(self, wanted: Callable[[int], bool]) -> Stream:
        return Stream(
            [e for e in self.predictions if wanted(e["arrival"])],
            [e for e in self.labels if wanted(e["arrival"])],
            [(at, value) for at, value in self.poison if wanted(at)],
        )

    def sort(self) -> Stream:
        for events in (self.predictions, self.labels):
            events.sort(key=lambda e: e["arrival"])
        return self


def make_stream(n: int = 4_000, seed: int = 7, *, clean: bool = False) -> Stream:
    """`n` requests to `fraud` (version 1, and 2 in shadow) and n / 2 to `price`, a regression.

    Half way the labels of fraud@1 turn, and a feature of `price` breaks. `clean`: no faults.
    """
    rng = random.Random(seed)
    stream = Stream()
    for i in range(n):
        ts = START_MS + i * STEP_MS
        changed = i >= n // 2
        _fraud(stream, rng, i, ts, changed=changed, clean=clean)
        if i % 2 == 0:
            _price(stream, rng, i, ts + 7, changed)
        if not clean and rng.random() < 0.01:
            stream.poison.append((ts, rng.choice(POISON)))
    return stream.sort()


POISON = [
    b"not json",
    b"{}",
    b'{"prediction_id":"x","model":"fraud","version":1.1,"prediction":"a","features":{}}',
    b'{"prediction_id":"x","model":"fraud","version":"1","prediction":NaN,"features":{}}',
    b"\xff\xfe",
    b"[" * 5_000,
    b"",
]


def _fraud(
    stream: Stream, rng: random.Random, i: int, ts: int, *, changed: bool, clean: bool
) -> None:
    amount, age = rng.lognormvariate(3, 1), rng.gauss(40, 10)
    country = rng.choice(["DE", "FR", "US", None])
    score = min(1.0, max(0.0, 0.5 + (amount - 25) / 100 + rng.gauss(0, 0.05)))
    says = "fraud" if score > 0.5 else "legit"
    truth = (
        says
        if rng.random() > (0.4 if changed else 0.1)
        else ("legit" if says == "fraud" else "fraud")
    )
    arrival = ts + (rng.randrange(0, 300_000) if not clean and rng.random() < 0.05 else 0)
    base = {
        "prediction_id": f"f{i}", "model": "fraud", "ts": ts, "arrival": arrival,
        "features": {"amount": amount, "age": age, "country": country},
        "prediction": says, "scores": {"fraud": score, "legit": 1 - score},
    }  # fmt: skip
    stream.predictions.append({**base, "version": "1"})
    stream.predictions.append({**base, "version": "2", "prediction": "legit"})
    delay = rng.randrange(60_000, 3_600_000)
    label = {"prediction_id": f"f{i}", "label": truth, "ts": ts + delay, "arrival": ts + delay}
    if clean:
        stream.labels.append(label)
        return
    dice = rng.random()
    if dice < 0.03:
        stream.predictions.append({**base, "version": "1", "arrival": arrival + 90_000})
    elif dice < 0.05:
        stream.predictions.append(
            {**base, "version": "1", "prediction": "other", "arrival": arrival + 9_000}
        )
    elif dice < 0.08:
        label = {**label, "ts": ts - 5_000, "arrival": max(START_MS, ts - 5_000)}
    elif dice < 0.10:
        label = {**label, "arrival": ts + HORIZON_MS + 60_000}
    elif dice < 0.14:
        other = "legit" if truth == "fraud" else "fraud"
        later = label["ts"] + 1_800_000
        stream.labels.append({**label, "label": other, "ts": later, "arrival": later})
    elif dice < 0.16:
        stream.labels.append({**label, "arrival": label["arrival"] + 1_000})
    elif dice < 0.18:
        stream.labels.append({**label, "prediction_id": f"nobody{i}", "model": "fraud"})
    if dice < 0.9:
        stream.labels.append(label)


def _price(stream: Stream, rng: random.Random, i: int, ts: int, changed: bool) -> None:
    size, rooms = rng.uniform(20, 200), float(rng.randrange(1, 6))
    says = size * 3_000 + rooms * 1_000
    stream.predictions.append({
        "prediction_id": f"p{i}", "model": "price", "version": "a", "ts": ts, "arrival": ts,
        "features": {"size": size * (100 if changed else 1), "rooms": rooms},
        "prediction": says,
    })  # fmt: skip
    at = ts + 120_000
    stream.labels.append({
        "prediction_id": f"p{i}", "model": "price", "label": says + rng.gauss(0, 5_000),
        "ts": at, "arrival": at,
    })  # fmt: skip


def lines(events: list[dict[str, Any]]) -> bytes:
    """The events as JSON Lines."""
    return b"".join(orjson.dumps(event) + b"\n" for event in events)
