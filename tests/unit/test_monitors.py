"""Monitor files: every key, and every error with its place and advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors.reference.profile import ReferenceProfile
from detectors.reference_builder import build
from detectors.remedy_spec import Remedy
from detectors.spec import MetricSpec, MonitorSpec, Threshold
from driftline.errors import ConfigError, UsageError
from streams.monitors.load import MonitorError, Monitors, inspect, load
from tests.monitored import SUBJECT, classifier, frames

FULL = """\
# yaml-language-server: $schema=...
model: fraud
task: binary
positive: fraud
classes: {fraud: ["1", yes], legit: ["0", no]}
labels: {horizon: 7d}
windows: {size: 15m, lateness: 0s}
features: [amount, country]
segments: [region, country]
fairness: [{group: region, metrics: [demographic_parity, equal_opportunity], tolerance: 0.1}]
metrics: [accuracy, precision, {name: cost, fn: 500, fp: 5}]
thresholds: [{metric: false_negative_rate, above: 0.15, for: 2 windows, severity: critical}]
drift: {false_alarms: 1 per week}
reference: warmup 500
alerts: {notify: [oncall, team-mail]}
remediation: [{on: {kind: concept_drift, severity: critical}, do: retrain, mode: dry-run}]
"""


def write(folder: Path, text: str, name: str = "m.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    return [str(problem).replace(str(path), "m.yaml") for problem in inspect([path]).problems]


def test_every_key_of_the_contract_is_read(tmp_path: Path):
    assert load(write(tmp_path, FULL)).spec("fraud") == MonitorSpec(
        model="fraud",
        task="binary",
        positive="fraud",
        classes={"fraud": ("1", "yes"), "legit": ("0", "no")},
        horizon_ms=7 * 86_400_000,
        window_ms=15 * 60_000,
        lateness_ms=0,
        features=("amount", "country"),
        segments=("region", "country"),
        metrics=(
            MetricSpec(name="accuracy"),
            MetricSpec(name="precision"),
            MetricSpec(name="cost", params={"fn": 500.0, "fp": 5.0}),
        ),
        thresholds=(
            Threshold(metric="false_negative_rate", above=0.15, for_windows=2, severity="critical"),
        ),
        false_alarms=1.0,
        warmup=500,
        remediation=(
            Remedy(
                name="retrain-on-concept_drift",
                action="retrain",
                kinds=("concept_drift",),
                severities=("critical",),
            ),
        ),
    )


def test_a_threshold_is_read_field_by_field(tmp_path: Path):
    text = (
        "model: m\nthresholds: [{name: late, metric: 'missing_rate:amount', above: 0.5,"
        " relative: last_week, for: 3 windows, clear: 0.2, min_samples: 7, severity: info}]"
    )
    assert load(write(tmp_path, text)).spec("m").thresholds == (
        Threshold(
            name="late",
            metric="missing_rate:amount",
            above=0.5,
            relative="last_week",
            for_windows=3,
            clear=0.2,
            min_samples=7,
            severity="info",
        ),
    )


@pytest.mark.parametrize(
    ("written", "per_week"),
    [
        ("1 per hour", 168.0),
        ("2 per day", 14.0),
        ("0.5 per week", 0.5),
        ("1 per month", 7 * 12 / 365.25),
        ("1 per year", 7 / 365.25),
    ],
)
def test_false_alarms_are_counted_per_week(tmp_path: Path, written: str, per_week: float):
    path = write(tmp_path, f"model: m\ndrift: {{false_alarms: {written}, detectors: [adwin]}}")
    spec = load(path).spec("m")
    assert spec.false_alarms == pytest.approx(per_week, rel=1e-12)
    assert spec.detectors == ("adwin",)


def test_what_is_not_in_force_yet_is_kept_and_said(tmp_path: Path):
    report = inspect([write(tmp_path, FULL)])
    assert report.problems == []
    assert {note.path for note in report.notes} == {
        "fairness"
    }  # fmt: skip
    assert set(report.files[0].later) == {"fairness"}


def test_a_monitor_names_who_hears_of_its_alerts_and_no_stage_is_touched_by_it(tmp_path: Path):
    named = load(write(tmp_path, "model: fraud\nalerts: {notify: [oncall, team-mail]}"))
    assert named.notify == {"fraud": ("oncall", "team-mail")}
    silent = load(write(tmp_path, "model: fraud\nalerts: {notify: []}"))
    assert silent.notify == {"fraud": ()}
    everyone = load(write(tmp_path, "model: fraud"))
    assert everyone.notify == {}
    assert everyone == named
    assert everyone.encode() == named.encode()


def test_without_a_file_a_model_has_the_defaults():
    monitors = load(None)
    assert monitors.spec("anything") == MonitorSpec(model="anything")
    assert monitors.reference("anything") is None
    assert monitors.settle_ms([]) == 3_600_000 + 600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task: binary", "m.yaml:1:1: `model` is missing; write `model: NAME`"),
        ("", "m.yaml:1:1: the file is empty; write at least `model: NAME`"),
        ("model: _x", "m.yaml:1:8: model: '_x' is no model name; use "),
        ("model: m\ntask: binry", "m.yaml:2:7: task: 'binry' is not known; did you mean `binary`?"),
        ("model: m\nlables: none", "m.yaml:2:9: lables: unknown key; did you mean `labels`?"),
        (
            "model: m\nlabels: {horizon: 7 days}",
            "m.yaml:2:19: labels.horizon: '7 days' is not a duration; write a number and a unit",
        ),
        (
            "model: m\nwindows:\n  size: 10ms",
            "m.yaml:3:9: windows.size: 10ms is too short; at least 1s",
        ),
        ("model: m\nfeatures: [a, a]", "m.yaml:2:15: features[1]: 'a' stands here twice"),
        ("model: m\nreference: warmup", "m.yaml:2:12: reference: expected a number"),
        (
            "model: m\nreference: warmup 5",
            "m.yaml:2:12: reference: 5 is out of range; at least 100",
        ),
        ("model: m\nreference: x.json", "m.yaml:2:12: reference: no such file: "),
        (
            "model: m\nmetrics:\n  - acuracy",
            "m.yaml:3:5: metrics[0]: 'acuracy' is not known; did you mean `accuracy`?",
        ),
        (
            "model: m\nthresholds: [{metric: recall}]",
            "m.yaml:2:14: thresholds[0]: give exactly one of `above` and `below`",
        ),
        (
            "model: m\nthresholds: [{metric: recall, below: 1, for: 2}]",
            "m.yaml:2:46: thresholds[0].for: '2': write a number of windows, as `2 windows`",
        ),
        (
            "model: m\nthresholds: [{metric: recall, below: 1, severity: warn}]",
            "m.yaml:2:51: thresholds[0].severity: 'warn' is not known; did you mean `warning`?",
        ),
        (
            "model: m\ndrift: {false_alarms: 3}",
            "m.yaml:2:23: drift.false_alarms: '3': write how many",
        ),
        (
            "model: m\ndrift: {detectors: [adwn]}",
            "m.yaml:2:21: drift.detectors[0]: 'adwn' is not known; did you mean `adwin`?",
        ),
        (
            "model: m\ndrift: {detectors: [ddm]}",
            "m.yaml:2:21: drift.detectors[0]: 'ddm' needs to know what it watches; write {name: ",
        ),
        (
            "model: m\ndrift: {detectors: [{name: fhddm, on: 'feature:a'}]}",
            "m.yaml:2:39: drift.detectors[0].on: fhddm counts errors (0 right, 1 wrong); write `on",
        ),
        (
            "model: m\ndrift: {detectors: [{name: kswin, on: scores}]}",
            "m.yaml:2:39: drift.detectors[0].on: 'scores' is no signal; did you mean `score`?",
        ),
        (
            "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {alfa: 0.1}}]}",
            "m.yaml:2:61: drift.detectors[0].params.alfa: unknown key; did you mean `alpha`?",
        ),
        (
            "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {alpha: 0}}]}",
            "m.yaml:2:62: drift.detectors[0].params.alpha: 0 is out of range; write one like 0.005",
        ),
        (
            "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {stat_size: 60}}]}",
            "m.yaml:2:54: drift.detectors[0].params: stat_size 60 is not within half of window 100",
        ),
        (
            "model: m\ndrift: {detectors: [{name: kswin, on: error, opens: 'true'}]}",
            "m.yaml:2:53: drift.detectors[0].opens: expected true or false, without quotes",
        ),
        (
            "model: m\ndrift: {detectors: [{name: ddm, on: error}, {name: ddm, on: error}]}",
            "m.yaml:2:45: drift.detectors[1]: ddm stands on error twice; remove one",
        ),
        (
            "model: m\nfeatures: [pay]\ndrift: {detectors: [{name: adwin, on: 'feature:pya'}]}",
            "m.yaml:3:39: drift.detectors[0].on: 'pya' is not among `features`; did you mean",
        ),
        (
            "model: m\ndrift: {detectors: [{name: adwin, on: residual}]}\ntask: multiclass",
            "m.yaml:2:39: drift.detectors[0].on: classes have no residual (task multiclass); write",
        ),
        (
            "model: m\nmetrics: [cost]",
            "m.yaml:2:11: metrics[0]: 'cost' needs its numbers; write {name: cost, fn: 500, fp: 5}",
        ),
        (
            "model: m\nmetrics: [{name: cost, fn: 1}]",
            "m.yaml:2:11: metrics[0]: `fp` is missing; write {name: cost, fn: 500, fp: 5}",
        ),
        (
            "model: m\nmetrics: [{name: f_beta, bta: 2, beta: 2}]",
            "m.yaml:2:31: metrics[0].bta: unknown key for 'f_beta'; did you mean `beta`?",
        ),
        (
            "model: m\nmetrics: [{name: recall, k: 2}]",
            "m.yaml:2:29: metrics[0].k: unknown key for 'recall'; it takes no numbers",
        ),
        (
            "model: m\nmetrics: [{name: quantile_loss, quantile: 90}]",
            "m.yaml:2:43: metrics[0].quantile: 90 is no quantile; write one between 0 and 1",
        ),
        (
            "model: m\nthresholds: [{metric: mae, above: 5, clear: 6}]",
            "m.yaml:2:45: thresholds[0].clear: 6 is beyond `above`; write at most 5",
        ),
        (
            "model: m\nthresholds: [{metric: r2, below: 0.5, clear: 0.4}]",
            "m.yaml:2:46: thresholds[0].clear: 0.4 is beyond `below`; write at least 0.5",
        ),
        (
            "model: m\nthresholds: [{metric: r2, below: -1, relative: last_week}]",
            "m.yaml:2:34: thresholds[0].below: -1 is out of range; at least 0",
        ),
        (
            "model: m\nthresholds: [{metric: r2, below: 0, relative: referenc}]",
            "m.yaml:2:47: thresholds[0].relative: 'referenc' is not known; did you mean `ref",
        ),
        (
            "model: m\nthresholds: [{metric: mae, above: 5}, {metric: mae, above: 9}]",
            "m.yaml:2:39: thresholds[1]: two thresholds are called 'mae'; a second limit",
        ),
        (
            "model: m\nthresholds: [{metric: mae, above: 5, name: drift}]",
            "m.yaml:2:44: thresholds[0].name: `drift` is the rule of drift alerts; choose another",
        ),
        (
            "model: m\nthresholds: [{metric: missing_rat:x, above: 5}]",
            "m.yaml:2:23: thresholds[0].metric: 'missing_rat:x' is not known; ",
        ),
        ("model: m\nfairness: {group: a}", "m.yaml:2:11: fairness: expected a list"),
        (
            "model: m\nremediation: [{on: {}, do: pray}]",
            "m.yaml:2:28: remediation[0].do: 'pray' is not known; ",
        ),
        (
            "model: m\nremediation: [{on: {}, do: hook}]",
            "m.yaml:2:15: remediation[0]: `do: hook` needs `with: {name: ...}`",
        ),
        (
            "model: m\nremediation: [{on: {}, do: freeze, limit: often}]",
            "m.yaml:2:43: remediation[0].limit: 'often': write how many per hour, day, week",
        ),
        (
            "model: m\nremediation: [{on: {}, do: freeze, to: 3}]",
            "m.yaml:2:40: remediation[0].to: only a rollback goes to a version",
        ),
        (
            "model: m\nremediation: [{on: {}, do: freeze}, {on: {}, do: freeze}]",
            "m.yaml:2:37: remediation[1]: two policies are called 'freeze-on-any-alert'",
        ),
        ("model: m\nremediation: [{do: x}]", "m.yaml:2:15: remediation[0]: `on` is missing"),
        (
            'model: m\nclasses: {a: ["1"], b: ["1"]}',
            "m.yaml:2:24: classes.b: '1' would belong to two classes; keep one",
        ),
    ],
)
def test_an_error_has_its_place_and_says_what_to_write(tmp_path: Path, text: str, expected: str):
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path):
    path = write(tmp_path, "model: m\ntask: x\nwindows: {sise: 1h}\n")
    with pytest.raises(MonitorError) as caught:
        load(path)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.exit_code == 3
    assert str(caught.value).count(f"{path}:") == 2


def test_a_folder_is_one_file_per_model(tmp_path: Path):
    write(tmp_path, "model: a", "a.yaml")
    write(tmp_path, "model: b\nlabels: {horizon: 15d}", "b.yml")
    write(tmp_path, "not: a monitor", "notes.txt")
    monitors = load(tmp_path)
    assert sorted(monitors.specs) == ["a", "b"]
    assert monitors.longest_horizon_ms == 15 * 86_400_000
    write(tmp_path, "model: a", "c.yaml")
    with pytest.raises(MonitorError, match=r"c\.yaml:1:1: model: .*a\.yaml is about `a`, too"):
        load(tmp_path)


def test_a_missing_path_and_an_empty_folder_are_usage_errors(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file or folder"):
        load(tmp_path / "x")
    with pytest.raises(UsageError, match="no monitor file"):
        load(tmp_path)


PROFILE = ReferenceProfile(model="m", version="1", origin="build", n=10, task="binary")


def test_a_reference_is_found_beside_its_file(tmp_path: Path):
    (tmp_path / "m.profile.json").write_bytes(PROFILE.to_json())
    monitors = load(write(tmp_path, "model: m\nreference: m.profile.json"))
    assert monitors.reference("m") == PROFILE.sealed()


def test_a_file_that_is_no_profile_is_a_configuration_error(tmp_path: Path):
    (tmp_path / "m.profile.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"m\.profile\.json:1:1: no reference profile"):
        load(write(tmp_path, "model: m\nreference: m.profile.json"))


def test_monitors_survive_a_checkpoint_and_equal_ones_are_equal_bytes(tmp_path: Path):
    (tmp_path / "m.profile.json").write_bytes(PROFILE.to_json())
    write(tmp_path, FULL, "fraud.yaml")
    monitors = load(write(tmp_path, "model: m\nreference: m.profile.json").parent)
    again = Monitors().decode(monitors.encode())
    assert again == monitors
    assert again.encode() == load(tmp_path).encode()
    assert Monitors.decode(b"") == Monitors()


def test_a_threshold_that_its_reference_cannot_answer_is_noted(tmp_path: Path):
    rows = [row for row in classifier(1, 300, hostile=False) if row.kind == "prediction"]
    reference = build(SUBJECT, frames(rows), MonitorSpec(model="m"))
    (tmp_path / "m.json").write_bytes(reference.to_json())
    text = (
        "model: m\nreference: m.json\nthresholds:\n"
        "  - {metric: recall, below: 0.1, relative: reference}\n"
        "  - {metric: 'missing_rate:gone', above: 0.1, relative: reference}\n"
        "  - {metric: 'missing_rate:amount', above: 0.1, relative: reference}\n"
        "  - {metric: cost, above: 5}\n"
    )
    report = inspect([write(tmp_path, text)])
    assert report.problems == []
    found = [(note.line, note.path, note.text) for note in report.notes]
    no_labels = "recall: the reference has no labels; the first 5,000 will tell"
    assert found[0] == (4, "thresholds[0]", no_labels)
    assert found[1] == (5, "thresholds[1]", "missing_rate:gone: the reference has no such feature")
    assert found[2][:2] == (7, "thresholds[3]")
    assert "only if `metrics` names it" in found[2][2]
    assert len(found) == 3
