"""Every detector and every metric, one line each. A new one is its file and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from detectors.api import Detector, Metric
from detectors.drift.adwin import Adwin
from detectors.drift.ddm import Ddm
from detectors.drift.eddm import Eddm
from detectors.drift.fhddm import Fhddm
from detectors.drift.hddm_a import HddmA
from detectors.drift.hddm_w import HddmW
from detectors.drift.kswin import Kswin
from detectors.drift.page_hinkley import PageHinkley
from detectors.performance import confusion, regression
from detectors.spec import MonitorSpec, Task

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

_METRICS: tuple[Metric[Any], ...] = (*confusion.METRICS, *regression.METRICS)  # Any: by task

METRICS: Mapping[str, Metric[Any]] = MappingProxyType({m.name: m for m in _METRICS})


def metrics_of(spec: MonitorSpec, task: Task) -> list[Metric[Any]]:  # Any: as above
    """The metrics of a monitor: those its specification names and its task has, or all of these."""
    names = METRICS if spec.metrics is None else [metric.name for metric in spec.metrics]
    chosen = [METRICS[name] for name in names if name in METRICS]
    return [metric for metric in chosen if task in metric.tasks]
