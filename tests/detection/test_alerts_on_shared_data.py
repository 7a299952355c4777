"""The published sets, replayed as a user would: what alerts come, and how long after the change.

The reference is the set's own file; task and positive class are given; all else is default.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.detection.test_shared_data import DATA, invoke, rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here"),
]

WATCHED = ("_drift", "performance", "data_quality")
STEADY = ("volume", "label_delay")
"""What no set has an incident of, and none may be made of its end."""


@dataclass(frozen=True)
class Replayed:
    """A replay: its alerts, and the events in order."""

    name: str
    alerts: list[dict[str, Any]]
    times: list[str]

    def opened(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [a for a in self.alerts if a["reason"] == "opened" and kind in (None, a["kind"])]

    def event_of(self, alert: dict[str, Any]) -> int:
        """How many events had come when the alert could first be known."""
        return sum(ts <= alert["detected_at"] for ts in self.times)


@cache
def replayed(name: str, settings: str) -> Replayed:
    import json

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        model = rows(name, "reference")[0]["model"]
        invoke("reference", "build", DATA / name / "reference.jsonl.gz",
               "--out", here / "m.profile.json")  # fmt: skip
        (here / "m.yaml").write_text(f"model: {model}\n{settings}reference: m.profile.json\n")
        invoke(
            *("replay", "--json", "--config", here / "m.yaml", "--alerts", here / "alerts.jsonl"),
            *("--predictions", DATA / name / "predictions.jsonl.gz"),
            *("--labels", DATA / name / "labels.jsonl.gz"),
        )
        alerts = [json.loads(line) for line in (here / "alerts.jsonl").read_text().splitlines()]
    assert [a["summary"] for a in alerts if a["kind"] in STEADY] == []
    times = sorted(row["ts"] for row in rows(name, "predictions"))
    return Replayed(name, alerts, times)


BINARY = "task: binary\npositive: '1'\n"


def test_car_loan(capsys):
    run = replayed("nannyml_car_loan", BINARY + "labels: {horizon: 15d}\n")
    found = {a["signal"]: run.event_of(a) for a in reversed(run.opened())}
    say(capsys, "car loan", {name: at - 25_000 for name, at in found.items()})
    assert min(found.values()) > 25_000
    for name in ("car_value", "loan_length", "repaid_loan_on_prev_car", "salary_range"):
        assert 25_000 < found[f"feature:{name}"] <= 26_000, name
    for name in ("debt_to_income_ratio", "size_of_downpayment", "driver_tenure"):
        assert f"feature:{name}" not in found
    assert [a["signal"] for a in run.alerts if a["reason"] == "recovered"] == []


@pytest.mark.parametrize(
    ("name", "worse"), [("sea_abrupt", (6_000, 34_000)), ("tornado_sine1", (12_000, 52_000))]
)
def test_changes_of_the_concept(name, worse, capsys):
    run = replayed(name, BINARY)
    opened = run.opened("concept_drift")
    labels = rows(name, "labels")
    predicted = rows(name, "predictions")
    first = min(a["detected_at"] for a in opened)
    assert first > predicted[worse[0]]["ts"]
    assert run.opened("feature_drift") == []
    delays = []
    for change in worse:
        ids = {row["prediction_id"] for row in predicted[change:]}
        after = sorted(row["ts"] for row in labels if row["prediction_id"] in ids)
        known = [a["detected_at"] for a in opened if a["detected_at"] >= after[0]]
        delays.append(sum(ts <= min(known) for ts in after))
    say(capsys, name, delays)
    assert all(delay <= 600 for delay in delays)


def test_elec2(capsys):
    run = replayed("elec2", BINARY)
    found = {a["signal"]: run.event_of(a) for a in reversed(run.opened("feature_drift"))}
    say(capsys, "elec2", {name: at - 8_784 for name, at in found.items()})
    for name in ("vicprice", "vicdemand", "transfer"):
        assert 8_784 < found[f"feature:{name}"] <= 9_784, name


def test_bike_sharing(capsys):
    run = replayed("bike_sharing", "task: regression\n")
    story = [a for a in run.alerts if a["kind"] == "performance" and a["signal"] == "error"]
    say(capsys, "bike", [(a["detected_at"], a["reason"], a["severity"]) for a in story])
    assert "2012-03-01" <= story[0]["detected_at"] < "2012-09-01"
    assert (story[-1]["status"], story[-1]["severity"]) == ("firing", "critical")


def test_adult(capsys):
    run = replayed("adult", BINARY)
    assert [(a["kind"], a["signal"]) for a in run.alerts if a["kind"].endswith(WATCHED)] == []


def say(capsys, name: str, delays: Any) -> None:
    with capsys.disabled():
        print(f"\n{name}: {delays}")
