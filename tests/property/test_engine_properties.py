"""The core's promise: cuts, clocks and restarts change nothing; no input crashes a step."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from detectors.reference_builder import build
from detectors.spec import MonitorSpec, Threshold
from tests.monitored import START_MS, SUBJECT, Row, Run, classifier, frames, regression

SPEC = MonitorSpec(
    model="m",
    warmup=200,
    window_ms=30_000,
    lateness_ms=10_000,
    horizon_ms=300_000,
    thresholds=(
        Threshold(metric="accuracy", below=0.7, min_samples=15, for_windows=2, clear=0.8),
        Threshold(metric="mae", above=0.5, relative="reference", min_samples=15),
        Threshold(metric="missing_rate:amount", above=0.1, min_samples=20),
        Threshold(metric="recall", below=0.3, relative="reference", min_samples=15),
    ),
)
BANKED = replace(SPEC, warmup=800)
"""With a reference that is large enough for the bank, and streams long enough for its recovery."""
STREAMS = {
    "classifier": classifier,
    "regression": regression,
    "banked classifier": partial(classifier, n=16_000),
    "banked regression": partial(regression, n=15_000),
}


@cache
def stream_of(stream: str, seed: int) -> list[Row]:
    return STREAMS[stream](seed)


@cache
def whole(stream: str, seed: int, pinned: bool) -> Run:
    """All rows in one step."""
    run = Run(spec_of(stream), reference(stream) if pinned else None)
    return run.step(stream_of(stream, seed), end(stream, seed))


def spec_of(stream: str) -> MonitorSpec:
    return BANKED if stream.startswith("banked") else SPEC


@cache
def reference(stream: str):
    spec = spec_of(stream)
    return build(SUBJECT, frames(stream_of(stream, 99)[: 3 * spec.warmup]), spec)


def end(stream: str, seed: int) -> int:
    return stream_of(stream, seed)[-1].arrival + 10**9


@pytest.mark.parametrize("pinned", [False, True], ids=["warm-up", "pinned"])
@pytest.mark.parametrize("stream", sorted(STREAMS))
@given(data=st.data())
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking whole streams takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_cut_any_clock_and_any_restart_give_the_same(stream: str, pinned: bool, data) -> None:
    seed = data.draw(st.integers(1, 2), label="seed")
    rows = stream_of(stream, seed)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=12), label="cuts"))
    run = Run(spec_of(stream), reference(stream) if pinned else None)
    for begin, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        upto = rows[stop].arrival if stop < len(rows) else end(stream, seed)
        since = rows[stop - 1].arrival if stop else 0
        earliest = data.draw(st.integers(min(since, upto), upto), label="clock")
        run.step(rows[begin:stop], earliest)
        if data.draw(st.booleans(), label="restart"):
            run.restart()
        if data.draw(st.booleans(), label="clock alone"):
            run.step([], upto)
    run.step([], end(stream, seed))
    expected = whole(stream, seed, pinned).result()
    for part, value in run.result().items():
        assert value == expected[part], part


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_one_row_at_a_time_gives_the_same(stream: str) -> None:
    rows = stream_of(stream, 1)[:2_000]
    spec = spec_of(stream)
    run = Run(spec)
    for row in rows:
        run.step([row], row.arrival)
    run.step([], end(stream, 1))
    assert run.result() == Run(spec).step(rows, end(stream, 1)).result()


def test_the_streams_say_something() -> None:
    """Otherwise the equalities above would be between nothings."""
    for stream in STREAMS:
        run = whole(stream, 1, False)
        assert {alert.reason for alert in run.alerts} >= {"opened", "recovered"}
        banked = {alert.detector.name for alert in run.alerts} & {"srbins", "srbinary"}
        thresholds = "threshold" in {alert.detector.name for alert in run.alerts}
        assert thresholds or "regression" in stream
        assert bool(banked) is stream.startswith("banked")
        assert len(run.windows) > 50
        assert any(window.revision > 1 for window in run.windows)
    told = whole("classifier", 1, False)
    assert {f.signal for f in told.findings} >= {"metric:accuracy", "metric:recall"}
    assert any("threshold:recall" in window.reasons for window in told.windows)
    assert "threshold:recall" not in told.windows[-1].reasons, "learned meanwhile"
    counters = told.state.counters
    counted = ("late_predictions", "late_outcomes", "unknown_class", "new_features")
    assert all(counters[name] for name in counted), counters


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.sampled_from([1e308, -1e308, 5e-324, math.inf, math.nan]),
)
CLASSES = st.one_of(st.sampled_from(["yes", "no", "", "_other"]), st.integers(-2, 2), st.floats())


@st.composite
def hostile_rows(draw) -> list[Row]:
    rows = []
    for i in range(draw(st.integers(0, 40))):
        ts = START_MS + draw(st.integers(-(10**7), 10**7))
        arrival = START_MS + i
        features = draw(st.dictionaries(st.sampled_from("abc"), CELLS, max_size=3))
        said = draw(CLASSES)
        scores = draw(st.dictionaries(st.sampled_from(["yes", "no"]), st.floats(0, 1), max_size=2))
        body = {"features": features, "prediction": said, "scores": scores}
        rows.append(Row("prediction", f"p{i}", ts, arrival, body, offset=i))
        if draw(st.booleans()):
            label = {"prediction": said, "label": draw(CLASSES), "scores": scores}
            if draw(st.booleans()):
                label["previous"] = draw(CLASSES)
            label["prediction_arrival"] = arrival
            rows.append(Row("outcome", f"p{i}", ts, arrival, label, rank=1))
    return rows


@given(
    rows=hostile_rows(),
    warmup=st.sampled_from([1, 5, 30]),
    task=st.sampled_from([None, "binary", "multiclass", "regression"]),
)
@settings(max_examples=60, deadline=None)
def test_no_row_crashes_a_step(rows: list[Row], warmup: int, task) -> None:
    spec = MonitorSpec(model="m", warmup=warmup, task=task, window_ms=60_000)
    run = Run(spec).step(rows, START_MS + 100)
    run.restart().step([], START_MS + 10**8)
    assert run.state.counters["predictions"] == sum(row.kind == "prediction" for row in rows)
