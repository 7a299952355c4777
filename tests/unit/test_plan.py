"""`check --plan`: what a monitor costs is what the built monitor has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from detectors.engine import new, snapshot
from detectors.reference import profiling
from detectors.reference.profile import AttributionProfile, ReferenceProfile, UnsupportedProfile
from detectors.spec import DetectorSpec, MonitorSpec, Threshold
from driftline.errors import UsageError
from driftline.subject import Subject
from streams.cli.check import amount, size
from streams.monitors.load import Monitors
from streams.offline.plan import LABEL_BYTES, PENDING_BYTES, ModelPlan, per_second, plan
from tests.unit.test_cli import run

DICE = np.random.default_rng(3)
DAY_S = 86_400


def profile(features: int, *, days: int = 2, n: int = 6_000) -> ReferenceProfile:
    numbers = {f"x{i}": profiling.numeric(DICE.normal(size=n), 0) for i in range(features)}
    country = profiling.categorical(["DE", "FR"], DICE.integers(0, 2, n), "text")
    return ReferenceProfile(
        model="m",
        version="1",
        origin="build",
        n=n,
        start="2026-11-01T00:00:00.000Z",
        end=f"2026-11-{1 + days:02}T00:00:00.000Z",
        task="binary",
        positive="b",
        classes={"a": n // 2, "b": n // 2},
        features={**numbers, "country": country, "tags": UnsupportedProfile(n=n, missing=0)},
        score=profiling.numeric(DICE.uniform(size=n), 0),
    )


def planned(reference: ReferenceProfile | None, rate: float | None = None, **spec: object):
    made = MonitorSpec(model="m", **spec)  # type: ignore[arg-type]
    references = {} if reference is None else {"m": reference}
    (only,) = plan(Monitors({"m": made}, references), rate)
    return only


def test_without_a_reference_it_says_that_signals_are_learned():
    found = planned(None, warmup=700, false_alarms=0.5)
    assert found.reference == "learned from the first 700 rows"
    assert (found.signals, found.state_bytes, found.series) == (None, None, None)
    assert (found.budget, found.expected) == (0.5, 0.5)


def test_signals_are_those_of_the_reference_by_family():
    found = planned(profile(4), thresholds=(Threshold(metric="recall", below=0.5),))
    assert found.signals is not None
    assert found.signals["feature values"] == 5
    assert found.signals["prediction and score"] == 1
    assert found.signals["missing"] == 6  # an array can be missing, too
    assert found.signals["error"] == 1
    assert found.signals["thresholds"] == 1
    assert found.untested == 1


def test_what_predictions_come_with_is_counted_by_family():
    values = profiling.numeric(DICE.normal(size=6_000))
    shown = {f"x{i}": AttributionProfile(values=values, weight=1.0) for i in range(3)}
    found = planned(replace(profile(4), latency=values, attributions=shown))
    assert found.signals is not None
    assert (found.signals["latency"], found.signals["attributions"]) == (1, 3)
    assert found.signals["prediction and score"] == 1
    assert found.expected <= 1.0 + 1e-9
    bare = planned(profile(4))
    assert bare.signals is not None
    assert {"latency", "attributions"}.isdisjoint(bare.signals)
    assert (found.state_bytes or 0) > (bare.state_bytes or 0)


def test_only_watched_features_count():
    found = planned(profile(4), features=("x0",))
    assert found.signals is not None
    assert found.signals["feature values"] == 1


def test_state_is_what_a_checkpoint_of_the_fresh_monitor_holds_beside_its_reference():
    few, many = planned(profile(2)), planned(profile(30))
    assert few.state_bytes is not None
    assert many.state_bytes is not None
    reference = profile(2)
    whole = len(snapshot(new(Subject("m", "1"), MonitorSpec(model="m"), reference)))
    assert 0 < few.state_bytes < whole
    assert few.state_bytes < many.state_bytes
    assert few.series is not None
    assert few.series > 20


def test_at_the_traffic_of_the_reference_false_alarms_stay_in_the_budget_and_grow_with_traffic():
    reference = profile(4)
    usual = planned(reference)
    assert 0 < usual.expected <= 1.0 + 1e-9
    assert usual.traffic == pytest.approx(6_000 / (2 * DAY_S))
    assert planned(reference, usual.traffic).expected == pytest.approx(usual.expected)
    tenfold = planned(reference, 10 * (usual.traffic or 0))
    assert tenfold.expected == pytest.approx(10 * usual.expected, rel=0.01)
    allowed = planned(reference, false_alarms=10.0)
    assert usual.expected < allowed.expected <= 10.0


def test_detectors_outside_the_budget_are_told_with_what_was_measured_of_them():
    kswin = DetectorSpec(name="kswin", on=("feature:*", "score"), opens=True)
    ddm = DetectorSpec(name="ddm", on=("error",), params={"drift_threshold": 2.5})
    reference = profile(2)
    found = planned(reference, 10.0, detectors=("adwin",), configured=(kswin, ddm)).unbounded
    features = 3  # two numbers and a country
    week = 10 * 7 * DAY_S
    assert [(u.detector, u.on, u.opens, u.signals) for u in found] == [
        ("adwin", "every feature and the error", True, features),
        ("kswin", "feature:*, score", True, features + 1),
        ("ddm", "error", False, 0),  # this reference knows no error
    ]
    assert found[0].alarms == pytest.approx(0.12e-6 * features * week)
    assert found[1].alarms == pytest.approx(1_400e-6 * (features + 1) * week)
    assert found[2].alarms is None, "not measured at these settings"
    learned = planned(None, 10.0, configured=(kswin,)).unbounded
    assert [(u.signals, u.alarms) for u in learned] == [(None, None)]


def test_join_bytes_follow_rate_and_horizon():
    found = planned(None, 100.0, horizon_ms=3_600_000).join
    assert found is not None
    assert (found.entries, found.shards) == (720_000, 1)
    assert found.bytes == 360_000 * PENDING_BYTES
    assert found.labelled_bytes == 360_000 * (PENDING_BYTES + LABEL_BYTES)
    week = planned(None, 100.0, horizon_ms=7 * DAY_S * 1_000).join
    assert week is not None
    assert week.shards == 61
    assert planned(None).join is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100/s", 100.0), ("6000/min", 100.0), ("0.5/h", 0.5 / 3_600), ("86400/day", 1.0)],
)
def test_a_rate_is_a_number_per_unit(text: str, expected: float):
    assert per_second(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["100", "x/s", "0/s", "5/week", "-1/s"])
def test_what_is_no_rate_is_refused_with_what_to_write(text: str):
    with pytest.raises(UsageError, match="write a number and a unit, as 100/s"):
        per_second(text)


def test_numbers_are_written_for_people():
    assert [size(n) for n in (5, 2_048, 3 << 20, 3 << 29)] == [
        "5 bytes",
        "2 KiB",
        "3 MiB",
        "1.5 GiB",
    ]
    assert [amount(x) for x in (0.123, 1.0, 99.0, 40_945.2)] == ["0.12", "1", "99", "40,945"]


def test_the_command_prints_a_table_and_json(tmp_path: Path):
    reference = tmp_path / "m.json"
    reference.write_bytes(profile(3).to_json())
    path = tmp_path / "m.yaml"
    path.write_text(
        "model: m\nreference: m.json\nlabels: {horizon: 7d}\n"
        "drift: {detectors: [{name: kswin, on: 'feature:*', opens: true}]}\n"
    )
    shown = run("check", path, "--plan", "--rate", "100/s")
    assert shown.exit_code == 0, shown.output
    for text in (
        "m@1, 6,000 rows",
        "feature values",
        "its reference has",
        "needs 61 partitions",
        "outside the budget",
        "on feature:*: opens alerts",
        "alarms a week if nothing",
    ):
        assert text in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[1:])) <= 80
    (found,) = json.loads(run("check", path, "--plan", "--json").stdout)["plan"]
    assert set(found) == set(ModelPlan.__dataclass_fields__)
    assert "plan" not in json.loads(run("check", path, "--json").stdout)


def test_a_wrong_file_is_told_before_any_plan(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text("model: m\ntask: binry\n")
    shown = run("check", path, "--plan")
    assert shown.exit_code == 3
    assert "signals" not in shown.stdout


def test_a_reference_of_few_rows_tests_nothing():
    found = planned(replace(profile(2, n=100), n=100))
    assert found.signals == {
        "error": 1,
        "labels and residuals": 1,
        "label delay": 6,
        "volume": 1,
    }
