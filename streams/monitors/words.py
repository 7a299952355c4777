"""The words a monitor file may use: what the checker takes and the JSON Schema offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from detectors.registry import METRICS as COMPUTED
from detectors.registry import SHORT
from detectors.spec import Task
from driftline.actions import ActionMode, ActionName
from driftline.alerts import Kind, Severity

KINDS: tuple[str, ...] = get_args(Kind)
SEVERITIES: tuple[str, ...] = get_args(Severity)
TASKS: tuple[str, ...] = get_args(Task)
DETECTOR_NAMES = SHORT
SIGNALS = ("error", "residual", "score", "prediction", "latency")
"""What a configured detector may be on, beside `FEATURE_PATTERN`."""
FEATURE_PATTERN = "^feature:.+$"
"""A feature by name, or `feature:*` for all of them."""

METRIC_PARAMS: Mapping[str, tuple[str, ...]] = {
    "cost": ("fn", "fp"),
    "f_beta": ("beta",),
    "quantile_loss": ("quantile",),
    "top_k": ("k",),
}
"""Metrics that need numbers, and which: all of them, and no others."""
_PLANNED = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity",
    "false_negative_rate", "false_positive_rate", "mcc", "log_loss", "brier", "roc_auc", "pr_auc",
    "expected_calibration_error", "mae", "rmse", "mape", "smape", "r2", "bias",
)  # fmt: skip
METRICS = tuple(dict.fromkeys((*_PLANNED, *COMPUTED, *METRIC_PARAMS)))
HELD = tuple(name for name in METRICS if name == "cost" or name not in METRIC_PARAMS)
"""What a threshold may be about, beside `HELD_PATTERN`."""
HELD_PATTERN = r"^(f\d+(\.\d+)?|top_\d+_accuracy|quantile_loss_0\.\d+|missing_rate:.+)$"
"""Metrics by the names that their numbers give them, and missing rates of features."""
MISSING_RATE = "missing_rate:"
"""What the name of a feature follows where a threshold is about its missing values."""

FAIRNESS_METRICS = (
    "demographic_parity", "equal_opportunity", "equalized_odds", "predictive_parity",
    "false_positive_parity",
)  # fmt: skip
BASELINES = ("reference", "last_week")
MODES: tuple[str, ...] = get_args(ActionMode)

DO = tuple(name for name in get_args(ActionName) if name != "configure")
"""What a remediation policy may do."""
PER_HOURS: Mapping[str, int] = {"hour": 1, "day": 24, "week": 168}
"""Hours in each stretch that actions may be limited per."""

DAYS: Mapping[str, float] = {
    "hour": 1 / 24,
    "day": 1.0,
    "week": 7.0,
    "month": 365.25 / 12,
    "year": 365.25,
}
"""Days in each stretch that false alarms may be counted per."""

MIN_WINDOW_MS = 1_000
MIN_WARMUP = 100

KEYS: Mapping[str, tuple[str, ...]] = {
    "": (
        "model", "task", "positive", "classes", "labels", "windows", "features", "segments",
        "fairness", "metrics", "thresholds", "drift", "reference", "alerts", "remediation",
    ),
    "labels": ("horizon", "sample"),
    "windows": ("size", "lateness"),
    "fairness": ("group", "metrics", "tolerance"),
    "thresholds": (
        "name", "metric", "above", "below", "relative", "for", "clear", "min_samples", "severity",
    ),
    "drift": ("false_alarms", "detectors"),
    "drift.detectors": ("name", "on", "opens", "params"),
    "alerts": ("notify", "cool_down"),
    "remediation": (
        "on", "do", "mode", "name", "limit", "cool_down", "at_once", "max_traffic",
        "approve_within", "verify_within", "to", "with",
    ),
    "remediation.on": ("kind", "severity", "signal"),
}  # fmt: skip
"""Keys of each mapping, by where it stands; "" is the file itself."""

NOT_YET = ("fairness",)
"""Keys that are checked and kept, but do not change anything in this version."""
