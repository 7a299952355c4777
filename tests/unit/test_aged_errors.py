"""Labels whose delay depends on what they say: no drop where there is none, and a real one told."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from tests.monitored import START_MS, SUBJECT, Row, Run, frames

DAY = 86_400_000
A_DAY = 300
"""Predictions."""
SPEC = MonitorSpec(
    model="m", task="binary", positive="fraud", warmup=1_000, horizon_ms=15 * DAY, window_ms=DAY
)
"""After 15 days 80 % of the labels are there."""


@cache
def stream(worse_from: float | None = None, days: int = 48) -> list[Row]:
    """Frauds are known after a day in the mean, the rest after ten; of frauds a fifth is missed.

    The overall error is 4 %, that of the first day's labels 12 %. From `worse_from` on it doubles.
    """
    rng = random.Random(16)
    rows = []
    for i in range(days * A_DAY):
        ts = START_MS + i * DAY // A_DAY
        fraud = rng.random() < 0.1
        factor = 2.5 if worse_from is not None and i >= worse_from * A_DAY else 1
        wrong = rng.random() < (0.2 if fraud else 0.022) * factor
        said, truth = ("fraud" if fraud != wrong else "legit"), ("fraud" if fraud else "legit")
        rows.append(
            Row("prediction", f"p{i}", ts, ts, {"prediction": said, "features": {}}, offset=i)
        )
        known = {"prediction": said, "label": truth, "prediction_arrival": ts}
        delay = int(rng.expovariate(1 / (DAY if fraud else 10 * DAY)))
        if delay < SPEC.horizon_ms:
            rows.append(Row("outcome", f"p{i}", ts, ts + delay, known, rank=1))
    rows.sort(key=lambda row: row.key)
    return [row for row in rows if row.arrival < START_MS + days * DAY]


@cache
def matured():
    """A reference of rows with all their labels."""
    rng = random.Random(7)
    rows = []
    for i in range(4_000):
        ts = START_MS - (4_000 - i) * DAY // A_DAY
        fraud = rng.random() < 0.1
        wrong = rng.random() < (0.2 if fraud else 0.022)
        said, truth = ("fraud" if fraud != wrong else "legit"), ("fraud" if fraud else "legit")
        known = {"prediction": said, "label": truth, "prediction_arrival": ts}
        rows.append(
            Row("prediction", f"r{i}", ts, ts, {"prediction": said, "features": {}}, offset=i)
        )
        rows.append(Row("outcome", f"r{i}", ts, ts, known, rank=1))
    return build(SUBJECT, frames(rows), SPEC)


@cache
def whole(worse_from: float | None) -> Run:
    rows = stream(worse_from)
    return Run(SPEC, matured()).step(rows, rows[-1].arrival + 1)


def alerts(run: Run) -> list[tuple[str, str, str]]:
    return [(a.reason, a.signal, a.detector.name) for a in run.alerts if a.kind != "label_delay"]


def test_quick_labels_that_err_more_do_not_look_like_a_drop():
    assert alerts(whole(None)) == []


def test_a_real_drop_is_told_by_labels_of_equal_age():
    found = alerts(whole(36))
    assert any(name.startswith("srbinary_age_") for _, _, name in found)
    assert {signal for _, signal, _ in found} == {"error"}


def test_any_cut_and_any_restart_tells_the_same():
    rng, rows = random.Random(1), stream(36)
    run = Run(SPEC, matured())
    edges = sorted({0, len(rows), *(rng.randrange(len(rows)) for _ in range(3))})
    for begin, end in pairwise(edges):
        clock = rows[end].arrival if end < len(rows) else rows[-1].arrival + 1
        run.step(rows[begin:end], clock).restart()
    assert any(each.signal == "error" for each in run.findings)
    assert run.result() == whole(36).result()
