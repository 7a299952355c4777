"""Latency percentiles of windows: within a percent, however the rows come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import engine
from detectors.frame import Column, Frame, float_column
from detectors.measures.percentiles import LEAST, MOST, SHOWN, buckets_of, counts_of, percentiles
from detectors.windows.window import Window
from tests.monitored import SUBJECT
from tests.unit.test_served import SPEC, rows, watch


def counted(values: np.ndarray) -> np.ndarray:
    frame = Frame(str(SUBJECT), "prediction", len(values), {"latency_ms": float_column(values)})
    found = buckets_of(frame)
    assert found is not None
    return counts_of(found)


@given(st.lists(st.floats(LEAST, MOST), min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_each_percentile_is_within_a_percent_of_the_value_of_its_rank(values) -> None:
    found = percentiles(counted(np.array(values)))
    for name, q in SHOWN.items():
        exact = np.quantile(values, q, method="lower")
        assert found[name] == pytest.approx(exact, rel=0.0101)


def test_latencies_of_any_size_are_counted() -> None:
    counts = counted(np.array([0.0, -5.0, 1e-9, 1e300, 7.0]))
    assert counts.sum() == 5
    assert percentiles(counts)["p50"] == pytest.approx(LEAST, rel=0.02)
    assert percentiles(counts)["p99"] == pytest.approx(7.0, rel=0.01)
    assert percentiles(counted(np.array([1e300])))["p99"] == pytest.approx(MOST, rel=0.02)


def test_without_latencies_there_are_no_percentiles() -> None:
    assert percentiles(np.zeros(0, np.int64)) == {}
    frame = Frame(str(SUBJECT), "prediction", 2, {})
    assert buckets_of(frame) is None
    frame.columns["latency_ms"] = Column(np.zeros(2), np.array([False, True]))
    found = buckets_of(frame)
    assert found is not None
    assert counts_of(found).sum() == 1


def test_windows_show_them_in_the_warm_up_and_after_and_keep_them_over_a_restart() -> None:
    stream = rows(10_800, 1)
    state, _ = watch(stream)
    state = engine.restore(engine.snapshot(state), SPEC)
    state, _ = engine.step(state, [], int(stream.ints("arrival")[-1]) + 10**8)
    windows = state.take_windows()
    assert len(windows) == 4
    latency, ts = stream.columns["latency_ms"].data, stream.ints("ts")
    for at, window in enumerate(windows):
        held = latency[ts // 3_600_000 == ts[0] // 3_600_000 + at]
        shown = window.signals["latency"]
        assert shown["n"] == len(held)
        assert shown["p95"] == pytest.approx(np.quantile(held, 0.95, method="lower"), rel=0.0101)


def test_a_window_keeps_them_in_its_dump() -> None:
    window = Window(0, latency=np.array([0, 3, 0, 5]))
    assert Window.load(window.dump()).latency.tolist() == [0, 3, 0, 5]
    assert window.dump()["latency"] == [[1, 3], [3, 5]]
