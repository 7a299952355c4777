"""Every detector and every metric, one line each. A new one is its file and its line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from detectors.api import Detector, Metric
from detectors.drift.adwin import Adwin
from detectors.drift.ddm import Ddm
from detectors.drift.eddm import Eddm
from detectors.drift.fhddm import Fhddm
from detectors.drift.hddm_a import HddmA
from detectors.drift.hddm_w import HddmW
from detectors.drift.kswin import Kswin
from detectors.drift.page_hinkley import PageHinkley
from detectors.performance import deviations, rates, scores
from detectors.performance.cost import cost
from detectors.spec import MetricSpec, MonitorSpec, Task

SHORT: tuple[str, ...] = (Adwin.name,)
"""Detectors that a monitor may let open alerts by their name alone: those on every signal."""

DETECTORS: Mapping[str, type[Detector]] = MappingProxyType(
    {
        Adwin.name: Adwin,
        PageHinkley.name: PageHinkley,
        Ddm.name: Ddm,
        Eddm.name: Eddm,
        HddmA.name: HddmA,
        HddmW.name: HddmW,
        Fhddm.name: Fhddm,
        Kswin.name: Kswin,
    }
)

AnyMetric: TypeAlias = Metric[Any]
"""Any: a matrix, scores or deviations, as its `of` says."""

_METRICS: tuple[AnyMetric, ...] = (
    *rates.METRICS,
    *(replace(metric, of="scores") for metric in scores.METRICS),
    *(replace(metric, of="deviations") for metric in deviations.METRICS),
)

METRICS: Mapping[str, AnyMetric] = MappingProxyType({m.name: m for m in _METRICS})

DEFAULTS: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        "binary": (
            *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity"),
            *("false_negative_rate", "false_positive_rate", "mcc", "log_loss", "brier"),
            *("roc_auc", "pr_auc", "expected_calibration_error"),
        ),
        "multiclass": (
            *("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc"),
            *("log_loss", "brier", "expected_calibration_error"),
        ),
        "regression": ("mae", "rmse", "bias", "r2", "mape", "smape"),
    }
)
"""What is computed where the specification names no metrics."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A metric with parameters: which it needs or takes, and how it is made of them."""

    params: tuple[str, ...]
    make: Callable[[Mapping[str, float]], AnyMetric]


def _cost(params: Mapping[str, float]) -> AnyMetric:
    measure = cost(fn=params.get("fn", 0.0), fp=params.get("fp", 0.0))
    return Metric("cost", ("binary",), measure)


def _f_beta(params: Mapping[str, float]) -> AnyMetric:
    beta = params["beta"]
    return Metric(f"f{beta:g}", ("binary",), rates.f_beta(beta))


def _top_k(params: Mapping[str, float]) -> AnyMetric:
    k = int(params["k"])
    return Metric(f"top_{k}_accuracy", ("multiclass",), scores.top_k(k), "scores")


def _quantile_loss(params: Mapping[str, float]) -> AnyMetric:
    quantile = params["quantile"]
    measure = deviations.quantile_loss(quantile)
    return Metric(f"quantile_loss_{quantile:g}", ("regression",), measure, "deviations")


FACTORIES: Mapping[str, Factory] = MappingProxyType(
    {
        "cost": Factory(("fn", "fp"), _cost),
        "f_beta": Factory(("beta",), _f_beta),
        "top_k": Factory(("k",), _top_k),
        "quantile_loss": Factory(("quantile",), _quantile_loss),
    }
)


def every_metric(
    spec: MonitorSpec, task: Task, catalog: Mapping[str, AnyMetric] = METRICS
) -> list[AnyMetric]:
    """All metrics that the task has, those of the specification with their numbers among them."""
    listed = {metric.name: metric for metric in catalog.values()}
    listed |= {metric.name: metric for metric in metrics_of(spec, task, catalog)}
    return [metric for metric in listed.values() if task in metric.tasks]


def metrics_of(
    spec: MonitorSpec, task: Task, catalog: Mapping[str, AnyMetric] = METRICS
) -> list[AnyMetric]:
    """The metrics of a monitor: those its specification names and its task has, or the defaults.

    What a threshold is about is computed in any case.

    Args:
        spec: what the user said.
        task: of the monitor.
        catalog: metrics by name, the user's own included; these are computed by default, too.

    Raises: KeyError where a parameter is missing, ValueError where one is out of range.
    """
    if spec.metrics is None:
        own = [name for name in catalog if name not in METRICS]
        chosen = [catalog[name] for name in (*DEFAULTS[task], *own)]
    else:
        named = [_named(wanted, catalog) for wanted in spec.metrics]
        chosen = [metric for metric in named if metric is not None]
    names = {metric.name for metric in chosen}
    held = dict.fromkeys(threshold.metric for threshold in spec.thresholds)
    chosen += [catalog[name] for name in held if name in catalog and name not in names]
    return [metric for metric in chosen if task in metric.tasks]


def _named(wanted: MetricSpec, catalog: Mapping[str, AnyMetric]) -> AnyMetric | None:
    if wanted.name in FACTORIES:
        return FACTORIES[wanted.name].make(wanted.params)
    return catalog.get(wanted.name)
