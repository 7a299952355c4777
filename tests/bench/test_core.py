"""The benchmark of the core runs, and measures what it says; nothing here looks at a clock."""

from __future__ import annotations

import json

import pytest

from tests.bench import core


def test_it_prints_a_table_and_one_line_of_json(capsys: pytest.CaptureFixture[str]):
    assert core.main(["--scale", "0.01", "--repeats", "1", "--reference", "200"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert [(cost["features"], cost["events"]) for cost in found["costs"]] == [(20, 409), (200, 81)]
    for cost in found["costs"]:
        assert 0 < cost["state_bytes"] < cost["snapshot_bytes"]
        assert {"plain_loop_us", "decode_us", "step_us"} <= set(cost)
        assert set(cost["step_us_by_rows"]) == {str(rows) for rows in core.CUTS}
        assert cost["state_bytes"] < cost["memory_bytes"]
        assert any(f"mutable state at {cost['features']} features" in line for line in lines)


def test_the_core_takes_every_prediction_and_outcome_of_the_events_the_loop_takes():
    n = core.BATCH + 100  # more than one step
    learned = [f for frames in core.released(core.make_events(3, 500)) for f in frames]
    reference = core.build(core.SUBJECT, learned, core.SPEC)
    events = core.make_events(3, n, 500)
    state = core.run_steps(core.released(events), reference)
    assert state.counters["predictions"] == n
    assert state.counters["joined"] == n
    assert state.metrics()["accuracy"] == pytest.approx(0.9, abs=0.02)
    assert core.plain_loop(events) >= 0


def test_steps_cut_smaller_hold_the_same_rows():
    steps = core.released(core.make_events(3, 250))
    parts = core.cut(steps, 100)
    assert [[frame.n for frame in frames] for frames in parts] == [[100] * 2, [100] * 2, [50] * 2]
    learned = [f for frames in core.released(core.make_events(3, 500, 1_000)) for f in frames]
    reference = core.build(core.SUBJECT, learned, core.SPEC)
    whole, cut = core.run_steps(steps, reference), core.run_steps(parts, reference)
    assert core.engine.snapshot(whole) == core.engine.snapshot(cut)
