"""The editors' schema: it and the checker judge the same files alike."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from streams.monitors.load import inspect
from streams.monitors.schema import DRAFT, monitor_schema
from streams.monitors.words import KEYS
from tests.unit.test_monitors import FULL

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "monitor.yaml"
PUBLISHED = ROOT / "deploy" / "schema" / "monitor.json"

GOOD = [
    FULL,
    "model: m",
    "model: 1.10",
    "model: m\npositive: true",
    "model: m\npositive: 1",
    "model: m\nclasses: {fraud: [1, yes], legit: no}",
    "model: m\nlabels: none",
    "model: m\nlabels: {horizon: 1.5h, sample: 0.1}",
    "model: m\nwindows: {size: 1 h}",
    "model: m\nfeatures: amount",
    "model: m\nalerts: {cool_down: 2h}",
    "model: m\nreference: warmup 100",
    "model: m\nmetrics: [{name: recall}, {name: top_k, k: 3}]",
    "model: m\nmetrics: [{name: quantile_loss, quantile: 0.9}]",
    "model: m\nmetrics: [{name: f_beta, beta: 2}, {name: f_beta, beta: 0.5}]",
    "model: m\nthresholds: [{metric: recall, below: 0.6, clear: 0.7, min_samples: 1}]",
    "model: m\nthresholds: [{metric: mae, above: 5, relative: last_week, for: 1 window, name: a}]",
    "model: m\nthresholds: [{metric: 'missing_rate:amount', above: 0.1}]",
    "model: m\nthresholds: [{metric: f1.5, below: 0.1}, {metric: top_3_accuracy, below: 0.5}]",
    "model: m\nthresholds: [{metric: recall, below: 0.1, relative: reference, clear: 0.05}]",
    "model: m\nthresholds: [{metric: mae, above: 5}, {metric: mae, above: 9, name: b}]",
    "model: m\ndrift: {false_alarms: 0.5 per month, detectors: [adwin]}",
    "model: m\ndrift: {false_alarms: 10 per day, detectors: adwin}",
    "model: m\ndrift: {detectors: [adwin, {name: hddm_a, on: error, opens: true}]}",
    "model: m\ndrift: {detectors: {name: kswin, on: 'feature:*', params: {alpha: 0.0001}}}",
    "model: m\ndrift: {detectors: [{name: adwin, on: [score, residual, 'feature:a']}]}",
    "model: m\ndrift: {detectors: [{name: page_hinkley, on: prediction, params: {mode: up}}]}",
    "model: m\ndrift: {detectors: [{name: hddm_w, on: error, params: {two_sided_test: true}}]}",
]  # fmt: skip
BAD = [
    "task: binary",
    "- model: m",
    "model: _m",
    "model: m\ntask: binry",
    "model: m\nlables: none",
    "model: m\nlabels: some",
    "model: m\nlabels: {horizon: 7 days}",
    "model: m\nlabels: {sample: 2}",
    "model: m\nlabels: {sample: '0.1'}",
    "model: m\nwindows: {size: 60}",
    "model: m\nfeatures: [a, a]",
    "model: m\nfeatures: [a, [b]]",
    "model: m\nsegments: null",
    "model: m\nreference: warmup",
    "model: m\nreference: warmup 99",
    "model: m\nmetrics: recall",
    "model: m\nmetrics: [recal]",
    "model: m\nmetrics: [recall, recall]",
    "model: m\nmetrics: [cost]",
    "model: m\nmetrics: [{fn: 1, fp: 2}]",
    "model: m\nmetrics: [{name: cost, fn: 1}]",
    "model: m\nmetrics: [{name: cost, fn: 1, fp: 2, tp: 3}]",
    "model: m\nmetrics: [{name: cost, fn: -1, fp: 2}]",
    "model: m\nmetrics: [{name: recall, beta: 2}]",
    "model: m\nmetrics: [{name: f_beta, beta: 0}]",
    "model: m\nmetrics: [{name: top_k, k: 1.5}]",
    "model: m\nmetrics: [{name: quantile_loss, quantile: 1}]",
    "model: m\nthresholds: {metric: recall, below: 1}",
    "model: m\nthresholds: [{below: 1}]",
    "model: m\nthresholds: [{metric: recall}]",
    "model: m\nthresholds: [{metric: recall, below: 0.1, above: 0.9}]",
    "model: m\nthresholds: [{metric: recall, below: x}]",
    "model: m\nthresholds: [{metric: recall, below: 1, for: 2}]",
    "model: m\nthresholds: [{metric: recall, below: 1, for: 0 windows}]",
    "model: m\nthresholds: [{metric: recall, below: 1, severity: warn}]",
    "model: m\nthresholds: [{metric: recall, below: 1, relative: yesterday}]",
    "model: m\nthresholds: [{metric: recall, below: 1, min_samples: 0}]",
    "model: m\nthresholds: [{metric: recall, below: 1, name: drift}]",
    "model: m\nthresholds: [{metric: recall, below: 1, segment: a}]",
    "model: m\nthresholds: [{metric: 'missing_rate:', above: 0.1}]",
    "model: m\nthresholds: [{metric: f_beta, above: 0.1}]",
    "model: m\nthresholds: [{metric: recall, below: -0.1, relative: reference}]",
    "model: m\ndrift: 1 per week",
    "model: m\ndrift: {false_alarms: 3}",
    "model: m\ndrift: {false_alarms: 0 per week}",
    "model: m\ndrift: {false_alarms: 0.0 per week}",
    "model: m\ndrift: {false_alarms: 1 per fortnight}",
    "model: m\ndrift: {detectors: [adwn]}",
    "model: m\ndrift: {detectors: [adwin, adwin]}",
    "model: m\ndrift: {detectors: [ddm]}",
    "model: m\ndrift: {detectors: [{name: ddm}]}",
    "model: m\ndrift: {detectors: [{on: error}]}",
    "model: m\ndrift: {detectors: [{name: ddm, on: 'feature:a'}]}",
    "model: m\ndrift: {detectors: [{name: fhddm, on: [error, score]}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: 'feature:'}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: amount}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, opens: yes}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, opens: 'true'}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, open: true}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {delta: 0.1}}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {alpha: 1}}]}",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {seed: 1.5}}]}",
    "model: m\ndrift: {detectors: [{name: fhddm, on: error, params: {sliding_window_size: 9}}]}",
    "model: m\ndrift: {detectors: [{name: page_hinkley, on: error, params: {mode: side}}]}",
    "model: m\nfairness: [{metrics: [demographic_parity]}]",
    "model: m\nfairness: [{group: a, tolerance: -1}]",
    "model: m\nalerts: {notfy: [a]}",
    "model: m\nalerts: {cool_down: 2}",
    "model: m\nremediation: [{do: x}]",
    "model: m\nremediation: [{on: {kind: drift}, do: x}]",
]  # fmt: skip
ONLY_THE_CHECKER = [
    "model: m\nwindows: {size: 5h}\nthresholds: [{metric: mae, above: 1, relative: last_week}]",
    "model: m\nwindows: {size: 10ms}",
    "model: m\nreference: gone.json",
    'model: m\nclasses: {a: ["1"], b: ["1"]}',
    "model: m\nmodel: m",
    "model: m\nthresholds: [{metric: recall, below: 0.5, clear: 0.4}]",
    "model: m\nthresholds: [{metric: mae, above: 5, clear: 6}]",
    "model: m\nthresholds: [{metric: mae, above: 5, name: a}, {metric: r2, below: 0, name: a}]",
    "model: m\nthresholds: [{metric: mae, above: 5}, {metric: mae, above: 9}]",
    "model: m\nthresholds: [{metric: mae, below: 0.1, relative: reference, clear: 0.2}]",
    "model: m\ndrift: {detectors: [{name: kswin, on: error, params: {stat_size: 60}}]}",
    "model: m\ndrift: {detectors: [{name: ddm, on: error}, {name: ddm, on: error, opens: true}]}",
    "model: m\nfeatures: [a]\ndrift: {detectors: [{name: kswin, on: 'feature:b'}]}",
    "model: m\ntask: binary\ndrift: {detectors: [{name: kswin, on: residual}]}",
]


class Yaml12(yaml.SafeLoader):
    """As editors read YAML: `on`, `yes` and `no` are texts."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":bool")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def read(text: str) -> Any:
    return yaml.load(text, Loader=Yaml12)


def accepted(folder: Path, text: str) -> tuple[bool, bool]:
    """Whether the checker and the schema take a file."""
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    schema = Draft7Validator(monitor_schema())
    return not inspect([path]).problems, schema.is_valid(read(text))


@pytest.mark.parametrize("text", GOOD)
def test_what_the_checker_takes_the_schema_takes(tmp_path: Path, text: str):
    assert accepted(tmp_path, text) == (True, True)


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_refuses_the_checker_refuses(tmp_path: Path, text: str):
    assert accepted(tmp_path, text) == (False, False)


@pytest.mark.parametrize("text", ONLY_THE_CHECKER)
def test_what_no_schema_can_say_the_checker_says(tmp_path: Path, text: str):
    assert accepted(tmp_path, text) == (False, True)


def test_the_schema_is_a_schema_and_the_published_copy_is_it():
    Draft7Validator.check_schema(monitor_schema())
    assert json.loads(PUBLISHED.read_text()) == monitor_schema()
    assert monitor_schema()["$schema"] == DRAFT
    command = [sys.executable, "-m", "streams.cli", "schema", "monitor"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == PUBLISHED.read_text()


def test_the_example_is_sound_says_nothing_in_vain_and_names_the_schema():
    report = inspect([EXAMPLE])
    assert (report.problems, report.notes) == ([], [])
    first, *_ = EXAMPLE.read_text().splitlines()
    place = first.removeprefix("# yaml-language-server: $schema=")
    assert (EXAMPLE.parent / place).resolve() == PUBLISHED
    assert Draft7Validator(monitor_schema()).is_valid(read(EXAMPLE.read_text()))
    written = read(EXAMPLE.read_text())
    assert set(written) == set(KEYS[""]) - {"fairness"}
