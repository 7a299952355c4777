"""The rows behind an alert, from the files that a replay read."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from driftline.alerts import Alert, Span, encode
from driftline.evidence import Evidence, Histogram
from streams.cli.app import app
from streams.kafka.records import Record
from streams.operators.evidence import Growth, Scope, find
from tests.notifying import make_alert
from tests.stream import make_stream
from tests.unit.test_replay import SPECS, run


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Alert]]:
    folder = tmp_path_factory.mktemp("evidence")
    stream = make_stream(2_400, clean=True)
    _, _, alerts = run(folder, stream.predictions, stream.labels, SPECS)
    (folder / "alerts.jsonl").write_bytes(b"".join(encode(a) + b"\n" for a in alerts))
    return folder, alerts


def ask(folder: Path, alert: str, *more: str) -> dict[str, object]:
    result = CliRunner().invoke(
        app,
        [
            *("evidence", alert, "--json", "--alerts", str(folder / "alerts.jsonl")),
            *("--predictions", str(folder / "p.jsonl"), "--labels", str(folder / "l.jsonl"), *more),
        ],
    )
    assert result.exit_code == 0, result.output
    answer: dict[str, object] = orjson.loads(result.stdout)
    return answer


def test_a_feature_alert_shows_the_rows_in_the_bins_that_grew_and_all_that_match(
    replayed: tuple[Path, list[Alert]],
):
    folder, alerts = replayed
    alert = next(a for a in alerts if a.signal == "feature:size" and a.reason == "opened")
    said = ask(folder, alert.id[:13], "--limit", "15")
    scope = Scope.of(alert)
    lines = [orjson.loads(line) for line in (folder / "p.jsonl").read_bytes().splitlines()]
    there = [
        at
        for at, e in enumerate(lines)
        if (e["model"], e["version"]) == ("price", "a") and scope.start <= e["ts"] < scope.end
        and e["arrival"] <= scope.known
    ]  # fmt: skip
    assert said["matched"] == len(there) > 40
    (where,) = said["offsets"]
    assert (where["first"], where["last"]) == (there[0], there[-1])
    rows = said["rows"]
    assert len(rows) == 15
    assert all(row["value"] > 199 for row in rows), "beyond the reference: the bin that grew"
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)
    assert {row["prediction_id"] for row in rows} <= {lines[at]["prediction_id"] for at in there}
    assert any(row["label"] is not None for row in rows)


def test_an_alert_about_errors_shows_rows_with_the_labels_known_by_then(
    replayed: tuple[Path, list[Alert]],
):
    folder, alerts = replayed
    alert = next(a for a in alerts if a.signal == "error")
    said = ask(folder, alert.fingerprint)
    assert said["subject"] == "fraud@1"
    truth = {
        e["prediction_id"]: e
        for e in map(orjson.loads, (folder / "l.jsonl").read_bytes().splitlines())
    }
    for row in said["rows"]:
        known = truth[row["prediction_id"]]["arrival"] <= Scope.of(alert).known
        assert row["label"] == (truth[row["prediction_id"]]["label"] if known else None)


def test_a_table_for_people_names_the_offsets_on_stderr(replayed: tuple[Path, list[Alert]]):
    folder, alerts = replayed
    result = CliRunner().invoke(
        app,
        [
            *("evidence", alerts[0].id, "--alerts", str(folder / "alerts.jsonl")),
            *("--predictions", str(folder / "p.jsonl")),
        ],
    )
    assert result.exit_code == 0
    assert "p.jsonl/0: offsets" in result.stderr
    assert "prediction" in result.stdout
    unknown = CliRunner().invoke(app, ["evidence", "zz", "--alerts", str(folder / "alerts.jsonl")])
    assert unknown.exit_code == 2


def test_segments_versions_times_and_late_arrivals_are_left_out():
    alert = make_alert(
        segment={"region": "eu"},
        window=Span("2026-11-01T06:00:00.000Z", "2026-11-01T07:00:00.000Z"),
        change_point="2026-11-01T06:30:00.000Z",
    )
    start = Scope.of(alert).start
    row = {"model": "fraud", "version": "v1", "prediction": 1, "segments": {"region": "eu"},
           "features": {}, "ts": start}  # fmt: skip
    rows = [
        row,
        row | {"version": "v2"},
        row | {"segments": {"region": "us"}},
        row | {"ts": start - 1},
        row | {"ts": start + 3_600_000},
        row | {"features": {"region": "eu"}, "segments": {}},
    ]
    records = [
        Record("p", 0, at, start, None, orjson.dumps(one | {"prediction_id": str(at)}), {})
        for at, one in enumerate(rows)
    ]
    late = Record("p", 0, 9, start + 9 * 3_600_000, None, records[0].value, {})
    found = find(alert, [*records, late], 10)
    assert [r.prediction_id for r in found.rows] == ["0", "5"]
    assert found.offsets == {("p", 0): (0, 5)}


def test_growth_is_by_shares_not_by_counts():
    alert = make_alert(evidence=Evidence(histogram=Histogram([0, 1, 2], [50, 50], [1, 3])))
    growth = Growth(alert)
    assert [growth.of(v) for v in (0.5, 1.5, 9.0, -1, "x", None)] == [
        *(-0.25, 0.25, 0.25, -0.25, -1.0, -1.0)
    ]
