"""The benchmark's parts: load, job, latency, profile, soak; and its contract in small."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import orjson
import pytest
from msgspec import defstruct

from driftline.alerts import Alert
from driftline.codec import decode
from driftline.rules import rfc3339
from tests.bench import load, measure, memory, profiling, setting
from tests.bench.__main__ import main
from tests.bench.job import Job, Progress, progress_of
from tests.bench.latency import latencies
from tests.bench.load import BATCH_ROWS, LABELS, Shape
from tests.bench.report import KEYS
from tests.bench.soak import Memory


@pytest.fixture(scope="module")
def monitors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return setting.write(tmp_path_factory.mktemp("bench") / "monitors", Shape())


def test_single_events_are_of_the_promised_size_and_every_label_follows_its_prediction():
    records = load.single(Shape(), 1_000)
    predictions = [r for r in records if r.topic != LABELS]
    assert len(records) == 2 * len(predictions) == load.rows_of(records)
    assert 600 < sum(len(r.value) for r in predictions) / len(predictions) < 700
    seen: set[bytes] = set()
    for record in records:
        decoded = decode(record.value)
        assert not decoded.rejects
        assert (record.key in seen) == bool(decoded.labels)
        seen.add(record.key)


def test_columns_hold_the_same_events_as_the_single_ones():
    n = 4 * BATCH_ROWS + 8
    records = load.columnar(Shape(), n)
    decoded = [decode(record.value) for record in records]
    assert not any(each.rejects for each in decoded)
    ids = [i for each in decoded for batch in each.columns for i in batch.prediction_id]
    labels = {label.prediction_id: label.label for each in decoded for label in each.labels}
    single = [orjson.loads(r.value) for r in load.single(Shape(), n) if r.topic == LABELS]
    assert labels == {event["prediction_id"]: event["label"] for event in single}
    assert sorted(ids) == sorted(labels)


def test_the_plain_loop_and_the_limit_join_every_label(monitors: Path):
    records = load.single(Shape(), 2_000)
    for engine in (memory.Plain(), memory.Limit(setting.monitors(monitors))):
        run = memory.measured(engine, records, warm=500, cap_cpu_s=60.0)
        assert run.complete
        assert run.events == 3_500
        assert engine.joined == 2_000


def test_the_limit_steps_the_same_events_whether_single_or_in_columns(monitors: Path):
    states = []
    for make in (load.single, load.columnar):
        limit = memory.Limit(setting.monitors(monitors))
        memory.measured(limit, make(Shape(), 2_000), warm=100, cap_cpu_s=60.0)
        states.append({name: s.counters for name, s in limit.detect.subjects.items()})
        assert all(state.profile is not None for state in limit.detect.subjects.values())
    assert states[0] == states[1]
    assert len(states[0]) == 4


def test_rounds_hold_every_record_once_and_none_is_small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure, "ROUND", 40_000)
    records = load.single(Shape(), 50_000)
    cut = list(measure.rounds(records))
    assert [begin for begin, _ in cut] == [0, *(end for _, end in cut[:-1])]
    assert cut[-1][1] == len(records)
    assert all(load.rows_of(records[a:b]) >= measure.ROUND for a, b in cut)
    assert list(measure.rounds(records[:10])) == [(0, 10)]


def test_a_run_that_is_cut_off_says_so():
    run = memory.measured(memory.Plain(), load.single(Shape(), 3_000), warm=100, cap_cpu_s=0.0)
    assert not run.complete
    assert 0 < run.events < 5_900


def test_the_baselines_join_a_label_that_came_first_and_see_a_change_and_what_is_missing():
    job = Job()
    (event,) = load.events(Shape(models=1), 1)
    job.label({"prediction_id": event.prediction["prediction_id"], "label": event.label})
    job.prediction(event.prediction)
    assert job.joined == 1
    for number in range(2_000):
        features = {"x": 0.0 if number < 1_000 else 9.0, "gone": None, "kind": "red"}
        job.prediction(event.prediction | {"prediction_id": str(number), "features": features})
    watch = job.models["model-0", "1"]
    assert watch.changes >= 1
    assert watch.missing["gone"] == 2_000
    assert watch.seen["kind"]["red"] == 2_000


def test_progress_can_be_read_from_outside_while_it_is_made(tmp_path: Path):
    path = tmp_path / "progress"
    assert progress_of(path) == 0
    progress = Progress(str(path))
    for _ in range(Progress.EVERY * 2 + 1):
        progress.one()
    assert progress_of(path) == Progress.EVERY * 2


def alert(model: str, detected_ms: int, reason: str = "opened") -> Alert:
    """An alert of which only these fields matter."""
    told = defstruct("Told", ["model", "detected_at", "reason"])
    return cast("Alert", told(model, rfc3339(detected_ms), reason))


def test_latency_counts_from_the_first_event_of_the_deciding_millisecond():
    start = 1_790_000_000_000
    sent = {"m": [(start + 20, start + 15.0), (start + 10, start + 8.0), (start + 10, start + 9.0)]}
    heard = [
        (start + 50.0, alert("m", start + 10)),
        (start + 60.0, alert("m", start + 15)),
        (start + 70.0, alert("m", start + 25)),
        (start + 80.0, alert("m", start + 25, "resolved")),
        (start + 90.0, alert("other", start + 25)),
    ]
    assert latencies(heard, sent) == [42.0, 52.0, 55.0]


def test_a_profile_puts_each_sample_to_its_stage_and_the_module_that_ran_last():
    ingest = (
        "run (streams/stages.py:9);step (streams/agents/ingest.py:99);decode (driftline/codec.py:5)"
    )
    found = profiling.profile([
        f"{ingest} 3",
        "step (streams/agents/join.py:3);checkpoint (streams/agents/stateful.py:7) 2",
        "main (threading.py:1);fetch (site-packages/aiokafka/consumer/fetcher.py:3) 4",
        "main (threading.py:1);_run_once (asyncio/base_events.py:9);select (selectors.py:468) 9",
        "py-spy said something",
    ])  # fmt: skip
    assert found == Counter({
        ("ingest", "driftline/codec.py"): 3,
        ("checkpoint", "streams/agents/stateful.py"): 2,
        ("fetch", "aiokafka/consumer"): 4,
    })  # fmt: skip
    assert "| fetch | 44.4 % |" in profiling.table(found)


def test_a_soak_holds_the_level_before_the_end_against_that_after_the_mark(tmp_path: Path):
    seen = Memory(mark=2_000, end=10_000)
    for events, mib in ((1_000, 80.0), (2_000, 99.0), (2_300, 150.0), (2_400, 100.0)):
        seen.take(events, mib)
    seen.take(9_000, 200.0)
    assert seen.growth is None
    for events, mib in ((9_600, 104.0), (9_700, 30.0), (10_000, 160.0)):
        seen.take(events, mib)
    assert seen.growth == pytest.approx(1.04)
    seen.write(tmp_path / "soak")
    assert (tmp_path / "soak" / "memory.png").stat().st_size > 1_000
    assert "9000,200.0" in (tmp_path / "soak" / "memory.csv").read_text()


def test_the_benchmark_in_small_prints_a_table_and_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = ["--only", "plain", "--predictions", "2000", "--repeats", "1"]
    assert main([*given, "--out", str(tmp_path)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = orjson.loads(last)
    assert set(KEYS) <= set(found)
    assert found["plain_loop_events_per_cpu_s"] > 1_000
    assert found["quix_events_per_cpu_s"] is None
    assert any(line.startswith("plain loop in memory") for line in lines)
    assert orjson.loads((tmp_path / "bench.json").read_bytes()) == found
    assert (tmp_path / "bench.png").exists()


def test_the_limit_as_a_process_prints_its_run_as_one_line(
    monitors: Path, capsys: pytest.CaptureFixture[str]
):
    assert (
        memory.main(["limit", "columns", "1000", "--warm", "4", "--monitors", str(monitors)]) == 0
    )
    found = orjson.loads(capsys.readouterr().out)
    assert found["complete"]
    assert (found["joined"], found["events"]) == (1_000, 1_750)
    assert found["cpu_s"] > 0


def test_a_part_that_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert main(["--only", "plain,spark"]) == 2
    assert "spark" in capsys.readouterr().err
