"""What labels say: their mix against the reference's, and which way predictions miss them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from tests.monitored import START_MS, SUBJECT, Row, Run, frames

SECOND = 1_000
SPEC = MonitorSpec(model="m", task="multiclass", warmup=1_000, horizon_ms=60 * SECOND)
NUMBERS = MonitorSpec(model="m", task="regression", warmup=1_000, horizon_ms=60 * SECOND)


def rows(truth, said, n: int = 6_000, seed: int = 1) -> list[Row]:
    """Predictions a second apart; `truth(rng, i)`, `said(rng, truth)`."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        ts = START_MS + i * SECOND
        label = truth(rng, i)
        body = {"prediction": said(rng, label), "features": {}}
        found.append(Row("prediction", f"p{i}", ts, ts, body, offset=i))
        known = {"prediction": body["prediction"], "label": label, "prediction_arrival": ts}
        found.append(Row("outcome", f"p{i}", ts, ts + rng.randrange(SECOND), known, rank=1))
    return sorted(found, key=lambda row: row.key)


def classes(changed: bool) -> list[Row]:
    """From the 4,000th on `c` is twice as frequent, and is missed as often as before."""

    def truth(rng: random.Random, i: int) -> str:
        return rng.choice("aaabbbcc" if not changed or i < 4_000 else "aabbcccc")

    return rows(truth, lambda rng, label: label if rng.random() < 0.9 else rng.choice("abc"))


def biased(shift: float, spread: float) -> list[Row]:
    """From the 4,000th on predictions are off by N(shift, spread), and by N(0, 3) before."""
    state = {"i": 0}

    def truth(rng: random.Random, i: int) -> float:
        state["i"] = i
        return rng.gauss(100, 10)

    def said(rng: random.Random, label: float) -> float:
        late = state["i"] >= 4_000
        return label + rng.gauss(shift if late else 0, spread if late else 3)

    return rows(truth, said)


def run(stream: Sequence[Row], spec: MonitorSpec, *, pinned: bool) -> Run:
    reference = None
    if pinned:
        reference = build(SUBJECT, frames(stream[:3_000]), spec)
        stream = stream[3_000:]
    return Run(spec, reference).step(stream, stream[-1].arrival + 1)


def opened(found: Run) -> set[tuple[str, str]]:
    return {(a.kind, a.signal) for a in found.alerts if a.reason == "opened"}


@pytest.mark.parametrize("pinned", [True, False])
def test_another_mix_of_labels_is_label_drift(pinned):
    found = run(classes(True), SPEC, pinned=pinned)
    assert ("label_drift", "label") in opened(found)
    (alert,) = [a for a in found.alerts if a.kind == "label_drift" and a.reason == "opened"]
    assert alert.summary.startswith("label: ")
    assert "of values c" in alert.summary
    assert ("concept_drift", "error") not in opened(found)


@pytest.mark.parametrize("pinned", [True, False])
def test_the_same_mix_is_silent(pinned):
    assert opened(run(classes(False), SPEC, pinned=pinned)) == set()


@pytest.mark.parametrize("pinned", [True, False])
def test_a_bias_that_the_size_of_errors_hides_is_told(pinned):
    """The mean absolute error is 2.4 before, and 2.4 after."""
    found = run(biased(2.3, 0.8), NUMBERS, pinned=pinned)
    assert ("performance", "residual") in opened(found)
    assert ("performance", "error") not in opened(found)
    (alert,) = [a for a in found.alerts if a.signal == "residual" and a.reason == "opened"]
    assert "above" in alert.summary


def test_residuals_as_they_were_are_silent():
    assert opened(run(biased(0, 3), NUMBERS, pinned=True)) == set()


def test_numeric_labels_that_shift_are_label_drift():
    stream = rows(
        lambda rng, i: rng.gauss(100 if i < 4_000 else 110, 10),
        lambda rng, label: label + rng.gauss(0, 3),
    )
    assert ("label_drift", "label") in opened(run(stream, NUMBERS, pinned=False))


STREAMS = {"classes": (SPEC, classes(True)), "numbers": (NUMBERS, biased(2.3, 0.8))}


@pytest.mark.parametrize("name", sorted(STREAMS))
@given(cuts=st.sets(st.integers(0, 12_000), max_size=6), restarts=st.booleans())
@settings(max_examples=2, deadline=None)
def test_any_cut_and_any_restart_tells_the_same(name, cuts, restarts):
    spec, stream = STREAMS[name]
    whole = run(stream, spec, pinned=False)
    part = Run(spec)
    edges = [0, *sorted(cuts), len(stream)]
    for begin, stop in itertools.pairwise(edges):
        clock = stream[stop].arrival if stop < len(stream) else stream[-1].arrival + 1
        part.step(stream[begin:stop], clock)
        if restarts:
            part.restart()
    assert part.result() == whole.result()
