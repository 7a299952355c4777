"""Replay: the same files give the same bytes, however they are read, and arrival is as promised."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from detectors.spec import MonitorSpec
from driftline.alerts import Alert, WindowSummary
from streams.monitors.load import Monitors
from streams.offline import replay as module
from streams.offline.files import EventFile
from streams.offline.replay import Replay
from streams.offline.summary import Results, Summary, summarise
from tests.stream import HORIZON_MS, lines, make_stream

T = 1_793_500_000_000
MINUTE = 60_000
Event = dict[str, Any]

SPECS = {m: MonitorSpec(model=m, horizon_ms=HORIZON_MS, warmup=400) for m in ("fraud", "price")}


def write(path: Path, events: Sequence[Event]) -> EventFile:
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return EventFile(path)


def run(
    folder: Path,
    predictions: Sequence[Event],
    labels: Sequence[Event] = (),
    specs: dict[str, MonitorSpec] | None = None,
) -> tuple[Summary, list[WindowSummary], list[Alert]]:
    windows: list[WindowSummary] = []
    alerts: list[Alert] = []

    class Kept(Results):
        def window(self, window: WindowSummary) -> None:
            windows.append(window)

        def alert(self, alert: Alert) -> None:
            super().alert(alert)
            alerts.append(alert)

    sink = Kept()
    label_files = [write(folder / "l.jsonl", labels)] if labels else []
    replay = Replay(
        [write(folder / "p.jsonl", predictions)], label_files, Monitors(specs or {}), sink
    )
    replay.run()
    return summarise(replay, sink, seconds=1.0), windows, alerts


def prediction(i: int, **fields: Any) -> Event:
    base = {"prediction_id": f"p{i}", "model": "m", "version": "1", "prediction": "1"}
    return base | {"ts": T + i * MINUTE} | fields


def label(i: int, **fields: Any) -> Event:
    return {"prediction_id": f"p{i}", "label": "1"} | fields


def files(folder: Path) -> list[Path]:
    stream = make_stream(2_400)
    paths = [folder / "predictions.jsonl.gz", folder / "labels.jsonl"]
    paths[0].write_bytes(gzip.compress(lines(stream.predictions)))
    paths[1].write_bytes(lines(stream.labels))
    return paths


def output(folder: Path, name: str, predictions: Path, labels: Path) -> tuple[bytes, bytes, Any]:
    alerts, windows = folder / f"{name}.alerts", folder / f"{name}.windows"
    with Results(alerts, windows) as sink:
        replay = Replay([EventFile(predictions)], [EventFile(labels)], Monitors(SPECS), sink)
        replay.run()
    summary = summarise(replay, sink, seconds=1.0).as_json()
    return alerts.read_bytes(), windows.read_bytes(), summary


def test_output_is_byte_identical_from_run_to_run_and_the_chunks_only_interleave_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predictions, labels = files(tmp_path)
    first = output(tmp_path, "first", predictions, labels)
    assert first[0].count(b"\n") >= 2, "the stream has two real changes"
    assert first[1].count(b"\n") > 10
    assert output(tmp_path, "second", predictions, labels) == first
    for rows in (37, 100_000):
        monkeypatch.setattr(module, "CHUNK_ROWS", rows)
        again = output(tmp_path, "again", predictions, labels)
        assert [sorted(part.splitlines()) for part in again[:2]] == [
            sorted(part.splitlines()) for part in first[:2]
        ]
        assert again[2] == first[2]


def test_labels_that_come_before_their_predictions_are_joined(tmp_path: Path):
    summary, _, _ = run(
        tmp_path,
        [prediction(i) for i in range(10)],
        [label(i, ts=T - 5 * MINUTE) for i in range(10)],
    )
    assert (summary.totals["joined"], summary.totals["orphan_labels"]) == (10, 0)


def test_a_label_without_a_time_comes_right_after_its_prediction(tmp_path: Path):
    summary, windows, _ = run(
        tmp_path,
        [prediction(i) for i in range(200)],
        [label(i) for i in range(200)],
        {"m": MonitorSpec(model="m", warmup=100)},
    )
    assert summary.totals["joined"] == 200
    # At its first close each window has its outcomes: no label waited for a later one.
    closed = [w.counts for w in windows if w.revision == 1][-2:]
    assert [counts["outcomes"] for counts in closed] == [counts["predictions"] for counts in closed]
    assert closed[0]["predictions"] == 60


def test_a_label_that_nobody_predicted_takes_the_time_of_the_one_before(tmp_path: Path):
    summary, _, _ = run(tmp_path, [prediction(0)], [label(0), label(77), label(78, ts=T + 1)])
    assert (summary.totals["joined"], summary.totals["orphan_labels"]) == (1, 2)
    assert summary.rejected_by_reason == {}


def test_a_tie_in_time_counts_the_prediction_first_and_the_label_after_it(tmp_path: Path):
    summary, windows, _ = run(
        tmp_path,
        [prediction(0, ts=T), prediction(0, ts=T, prediction="0"), prediction(1, ts=T)],
        [label(0, ts=T), label(0, ts=T, label="0"), label(1, ts=T)],
    )
    assert {k: summary.totals[k] for k in ("predictions", "joined", "duplicates")} == {
        "predictions": 3, "joined": 2, "duplicates": 1
    }  # fmt: skip
    assert len(windows) >= 1


def test_the_arrival_field_decides_what_is_late(tmp_path: Path):
    late = prediction(0, arrival=T + 3 * 60 * MINUTE)
    summary, _, _ = run(tmp_path, [prediction(1), late])
    assert summary.totals["late"] == 1
    on_time, _, _ = run(tmp_path, [prediction(1), prediction(0)])
    assert on_time.totals["late"] == 0


def test_what_is_refused_is_counted_by_reason_and_disturbs_nothing_else(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    bad = [b"not json", orjson.dumps(prediction(1) | {"ts": 1_793_500_000})]
    no_time = prediction(2)
    del no_time["ts"]
    good = [orjson.dumps(prediction(i)) for i in (3, 4)]
    path.write_bytes(b"\n".join([*bad, orjson.dumps(no_time), *good]))
    sink = Results()
    replay = Replay([EventFile(path)], [], Monitors(), sink)
    replay.run()
    summary = summarise(replay, sink, seconds=1.0)
    assert summary.rejected_by_reason == {"bad_ts": 1, "no_ts": 1, "not_json": 1}
    assert (summary.totals["rejected"], summary.totals["predictions"]) == (3, 2)


def test_orphans_are_labels_that_expired_and_those_still_waiting_at_the_end(tmp_path: Path):
    predictions = [prediction(i, ts=T + i * 60 * MINUTE) for i in range(40)]
    orphans = [label(900, ts=T), label(901, ts=T + 39 * 60 * MINUTE)]
    summary, _, _ = run(tmp_path, predictions, orphans)
    assert summary.totals["orphan_labels"] == 2


def test_every_window_closes_at_the_end_of_the_files(tmp_path: Path):
    _, windows, _ = run(tmp_path, [prediction(i) for i in range(90)])
    assert sum(window.counts["predictions"] for window in windows) == 90


def test_an_empty_file_is_an_empty_summary(tmp_path: Path):
    summary, windows, alerts = run(tmp_path, [])
    assert summary.totals["predictions"] == 0
    assert (windows, alerts, summary.subjects) == ([], [], {})


def test_outcomes_need_no_labels_file(tmp_path: Path):
    outcomes = [prediction(i, label="1" if i % 4 else "0") for i in range(100)]
    summary, _, _ = run(tmp_path, outcomes)
    assert summary.totals["joined"] == 100
    assert summary.totals["labels"] == 100


def test_latency_and_attributions_of_a_file_are_watched_and_shown(tmp_path: Path):
    dice = random.Random(4)

    def served(i: int) -> Event:
        slow, turned = (2.0 if i >= 4_000 else 1.0), (0.5 if i >= 4_500 else 0.1)
        return prediction(
            i,
            ts=T + i * 5_000,
            features={"age": dice.gauss(0, 1)},
            latency_ms=dice.lognormvariate(2, 0.3) * slow,
            attributions={"age": dice.gauss(0, turned)},
        )

    specs = {"m": MonitorSpec(model="m", warmup=2_000)}
    _, windows, alerts = run(tmp_path, [served(i) for i in range(6_000)], specs=specs)
    opened = {alert.signal: alert.kind for alert in alerts if alert.reason == "opened"}
    assert opened == {"latency": "latency", "attribution:age": "attribution_drift"}
    shown = [window.signals["latency"]["p95"] for window in windows if window.revision == 1]
    assert 10 < shown[0] < 15
    assert 20 < shown[-1] < 30
