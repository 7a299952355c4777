"""Replay over published data sets whose changes are known. They lie beside the repository."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli import app

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the shared data sets do not lie beside this repository"
)

LABELS_ALLOWED = 1_000
"""Labels after a change for the worse within which it must be known."""


def rows(name: str, kind: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name / f"{kind}.jsonl.gz") as file:
        return [json.loads(line) for line in file]


@cache
def replayed(name: str, positive: str, *, pinned: bool) -> tuple[dict[str, Any], list[Any]]:
    """(closing summary, alert events) of a replay; `pinned`: reference from the set's own file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        model = rows(name, "reference")[0]["model"]
        monitor = f"model: {model}\ntask: binary\npositive: '{positive}'\n"
        if pinned:
            invoke("reference", "build", DATA / name / "reference.jsonl.gz",
                   "--out", here / "m.profile.json")  # fmt: skip
            monitor += "reference: m.profile.json\n"
        (here / "m.yaml").write_text(monitor)
        out = invoke(
            *("replay", "--json", "--config", here / "m.yaml", "--alerts", here / "alerts.jsonl"),
            *("--predictions", DATA / name / "predictions.jsonl.gz"),
            *("--labels", DATA / name / "labels.jsonl.gz"),
        )
        alerts = [json.loads(line) for line in (here / "alerts.jsonl").read_text().splitlines()]
        return json.loads(out), alerts


def invoke(*args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("pinned", [True, False], ids=["reference file", "warm-up"])
def test_sea_joins_every_row_and_its_accuracy_is_exact(pinned: bool):
    summary, _ = replayed("sea_abrupt", "1", pinned=pinned)
    counts = {k: summary[k] for k in ("predictions", "labels", "joined", "duplicates")}
    assert counts == {"predictions": 48_000, "labels": 48_000, "joined": 48_000, "duplicates": 0}
    assert (summary["orphan_labels"], summary["late"], summary["rejected"]) == (0, 0, 0)
    truth = {row["prediction_id"]: row["label"] for row in rows("sea_abrupt", "labels")}
    predicted = rows("sea_abrupt", "predictions")
    right = sum(truth[row["prediction_id"]] == row["prediction"] for row in predicted)
    (subject,) = summary["subjects"].values()
    assert subject["metrics"]["accuracy"] == right / 48_000


@pytest.mark.parametrize("pinned", [True, False], ids=["reference file", "warm-up"])
def test_sea_opens_a_concept_alert_within_a_thousand_labels_of_each_change_for_the_worse(
    pinned: bool,
):
    _, alerts = replayed("sea_abrupt", "1", pinned=pinned)
    predicted = rows("sea_abrupt", "predictions")
    labels = rows("sea_abrupt", "labels")
    opened = [a for a in alerts if a["kind"] == "concept_drift" and a["reason"] == "opened"]
    for change in (6_000, 34_000):
        changed_at = predicted[change]["ts"]
        ids = {row["prediction_id"] for row in predicted[change:]}
        after = [row["ts"] for row in labels if row["prediction_id"] in ids]
        last = sorted(after)[LABELS_ALLOWED - 1]
        delays = [
            sum(ts <= alert["detected_at"] for ts in after)
            for alert in opened
            if changed_at <= alert["detected_at"] <= last
        ]
        assert delays, (changed_at, last, [a["detected_at"] for a in opened])
        print(
            f"sea_abrupt {'pinned' if pinned else 'warm-up'}: {change} after {min(delays)} labels"
        )


@pytest.mark.parametrize("pinned", [True, False], ids=["reference file", "warm-up"])
def test_sea_has_no_feature_drift_and_raises_none(pinned: bool):
    _, alerts = replayed("sea_abrupt", "1", pinned=pinned)
    assert [a["signal"] for a in alerts if a["kind"] == "feature_drift"] == []


@pytest.mark.parametrize("pinned", [True, False], ids=["reference file", "warm-up"])
def test_adult_is_a_control_and_raises_no_drift_alert_at_all(pinned: bool):
    summary, alerts = replayed("adult", "1", pinned=pinned)
    assert summary["joined"] == 16_281
    assert [(a["kind"], a["signal"]) for a in alerts if a["kind"].endswith("_drift")] == []
