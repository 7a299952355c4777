"""Monitors that an earlier program left in a checkpoint go on in this one.

`state_v1/classifier.msgpack.gz` and `regression.msgpack.gz` are of the last program before volume,
labels and configured detectors were watched: `engine.snapshot` after all of `classifier(5,
3_000)` and `regression(5, 2_500)` of `tests.monitored`, with a warm-up of 1,000.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from detectors import engine
from detectors.spec import MonitorSpec
from tests.monitored import Row, Run, classifier, regression

FOLDER = Path(__file__).parent / "state_v1"
SPEC = MonitorSpec(model="m", warmup=1_000)
STREAMS = {"classifier": classifier(5, 3_000), "regression": regression(5, 2_500)}


def later(row: Row, by: int) -> Row:
    """The same row some time later, under an id of its own."""
    body = dict(row.body)
    if "prediction_arrival" in body:
        body["prediction_arrival"] += by
    return Row(row.kind, f"{row.id}-later", row.ts + by, row.arrival + by, body, row.rank)


@pytest.mark.parametrize("name", STREAMS)
def test_a_monitor_of_the_first_format_goes_on_with_its_counts_and_metrics(name: str) -> None:
    rows = STREAMS[name]
    whole = Run(SPEC).step(rows, rows[-1].arrival)
    run = Run(SPEC)
    run.state = engine.restore(gzip.decompress((FOLDER / f"{name}.msgpack.gz").read_bytes()), SPEC)
    assert run.state.profile is not None
    for counter in ("predictions", "joined", "late_predictions", "late_outcomes"):
        assert run.state.counters[counter] == whole.state.counters[counter]
    before, expected = run.state.values(), whole.state.values()
    assert {metric: before[metric] for metric in before} == {m: expected[m] for m in before}
    by = rows[-1].arrival - rows[0].ts + 60_000
    more = [later(row, by) for row in rows]
    for run_on in (run, whole):
        run_on.step(more, more[-1].arrival)
    assert run.state.values() == whole.state.values()
    assert engine.snapshot(engine.restore(engine.snapshot(run.state), SPEC)) == engine.snapshot(
        run.state
    )
