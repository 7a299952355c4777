"""Sweeps: one replay per setting, judged against known changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from detectors.spec import MonitorSpec
from driftline.alerts import Alert
from driftline.errors import UsageError
from streams.cli.sweep import show
from streams.monitors.load import MonitorError, Monitors
from streams.offline.files import EventFile
from streams.offline.replay import Feed, Replay
from streams.offline.summary import Results
from streams.offline.sweep import Caught, Trial, changes, monitors_with, settings, sweep
from streams.offline.sweep_plot import check_plot, plot
from tests.unit.test_cli import run

T = 1_793_500_000_000
MINUTE = 60_000
CHANGE = 1_500


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """2,400 predictions of `m`, right until row 1,500 and mostly wrong after it."""
    folder = tmp_path_factory.mktemp("sweep")
    times = [T + i * MINUTE for i in range(2_400)]
    predictions = [
        {"prediction_id": f"p{i}", "model": "m", "version": "1", "ts": ts, "prediction": "a"}
        for i, ts in enumerate(times)
    ]
    labels = [
        {"prediction_id": f"p{i}", "ts": ts + 1_000,
         "label": "a" if i % 10 and (i < CHANGE or i % 5 == 1) else "b"}
        for i, ts in enumerate(times)
    ]  # fmt: skip
    paths = folder / "p.jsonl", folder / "l.jsonl"
    for path, events in zip(paths, (predictions, labels), strict=True):
        path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return paths


def feed(files: tuple[Path, Path]) -> Feed:
    return Feed([EventFile(files[0])], [EventFile(files[1], role="labels")])


def test_a_kept_feed_gives_every_run_what_the_files_give_one(files: tuple[Path, Path]):
    monitors = Monitors({"m": MonitorSpec(model="m", warmup=700)})
    whole = feed(files)
    whole.keep()
    found: list[list[Alert]] = []
    for source in (whole, whole, feed(files)):
        sink = Results()
        Replay.over(source, monitors, sink).run()
        found.append([incident.alert for incident in sink.latest.values()])
    assert found[0]
    assert found[0] == found[1] == found[2]


def test_each_setting_says_when_the_change_was_caught_in_rows_and_labels(files: tuple[Path, Path]):
    changed = [T + CHANGE * MINUTE]
    done: list[int] = []
    trials = sweep(
        feed(files), None, settings(["reference=warmup 500,warmup 2200"]), changed, done.append
    )
    assert done == [1, 2]
    caught = trials[0].caught[0]
    assert caught is not None
    assert (caught.model, caught.version) == ("m", "1")
    assert 5 <= caught.rows <= 400
    # Each label comes a second after its prediction: where one stands, so does the other.
    assert abs(caught.labels - caught.rows) <= 1
    assert trials[0].before == 0
    assert trials[0].opened >= 1
    assert trials[1] == Trial({"reference": "warmup 2200"}, 0, 0, [None])


def test_without_a_change_every_alert_is_false(files: tuple[Path, Path]):
    (trial,) = sweep(feed(files), None, settings(["reference=warmup 500"]), [])
    assert trial.before == trial.opened >= 1
    assert trial.caught == []


def test_settings_are_every_combination_in_the_order_given():
    assert settings(["drift.false_alarms=0.1, 1 per day", "windows.size=1h,1d"]) == [
        {"drift.false_alarms": "0.1 per week", "windows.size": "1h"},
        {"drift.false_alarms": "0.1 per week", "windows.size": "1d"},
        {"drift.false_alarms": "1 per day", "windows.size": "1h"},
        {"drift.false_alarms": "1 per day", "windows.size": "1d"},
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["windows.size"], "write KEY=VALUE,VALUE"),
        (["windows.size=1h,"], "write KEY=VALUE,VALUE"),
        (["a=1", "a=2"], "stands twice"),
        ([f"{key}={','.join(map(str, range(15)))}" for key in "ab"], "225 settings are too many"),
    ],
)
def test_a_sweep_that_is_no_sweep_is_refused(given: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        settings(given)


def test_changes_are_times_days_and_times_in_utc_in_order():
    late, early = "2026-11-02T12:00:00+01:00", "2026-11-01"
    assert changes([late, early, "2026-11-01T06:00:00"]) == [
        1_793_491_200_000, 1_793_512_800_000, 1_793_617_200_000
    ]  # fmt: skip
    with pytest.raises(UsageError, match="write a time"):
        changes(["yesterday"])


def test_a_setting_stands_where_its_key_points_to(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text("model: m\nthresholds: [{metric: recall, below: 0.5}]\nlabels: none\n")
    setting = {"thresholds.0.below": "0.7", "windows.size": "2h"}
    only = monitors_with(path, ["m"], setting | {"drift.false_alarms": "2 per week"})
    assert only.spec("m").thresholds[0].below == 0.7
    assert (only.spec("m").false_alarms, only.spec("m").window_ms) == (2.0, 7_200_000)
    both = monitors_with(path, ["m", "other"], {"windows.size": "2h"})
    assert both.spec("other").window_ms == 7_200_000


def test_a_wrong_setting_is_told_as_in_a_file(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text("model: m\nthresholds: [{metric: recall, below: 0.5}]\n")
    with pytest.raises(MonitorError, match=r"windows\.sise: unknown key; did you mean `size`"):
        monitors_with(path, [], {"windows.sise": "1h"})
    with pytest.raises(MonitorError, match=r"windows\.size: '60' is not a duration"):
        monitors_with(None, ["m"], {"windows.size": "60"})
    with pytest.raises(UsageError, match=r"no entry thresholds\.1; the first is 0"):
        monitors_with(path, [], {"thresholds.1.below": "0.5"})


CAUGHT = Caught("m", "1", "concept_drift", "error", "2026-11-01T06:00:00.000Z", 1_234, 1_200)
TRIALS = [
    Trial({"drift.false_alarms": "0.1 per week"}, 1, 0, [CAUGHT, None]),
    Trial({"drift.false_alarms": "10 per week"}, 6, 3, [CAUGHT, CAUGHT]),
]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(capsys: pytest.CaptureFixture[str], width: int):
    show(TRIALS, ["2026-11-01 00:00", "2026-11-02 00:00"], Console(width=width))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "1,234 rows" in out
    assert "missed" in out


def test_the_plot_is_a_png_of_some_size(tmp_path: Path):
    plot(TRIALS, [T, T + MINUTE], tmp_path / "p.png")
    content = (tmp_path / "p.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20]) == 960
    with pytest.raises(UsageError, match="cannot be written"):
        plot(TRIALS, [T, T + MINUTE], tmp_path / "gone" / "p.png")


def test_a_plot_that_cannot_be_is_refused_before_any_replay(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="--change-at"):
        check_plot([])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("streams.offline.sweep_plot.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'driftline\[plot\]'"):
        check_plot([T])


def test_the_command_prints_trials_and_refuses_what_would_do_nothing(files: tuple[Path, Path]):
    inputs = ["--predictions", files[0], "--labels", files[1]]
    sweeping = ["--sweep", "reference=warmup 500", "--change-at", "2026-11-01"]
    out = run("replay", *inputs, *sweeping, "--json")
    assert out.exit_code == 0, out.output
    found = json.loads(out.stdout)
    assert found["changes"] == ["2026-11-01T00:00:00.000Z"]
    assert found["trials"][0]["setting"] == {"reference": "warmup 500"}
    assert "is for one replay" in run("replay", *inputs, *sweeping, "--alerts", "a.jsonl").stderr
    alone = run("replay", *inputs, "--change-at", "2026-11-01")
    assert (alone.exit_code, "needs --sweep" in alone.stderr) == (2, True)
