"""Detectors by configuration: from a monitor file to an alert of that detector."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from detectors import engine, policy
from detectors.configured.feeds import Configured, chosen
from detectors.feed import TICKS
from detectors.policy import PolicyState
from detectors.reference_builder import build
from detectors.registry import DETECTORS
from detectors.river import riverstate
from detectors.spec import DetectorSpec, MonitorSpec
from driftline.rules import iso_ms
from streams.monitors import document
from streams.monitors import file as monitor_file
from tests.monitored import START_MS, SUBJECT, Row, Run, classifier, frames, regression

FILE = """\
model: m
reference: warmup 800
windows: {size: 1m, lateness: 10s}
labels: {horizon: 5m}
drift:
  detectors:
"""
ROWS = {"classifier": classifier(3, 4_000, hostile=False), "regression": regression(3, 4_000)}
SIGNALS = {
    "classifier": ("error", "score", "prediction", "feature:*"),
    "regression": ("error", "residual", "prediction", "feature:*"),
}
CHANGED = {"classifier": ("error", "feature:amount"), "regression": ("error", "residual")}
SEES_NOTHING = {("kswin", "error", "classifier")}
"""Of 30 errors against 30 the distance is too small."""
CASES = [
    (name, signal, stream)
    for stream, signals in CHANGED.items()
    for signal in signals
    for name, kind in DETECTORS.items()
    if (signal == "error" or kind.takes != "errors") and (name, signal, stream) not in SEES_NOTHING
]


def read(text: str) -> MonitorSpec:
    parsed = document.parse(text, "m.yaml")
    found = monitor_file.read(parsed, Path())
    assert found is not None, parsed.problems
    return MonitorSpec(**found.values)


def all_detectors(stream: str) -> MonitorSpec:
    """Every detector on every signal it may be on."""
    lines = []
    for name, kind in DETECTORS.items():
        on = ("error",) if kind.takes == "errors" else SIGNALS[stream]
        listed = ", ".join(f"'{signal}'" for signal in on)
        lines.append(f"    - {{name: {name}, on: [{listed}], opens: true}}")
    return read(FILE + "\n".join(lines))


def end(rows: list[Row]) -> int:
    return rows[-1].arrival + 10**7


@cache
def finished(stream: str) -> Run:
    return Run(all_detectors(stream)).step(ROWS[stream], end(ROWS[stream]))


def configured_label(name: str, signal: str) -> str:
    """ADWIN and Page-Hinkley run there anyway."""
    built_in = {"adwin": ("error", "feature:amount"), "page_hinkley": ("error", "residual")}
    return f"{name}_configured" if signal in built_in.get(name, ()) else name


@pytest.mark.parametrize(("name", "signal", "stream"), CASES)
def test_each_alarms_at_a_change_and_opens_an_alert(name: str, signal: str, stream: str):
    run = finished(stream)
    told = [f for f in run.findings if (f.detector.name, f.signal) == (name, signal)]
    told = [f for f in told if f.rule == "drift"]
    _, alerts = policy.step(PolicyState.new(SUBJECT, MonitorSpec(model="m")), told)
    change = START_MS + 1_200 * 1_000
    near = [a for a in alerts if abs((iso_ms(a.change_point or "") or 0) - change) < 60_000]
    assert near, [a.summary for a in alerts]
    assert near[0].detector.params.keys() >= DETECTORS[name].settings.keys()
    if name != "kswin":  # which sees another change every few hundred rows
        assert alerts[-1].status == "resolved", "it was repaired"


@pytest.mark.parametrize(("name", "signal", "stream"), CASES)
def test_alarms_are_counted_in_windows_and_in_all(name: str, signal: str, stream: str):
    run = finished(stream)
    label = configured_label(name, signal)
    n = run.state.detections[signal, label]
    last = {window.start: window for window in run.windows}  # as revised
    shown = sum(window.signals.get(signal, {}).get(label, 0) for window in last.values())
    assert n > 0
    assert np.isfinite(run.state.statistics()[signal, label])
    assert shown == n


@pytest.mark.parametrize(("stream", "pinned"), [("classifier", True), ("regression", False)])
def test_cuts_and_restarts_change_nothing(stream: str, pinned: bool):
    rows = classifier(5, 1_800) if stream == "classifier" else regression(5, 1_800)
    spec = replace(all_detectors(stream), warmup=500)
    reference = build(SUBJECT, frames(rows[:1_200]), spec) if pinned else None
    whole = Run(spec, reference).step(rows, end(rows))
    parts, at = Run(spec, reference), 0
    for i, size in enumerate([1, 800, 7, 900, 93, 1, 700, 10**6]):
        part = rows[at : at + size]
        at += size
        parts.step(part, rows[at].arrival if at < len(rows) else end(rows))
        if i % 2:
            parts.restart()
    assert parts.result() == whole.result()
    assert any(f.detector.name in {"kswin", "hddm_w", "eddm"} for f in whole.findings)


def test_what_may_not_open_is_counted_and_says_nothing():
    spec = all_detectors("regression")
    silent = replace(spec, configured=tuple(replace(d, opens=False) for d in spec.configured))
    run = Run(silent).step(ROWS["regression"], end(ROWS["regression"]))
    assert run.state.detections == finished("regression").state.detections
    assert {f.detector.name for f in run.findings} <= {"srbins", "srbinary"}


def test_another_version_of_river_starts_each_cold_and_counts_it(monkeypatch: pytest.MonkeyPatch):
    run = Run(all_detectors("regression")).step(ROWS["regression"][:3_000], START_MS)
    content = engine.snapshot(run.state)
    monkeypatch.setattr(riverstate.river, "__version__", "0.0.0")
    run.state = engine.restore(content, run.spec)
    cold = [d for _, d in run.state.features.configured.detectors if d.detector.cold]
    cold += [d for d in run.state.concept.configured.detectors if d.detector.cold]
    assert {d.spec.name for d in cold} >= DETECTORS.keys() - {"page_hinkley"}, "it may keep numbers"
    adwins = len(run.state.features.watched) + 1
    pages = run.state.counters["cold_starts"] - len(cold) - adwins
    assert pages in {0, 2}


def test_another_configuration_keeps_what_is_the_same():
    spec = all_detectors("regression")
    run = Run(spec).step(ROWS["regression"][:3_000], START_MS)
    dumps = {tuple(map(str, d["of"])): d for d in run.state.concept.configured.dump()}
    kept = tuple(replace(d, opens=False) for d in spec.configured if d.name != "ddm")
    more = DetectorSpec(name="ddm", on=("error",), params={"warm_start": 50})
    run.spec = replace(spec, configured=(*kept, more))
    run.restart()
    for now in run.state.concept.configured.dump():
        key = tuple(map(str, now["of"]))
        assert (key in dumps) is (now["of"][1] != "ddm")
        assert dumps.get(key, now) == now


def test_one_that_names_a_feature_goes_before_the_same_on_all():
    wide = DetectorSpec(name="kswin", on=("feature:*",))
    named = DetectorSpec(name="kswin", on=("feature:a", "score"), params={"alpha": 0.01})
    other = DetectorSpec(name="adwin", on=("feature:*",))
    assert chosen((wide, named, other), "feature:a") == [other, named]
    assert chosen((wide, named, other), "feature:b") == [other, wide]
    assert chosen((wide, named, other), "score") == [named]
    assert chosen((wide, named, other), "error") == []


@pytest.mark.parametrize("step", [1, 3, 7, 1_000])
def test_an_autocorrelated_signal_is_fed_in_blocks_and_errors_never(step: int):
    values = np.clip(np.random.default_rng(1).random(4_000) + np.repeat([0, 0.4], 2_000), 0, 1)
    ticks = np.rint(values * TICKS).astype(np.int64)
    fed = Configured(DetectorSpec(name="kswin", on=("score",)), "score", phi=3.2)
    fired = [
        begin + at for begin in range(0, 4_000, step) for at in fed.update(ticks[begin:][:step])
    ]
    means = ticks.reshape(-1, 4).sum(axis=1) / (4 * TICKS)
    assert fired == [4 * c.index + 3 for c in DETECTORS["kswin"]().update(means)]
    assert fired
    assert fed.reference.params["mean_of"] == 4
    errors = Configured(DetectorSpec(name="fhddm", on=("error",)), "error", phi=9.0)
    assert errors.size == 1
