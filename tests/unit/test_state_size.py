"""How large a monitor's state gets: what has to be written whenever it is checkpointed."""

from __future__ import annotations

import msgspec
import numpy as np

from detectors import engine
from detectors.frame import Column, Frame, text_column
from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from driftline.subject import Subject

FEATURES, LEARNED, ROWS = 200, 1_000, 4_000
SPEC = MonitorSpec(model="wide", task="binary", positive="yes")
SUBJECT = Subject("wide", "1")
START, STEP, DELAY = 1_790_000_000_000, 1_000, 500
MIB = 1 << 20


def frames(rng: np.random.Generator, first: int, n: int) -> list[Frame]:
    """Predictions of 200 numeric features, with a score, and their labels."""
    ts = START + (first + np.arange(n, dtype=np.int64)) * STEP
    score = np.round(rng.random(n), 6)
    said = score > 0.5
    label = said != (rng.random(n) < 0.1)
    ids = np.zeros(n, "V16")
    ids[:] = [np.void((first + i).to_bytes(16, "big")) for i in range(n)]
    zeros = np.zeros(n, np.int64)
    common = {
        "id": Column(ids),
        "ts": Column(ts),
        "offset": Column(first + np.arange(n, dtype=np.int64)),
        "index": Column(zeros),
        "prediction": text_column(np.where(said, "yes", "no").tolist()),
        "s:yes": Column(score),
        "s:no": Column(1 - score),
    }
    values = {f"x:f{i:03}": Column(rng.standard_normal(n)) for i in range(FEATURES)}
    predictions = common | values | {"arrival": Column(ts), "source": Column(zeros)}
    outcomes = common | {
        "arrival": Column(ts + DELAY),
        "source": Column(zeros + (1 << 32)),
        "prediction_arrival": Column(ts),
        "label": text_column(np.where(label, "yes", "no").tolist()),
    }
    return [
        Frame(str(SUBJECT), kind, n, columns)
        for kind, columns in (("prediction", predictions), ("outcome", outcomes))
    ]


def test_200_features_cost_less_than_700_kilobytes_of_state_after_thousands_of_outcomes():
    rng = np.random.default_rng(1)
    profile = build(SUBJECT, frames(rng, 0, LEARNED), SPEC)
    state = engine.new(SUBJECT, SPEC, profile)
    for first in range(LEARNED, LEARNED + ROWS, 1_000):
        step = frames(rng, first, 1_000)
        state, _ = engine.step(state, step, int(step[0].ints("ts")[-1]) + STEP)
        state.take_windows()
    assert state.counters["joined"] == ROWS
    whole = engine.snapshot(state)
    fixed = msgspec.msgpack.encode(state.dump()["profile"])
    assert len(whole) - len(fixed) < 700_000 < MIB
    restored = engine.restore(whole, SPEC)
    assert engine.snapshot(restored) == whole
    assert restored.counters.get("cold_starts", 0) == 0
    step = frames(rng, LEARNED + ROWS, 500)
    clock = int(step[0].ints("ts")[-1]) + STEP
    on, _ = engine.step(state, step, clock)
    again, _ = engine.step(restored, step, clock)
    assert engine.snapshot(on) == engine.snapshot(again)
