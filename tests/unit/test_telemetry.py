"""Telemetry: what `/metrics` says, and that Prometheus' own tool and our own page agree with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from driftline.events import Decoded
from driftline.rules import Reason
from streams.telemetry.readings import COUNTED, OTHER, TOP_SIGNALS, Reading
from streams.telemetry.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"


def promtool() -> str | None:
    """Where promtool is: DRIFTLINE_PROMTOOL, PATH, or where `.ci/run` unpacks Debian's package."""
    named = os.environ.get("DRIFTLINE_PROMTOOL") or shutil.which("promtool")
    if named:
        return named
    cache = os.environ.get("DRIFTLINE_CACHE") or f"{_caches()}/driftline"
    unpacked = Path(cache) / "prometheus" / "usr" / "bin" / "promtool"
    return str(unpacked) if unpacked.exists() else None


def _caches() -> str:
    return os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


needs_promtool = pytest.mark.skipif(
    promtool() is None, reason="no promtool: set DRIFTLINE_PROMTOOL or install prometheus"
)

READING = Reading(
    counters={"predictions": 1_000, "joined": 900, "revisions": 3, "late_predictions": 2, "odd": 7},
    metrics={("accuracy", "1h"): 0.93, ("log_loss", "1h"): float("nan")},
    errors={("accuracy", "1h"): 0.01},
    estimated={("accuracy", "last_1000", "low"): 0.9},
    samples={"1h": 900},
    missing={"x:amount": 0.25},
    statistics={("x:amount", "page_hinkley"): 12.5},
    detections={("x:amount", "adwin"): 1},
    active={"warning": 1},
    transitions={("feature_drift", "warning", "firing"): 1},
    coverage=0.9,
    task="binary",
)


def filled() -> Telemetry:
    """Telemetry in which every series has a sample."""
    telemetry = Telemetry(
        sources=("driftline.predictions", "driftline.labels"), destinations=("oncall",)
    )
    telemetry.decoded("driftline.labels", Decoded(unknown_fields=2, client_dropped=3))
    telemetry.rejected("driftline.labels", Reason.NOT_JSON)
    telemetry.tombstone("driftline.labels")
    with telemetry.stage("join", 5):
        telemetry.rows_received("join", 50)
        telemetry.rows_emitted("join", 40)
    telemetry.lag("driftline.labels", 1, 12)
    telemetry.arrived("driftline.labels", 1, 1_793_500_000_123)
    telemetry.gap("join")
    telemetry.hole("join", 4)
    telemetry.forced("detect", 9)
    telemetry.restarted("join", "send")
    telemetry.rebalanced()
    telemetry.config_mismatch()
    with telemetry.checkpoint("join", 1, lambda: 4_096):
        pass
    telemetry.notified("oncall", "retried")
    telemetry.delivered("oncall", 0.2)
    telemetry.waiting("oncall", 0)
    telemetry.publish("fraud@v1", READING)
    return telemetry


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


@needs_promtool
def test_promtool_accepts_the_metrics_page():
    page = generate_latest(filled().registry)
    run = subprocess.run(
        [promtool(), "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode() + run.stdout.decode()
    assert run.stdout + run.stderr == b""


@needs_promtool
@pytest.mark.parametrize(
    ("what", "path"),
    [("config", PROMETHEUS / "prometheus.yml"), ("rules", PROMETHEUS / "rules" / "driftline.yml")],
)
def test_promtool_accepts_what_we_deploy(what, path):
    lint = ["--lint=all", "--lint-fatal"]
    run = subprocess.run(
        [promtool(), "check", what, *lint, str(path)], capture_output=True, check=False, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@needs_promtool
def test_the_rules_fire_when_they_should_and_only_then():
    run = subprocess.run(
        [promtool(), "test", "rules", str(PROMETHEUS / "tests" / "driftline.test.yml")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_page_in_the_documentation_lists_exactly_the_series_there_are():
    page = (ROOT / "docs" / "telemetry.md").read_text()
    rows = re.findall(
        r"^\| `(driftline_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", page, re.MULTILINE
    )
    documented = {
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), text.strip())
        for name, kind, labels, text in rows
    }
    assert documented == {(s.name, s.kind, s.labels, s.help) for s in Telemetry().series}


def test_every_series_that_is_declared_is_on_the_page_and_no_other():
    telemetry = filled()
    shown = {
        m.name + ("_total" if m.type == "counter" else "") for m in telemetry.registry.collect()
    }
    shown = {name for name in shown if name.startswith("driftline_")}
    declared = {
        s.name.removesuffix("_info") if "build" in s.name else s.name for s in telemetry.series
    }
    assert shown == declared


def test_every_rule_we_deploy_asks_for_series_that_exist():
    text = (PROMETHEUS / "rules" / "driftline.yml").read_text()
    names = {s.name for s in Telemetry().series}
    names |= {f"{s.name}_bucket" for s in Telemetry().series if s.kind == "histogram"}
    asked = set(re.findall(r"\bdriftline_\w+", text))
    assert asked
    assert asked <= names


def test_openmetrics_is_well_formed():
    page = openmetrics.generate_latest(filled().registry).decode()
    names = {family.name for family in text_string_to_metric_families(page)}
    assert "driftline_predictions" in names
    assert "_created" not in page


def test_a_reading_becomes_series_of_its_subject():
    telemetry = filled()
    subject = {"model": "fraud", "version": "v1"}
    assert value(telemetry, "driftline_predictions_total", **subject) == 1_000
    assert value(telemetry, "driftline_labels_total", **subject, outcome="joined") == 900
    assert value(telemetry, "driftline_labels_total", **subject, outcome="orphan") == 0
    assert value(telemetry, "driftline_subject_events_total", **subject, event="odd") == 7
    accuracy = {"metric": "accuracy", "window": "1h"}
    assert value(telemetry, "driftline_performance_value", **subject, **accuracy) == 0.93
    assert value(telemetry, "driftline_alerts_active", **subject, severity="warning") == 1
    assert value(telemetry, "driftline_alerts_active", **subject, severity="critical") == 0
    assert value(telemetry, "driftline_label_coverage_ratio", **subject) == 0.9


def test_a_number_that_is_not_finite_is_absent():
    missing = {"metric": "log_loss", "window": "1h"}
    subject = {"model": "fraud", "version": "v1"}
    assert value(filled(), "driftline_performance_value", **subject, **missing) is None


def test_counters_wait_for_the_checkpoint_and_gauges_do_not():
    telemetry = Telemetry()
    subject = {"model": "m", "version": "1"}
    kept = Reading(counters={"predictions": 10})
    newer = Reading(counters={"predictions": 99}, coverage=0.6)
    telemetry.publish("m@1", newer, kept)
    assert value(telemetry, "driftline_predictions_total", **subject) == 10
    assert value(telemetry, "driftline_label_coverage_ratio", **subject) == 0.6
    telemetry.keep("m@1", newer)
    assert value(telemetry, "driftline_predictions_total", **subject) == 99
    assert value(telemetry, "driftline_label_coverage_ratio", **subject) == 0.6


def test_a_subject_that_is_forgotten_has_no_series():
    telemetry = filled()
    telemetry.forget("fraud@v1")
    assert b'model="fraud"' not in generate_latest(telemetry.registry)


def test_a_partition_that_is_forgotten_has_no_series():
    telemetry = filled()
    telemetry.forget_partition("join", "driftline.labels", 1)
    telemetry.forget_partition("join", "driftline.labels", 2)  # never had any
    assert b'partition="' not in generate_latest(telemetry.registry)


def test_a_failed_checkpoint_leaves_the_time_of_the_last_good_one():
    telemetry = Telemetry(wall=lambda: 5.0)
    with pytest.raises(OSError, match="gone"), telemetry.checkpoint("join", 0, lambda: 100):
        raise OSError("gone")
    labels = {"stage": "join", "partition": "0"}
    assert value(telemetry, "driftline_checkpoint_timestamp_seconds", **labels) is None
    assert value(telemetry, "driftline_checkpoint_duration_seconds_count", stage="join") == 1


def test_bounded_series_exist_before_anything_happened():
    telemetry = Telemetry(sources=("p",), destinations=("oncall",))
    for reason in Reason:
        labels = {"topic": "p", "reason": reason.value}
        assert value(telemetry, "driftline_events_rejected_total", **labels) == 0
    labels = {"destination": "oncall", "result": "exhausted"}
    assert value(telemetry, "driftline_notifications_total", **labels) == 0
    assert value(telemetry, "driftline_series_dropped_total", reason="signal") == 0


def wide(signals: int, hits: dict[str, int] | None = None) -> Reading:
    """A reading of so many features, of which a share of 0.5 is missing."""
    missing = {f"x:f{i:04}": 0.5 for i in range(signals)}
    return Reading(missing=missing, detections={(s, "adwin"): n for s, n in (hits or {}).items()})


def test_signals_beyond_the_first_share_one_series_and_those_that_drifted_come_first():
    telemetry = Telemetry()
    telemetry.publish("m@1", wide(500, {"x:f0400": 2}))
    page = generate_latest(telemetry.registry).decode()
    shares = re.findall(r'driftline_signal_missing_ratio\{.*signal="([^"]+)".*\} 0.5', page)
    assert len(shares) == TOP_SIGNALS + 1
    assert {"x:f0000", "x:f0400", OTHER} <= set(shares)


def test_beyond_the_cap_signals_go_first_then_subjects_and_each_is_counted_once():
    telemetry = Telemetry(cap=60)
    telemetry.publish("a@1", wide(20))
    telemetry.publish("b@1", wide(20))  # its own 15 fit, its signals do not
    telemetry.publish("b@1", wide(20))
    assert value(telemetry, "driftline_series_dropped_total", reason="signal") == 20
    subject = {"model": "b", "version": "1"}
    assert value(telemetry, "driftline_predictions_total", **subject) == 0
    telemetry.publish("c@1", wide(20))
    dropped = value(telemetry, "driftline_series_dropped_total", reason="subject")
    assert dropped == len(COUNTED) + 1 + 3  # model_info, and alerts_active by severity
    assert b'model="c"' not in generate_latest(telemetry.registry)
    telemetry.forget("a@1")
    telemetry.publish("b@1", wide(20))
    signal = {"signal": "x:f0003"}
    assert value(telemetry, "driftline_signal_missing_ratio", **subject, **signal) == 0.5
