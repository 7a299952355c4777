"""`python -m tests.bench.core`: what an event costs in the core, beside the loop one would write.

The same binary classifier's events, already in memory, three times in turn and in one process:

- plain loop: orjson of prediction and label, one River ADWIN per feature, and a rolling confusion
  matrix of the last 1,000 events; the detectors of one model version, without windows, reference,
  delayed labels or alerts;
- decode: from the messages' bytes to frames, checked, as ingest does;
- step: `detectors.engine.step` on those frames, predictions and outcomes.

Decode and step together stand against the plain loop. Monitors are made before the clock runs; what
it takes to make one, and how large it gets, is printed apart. CPU time of this process, medians; a
machine that others use too gives ratios, not times. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import msgspec
import numpy as np
import orjson
import river
from river import drift, metrics, utils

from detectors import engine
from detectors.frame import Column, Frame, text_column
from detectors.reference.profile import ReferenceProfile
from detectors.reference_builder import build
from detectors.spec import MonitorSpec
from driftline import codec
from driftline.subject import Subject
from streams.rows.builder import RowBuilder

SUBJECT = Subject("bench", "1")
SPEC = MonitorSpec(model="bench", task="binary", positive="yes")
START_MS = 1_790_000_000_000
STEP_MS, DELAY_MS = 1_000, 500
REFERENCE, BATCH, REPEATS = 5_000, 4_096, 3
SIZES = ((20, 40_960), (200, 8_192))
CUTS = (100, 500, 2_000)
"""Rows of one subject in a step: few of them carry the cost of the step itself."""


@dataclass(frozen=True)
class Events:
    """Messages as they arrive: a prediction each, and its label DELAY_MS later."""

    features: int
    predictions: list[bytes]
    labels: list[bytes]
    truth: list[str]


@dataclass(frozen=True)
class Cost:
    """Of one number of features: microseconds of CPU time an event, and bytes."""

    features: int
    events: int
    plain_loop_us: float
    decode_us: float
    step_us: float
    step_us_by_rows: dict[str, float]
    state_bytes: int
    snapshot_bytes: int
    memory_bytes: int
    new_memory_bytes: int
    new_ms: float
    snapshot_ms: float
    restore_ms: float


def make_events(features: int, n: int, first: int = 0) -> Events:
    """Normal features without change; the label is the prediction nine times in ten."""
    rng = np.random.default_rng([features, first])
    names = [f"feature_{i:03}" for i in range(features)]
    values = rng.standard_normal((n, features))
    scores = np.round(rng.random(n), 6).tolist()
    wrong = (rng.random(n) < 0.1).tolist()
    predictions, labels, truth = [], [], []
    for i in range(n):
        ts = START_MS + (first + i) * STEP_MS
        says = scores[i] > 0.5
        truth.append("yes" if says != wrong[i] else "no")
        predictions.append(
            orjson.dumps({
                "prediction_id": f"p{first + i}", "model": "bench", "version": "1", "ts": ts,
                "features": dict(zip(names, values[i].tolist(), strict=True)),
                "prediction": "yes" if says else "no",
                "scores": {"yes": scores[i], "no": 1 - scores[i]},
            })
        )  # fmt: skip
        labels.append(
            orjson.dumps(
                {"prediction_id": f"p{first + i}", "label": truth[-1], "ts": ts + DELAY_MS}
            )
        )
    return Events(features, predictions, labels, truth)


def plain_loop(events: Events) -> int:
    """The loop that one writes with River; returns the changes seen."""
    detectors: dict[str, drift.ADWIN] = {}
    matrix = utils.Rolling(metrics.ConfusionMatrix, window_size=1_000)
    changes = 0
    for prediction, label in zip(events.predictions, events.labels, strict=True):
        event = orjson.loads(prediction)
        for name, value in event["features"].items():
            detector = detectors.get(name)
            if detector is None:
                detector = detectors[name] = drift.ADWIN()
            detector.update(value)
            if detector.drift_detected:
                changes += 1
        matrix.update(orjson.loads(label)["label"], event["prediction"])
    return changes


def decoded(events: Events) -> list[list[Frame]]:
    """Prediction frames of a batch each, and the label messages decoded beside them."""
    batches = []
    for begin in range(0, len(events.predictions), BATCH):
        rows, labels = RowBuilder(0, 0, 1), RowBuilder(1, 0, 1)
        end = begin + BATCH
        for at, message in enumerate(events.predictions[begin:end], begin):
            rows.add(codec.decode(message), offset=at, arrival=None)
        for at, message in enumerate(events.labels[begin:end], begin):
            labels.add(codec.decode(message), offset=at, arrival=None)
        assert labels.frames()
        (frames,) = rows.frames().values()
        batches.append(frames)
    return batches


def outcomes(predictions: Frame, truth: Sequence[str]) -> Frame:
    """What join makes of the predictions once their labels are in."""
    arrival = predictions.ints("arrival")
    columns = {
        name: column
        for name, column in predictions.columns.items()
        if name in ("id", "ts", "offset", "index", "prediction") or name.startswith("s:")
    }
    columns["arrival"] = Column(arrival + DELAY_MS)
    columns["source"] = Column(np.full(predictions.n, 1 << 32, dtype=np.int64))
    columns["prediction_arrival"] = Column(arrival)
    columns["label"] = text_column(truth)
    return Frame(predictions.subject, "outcome", predictions.n, columns, predictions.cause)


def released(events: Events) -> list[list[Frame]]:
    """What the sequencer would hand to the core, one list a step."""
    steps, begin = [], 0
    for (predictions,) in decoded(events):
        end = begin + predictions.n
        steps.append([predictions, outcomes(predictions, events.truth[begin:end])])
        begin = end
    return steps


def cut(steps: Sequence[Sequence[Frame]], rows: int) -> list[list[Frame]]:
    """The same rows in steps of at most so many."""
    return [
        [frame.span(begin, min(begin + rows, frame.n)) for frame in frames]
        for frames in steps
        for begin in range(0, frames[0].n, rows)
    ]


def run_steps(steps: Sequence[Sequence[Frame]], reference: ReferenceProfile) -> engine.MonitorState:
    """A new monitor that took all steps."""
    return go_on(engine.new(SUBJECT, SPEC, reference), steps)


def go_on(state: engine.MonitorState, steps: Sequence[Sequence[Frame]]) -> engine.MonitorState:
    """The monitor after all steps; windows are taken out as the worker does."""
    for frames in steps:
        clock = int(frames[0].ints("arrival")[-1]) + STEP_MS
        state, _ = engine.step(state, frames, clock)
        state.take_windows()
    return state


def cpu_us(work: Callable[[], object], events: int) -> float:
    """CPU microseconds an event."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6 / events


def step_us(steps: Sequence[Sequence[Frame]], reference: ReferenceProfile, n: int) -> float:
    """CPU microseconds an event of a new monitor, which is made before the clock runs."""
    state = engine.new(SUBJECT, SPEC, reference)
    return cpu_us(lambda: go_on(state, steps), n)


def memory(make: Callable[[], engine.MonitorState]) -> int:
    """Bytes a monitor takes in memory, those of River's ADWINs by their state."""
    tracemalloc.start()
    state = make()
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert state.features is not None
    feeds = [feature.feed for _, feature in state.features.watched]
    return traced + sum(len(feed.adwin.core_state) for feed in feeds)


def measure(features: int, n: int, *, repeats: int = REPEATS, reference: int = REFERENCE) -> Cost:
    """The cost of n events after a reference of `reference` more."""
    learned = [frame for frames in released(make_events(features, reference)) for frame in frames]
    profile = build(SUBJECT, learned, SPEC)
    events = make_events(features, n, reference)
    steps = released(events)
    loop, decode, step = [], [], []
    for _ in range(repeats):
        loop.append(cpu_us(lambda: plain_loop(events), n))
        decode.append(cpu_us(lambda: decoded(events), n))
        step.append(step_us(steps, profile, n))
    cuts = {rows: cut(steps, rows) for rows in CUTS}
    by_rows = {
        str(rows): [step_us(parts, profile, n) for _ in range(repeats)]
        for rows, parts in cuts.items()
    }
    state = run_steps(steps, profile)
    fixed = len(msgspec.msgpack.encode(state.dump()["profile"]))
    snapshot = engine.snapshot(state)
    whole = len(snapshot)
    return Cost(
        features=features,
        events=n,
        plain_loop_us=round(statistics.median(loop), 2),
        decode_us=round(statistics.median(decode), 2),
        step_us=round(statistics.median(step), 2),
        step_us_by_rows={rows: round(statistics.median(each), 2) for rows, each in by_rows.items()},
        state_bytes=whole - fixed,
        snapshot_bytes=whole,
        memory_bytes=memory(lambda: engine.restore(snapshot, SPEC)),
        new_memory_bytes=memory(lambda: engine.new(SUBJECT, SPEC, profile)),
        new_ms=round(cpu_us(lambda: engine.new(SUBJECT, SPEC, profile), 1_000), 1),
        snapshot_ms=round(cpu_us(lambda: engine.snapshot(state), 1_000), 1),
        restore_ms=round(cpu_us(lambda: engine.restore(snapshot, SPEC), 1_000), 1),
    )


def table(costs: Sequence[Cost]) -> str:
    """The costs for people; microseconds of CPU time an event."""
    heads = ("features", "events", "plain loop", "decode", "step", "decode + step", "loop / ours")
    lines = ["CPU microseconds an event (aim for step: 4 at 20 features, 30 at 200)"]
    lines.append("  ".join(f"{head:>13}" for head in heads))
    for cost in costs:
        ours = cost.decode_us + cost.step_us
        cells = (
            f"{cost.features}", f"{cost.events:,}", f"{cost.plain_loop_us:.2f}",
            f"{cost.decode_us:.2f}", f"{cost.step_us:.2f}", f"{ours:.2f}",
            f"{cost.plain_loop_us / ours:.1f}" if ours else "-",
        )  # fmt: skip
        lines.append("  ".join(f"{cell:>13}" for cell in cells))
    lines += [
        f"step at {cost.features} features by rows of a step: "
        + ", ".join(f"{rows} rows {us:.1f} us" for rows, us in cost.step_us_by_rows.items())
        for cost in costs
    ]
    lines += [
        f"a monitor of {cost.features} features: new {cost.new_ms:.0f} ms, snapshot "
        f"{cost.snapshot_ms:.0f} ms, restore {cost.restore_ms:.0f} ms; in memory "
        f"{cost.new_memory_bytes:,} bytes new, {cost.memory_bytes:,} once warm"
        for cost in costs
    ]
    lines += [
        f"mutable state at {cost.features} features: {cost.state_bytes:,} bytes in a snapshot; "
        f"its reference, which never changes: {cost.snapshot_bytes - cost.state_bytes:,}"
        for cost in costs
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and one line of JSON. Never fails for being slow."""
    parser = argparse.ArgumentParser(description="cost of an event in the core")
    parser.add_argument("--scale", type=float, default=1.0, help="events, relative to the default")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--reference", type=int, default=REFERENCE, help="events it is built of")
    options = parser.parse_args(arguments)
    costs = [
        measure(
            features, max(1, int(n * options.scale)),
            repeats=options.repeats, reference=options.reference,
        )
        for features, n in SIZES
    ]  # fmt: skip
    print(table(costs))
    versions = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "river": river.__version__,
    }
    print(orjson.dumps({"costs": [asdict(cost) for cost in costs], **versions}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
