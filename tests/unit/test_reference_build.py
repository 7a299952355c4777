"""Reference profiles from files: predictions, outcomes, labels beside them, and bare tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from detectors.reference.profile import from_json
from detectors.spec import MonitorSpec
from driftline.errors import CheckpointError, UsageError
from streams.cli import app
from streams.monitors.load import Monitors
from streams.offline.files import EventFile
from streams.offline.reference_build import build_profile
from streams.offline.tables import ColumnMap

T = 1_793_500_000_000


def outcome(i: int, **fields: Any) -> dict[str, Any]:
    base = {"prediction_id": f"p{i}", "model": "m", "version": "1", "ts": T + i * 1000}
    seen = {"features": {"x": i % 10, "c": "a" if i % 4 else None}, "prediction": str(i % 2)}
    return base | seen | fields


def write(path: Path, events: list[dict[str, Any]]) -> EventFile:
    path.write_bytes(b"\n".join(map(orjson.dumps, events)))
    return EventFile(path)


def test_outcomes_give_features_and_the_error(tmp_path: Path):
    events = [outcome(i, label="1") for i in range(200)]
    profile, counts = build_profile([write(tmp_path / "o.jsonl", events)], Monitors())
    assert (profile.model, profile.version, profile.n) == ("m", "1", 200)
    assert profile.error is not None
    assert (profile.error.n, profile.error.mean) == (200, 0.5)
    assert profile.features["c"].missing == 50
    assert profile.start == "2026-11-01T02:26:40.000Z"
    assert (counts.predictions, counts.labels) == (200, 200)


def test_labels_in_a_file_of_their_own_give_the_same_profile(tmp_path: Path):
    predictions = write(tmp_path / "p.jsonl", [outcome(i) for i in range(200)])
    labels = write(
        tmp_path / "l.jsonl", [{"prediction_id": f"p{i}", "label": "1"} for i in range(200)]
    )
    apart, _ = build_profile([predictions, labels], Monitors())
    together = [outcome(i, label="1") for i in range(200)]
    assert apart == build_profile([write(tmp_path / "o.jsonl", together)], Monitors())[0]


def test_latency_attributions_and_hours_are_part_of_the_profile(tmp_path: Path):
    minute, n = 60_000, 24_480
    events = [
        outcome(
            i,
            ts=T + i * minute,
            latency_ms=5 + i % 60,
            attributions={"x": i % 7 - 3, "c": 0.1} if i % 2 else {"x": 0.5},
        )
        for i in range(n)
    ]
    profile, _ = build_profile([write(tmp_path / "p.jsonl", events)], Monitors())
    assert profile.latency is not None
    assert (profile.latency.n, profile.latency.missing, profile.latency.low) == (n, 0, 5.0)
    assert {name: a.values.missing for name, a in profile.attributions.items()} == {
        "c": n // 2,
        "x": 0,
    }
    assert profile.attributions["c"].weight == pytest.approx(0.05)
    hourly = profile.hourly["latency"].counts
    assert len(hourly) == 24
    assert sum(map(sum, hourly)) == n
    assert from_json(profile.to_json()) == profile
    content = profile.to_json()
    assert b'"latency": {' in content
    with pytest.raises(CheckpointError, match="changed after it was built"):
        from_json(content.replace(b'"weight": 0.05', b'"weight": 0.06'))
    table = tmp_path / "no_time.csv"
    table.write_text("x\n" + "\n".join(f"{i % 7}" for i in range(100)))
    monitors = Monitors({"m": MonitorSpec(model="m", task="binary")})
    assert build_profile([EventFile(table)], monitors, model="m", version="1")[0].hourly == {}


def test_one_of_several_versions_has_to_be_chosen(tmp_path: Path):
    events = [outcome(i, version=str(i % 2)) for i in range(20)]
    file = write(tmp_path / "p.jsonl", events)
    with pytest.raises(UsageError, match=r"m@0, m@1; choose by --model, --version"):
        build_profile([file], Monitors())
    chosen, _ = build_profile([file.again()], Monitors(), version="1")
    assert (chosen.version, chosen.n) == ("1", 10)
    with pytest.raises(UsageError, match="there are m@0, m@1"):
        build_profile([file.again()], Monitors(), version="7")


def test_a_bare_table_needs_no_id_no_time_and_no_prediction(tmp_path: Path):
    path = tmp_path / "training.csv"
    path.write_text("x,c\n" + "\n".join(f"{i % 7},v{i % 3}" for i in range(100)))
    monitors = Monitors({"m": MonitorSpec(model="m", task="binary")})
    profile, _ = build_profile([EventFile(path)], monitors, model="m", version="1")
    assert (profile.n, profile.start, profile.prediction) == (100, None, None)
    assert sorted(profile.features) == ["c", "x"]
    assert from_json(profile.to_json()) == profile
    with pytest.raises(UsageError, match="say `task:`"):
        build_profile([EventFile(path)], Monitors(), model="m", version="1")


def test_a_table_with_predictions_and_labels_gives_the_error(tmp_path: Path):
    path = tmp_path / "scored.csv"
    path.write_text("x,out,truth\n" + "\n".join(f"{i},{i % 2},1" for i in range(100)))
    columns = ColumnMap.parse(["prediction=out", "label=truth", "model:=m", "version:=1.10"])
    profile, _ = build_profile([EventFile(path, columns=columns)], Monitors())
    assert profile.version == "1.10"
    assert profile.error is not None
    assert profile.error.mean == 0.5


def test_without_a_usable_row_the_first_reason_is_told(tmp_path: Path):
    bad = write(tmp_path / "p.jsonl", [{"prediction_id": "p"}, {"prediction_id": 7}])
    with pytest.raises(UsageError, match="no usable predictions; refused 1 rows as bad_id: "):
        build_profile([bad], Monitors())
    with pytest.raises(UsageError, match="the files are empty"):
        build_profile([write(tmp_path / "e.jsonl", [])], Monitors())


def test_the_command_writes_what_a_monitor_file_can_name(tmp_path: Path):
    file = write(tmp_path / "o.jsonl", [*(outcome(i, label="1") for i in range(200)), {"x": 1}])
    out = tmp_path / "m.profile.json"
    result = CliRunner().invoke(app, ["reference", "build", str(file.path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: m@1, 200 rows, 2 features, binary\n"
    assert "refused 1 rows as missing_field" in result.stderr
    (tmp_path / "m.yaml").write_text("model: m\nreference: m.profile.json\n")
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "m.yaml")])
    assert checked.exit_code == 0, checked.output
