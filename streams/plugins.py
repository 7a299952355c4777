"""Metrics of the user's own, installed as entry points of the group `driftline.metrics`.

An entry point names a `detectors.api.Metric`; its `of` says whether it gets a confusion matrix,
scores or deviations. It is computed for every monitor of its tasks that names no metrics, and where
one is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from detectors.api import Measure, Metric, Value
from detectors.registry import METRICS, AnyMetric
from driftline.errors import UsageError

GROUP = "driftline.metrics"


@cache
def catalog() -> Mapping[str, AnyMetric]:
    """Every metric by name: ours, and those installed beside us.

    Raises: UsageError as `read` does.
    """
    return read(entry_points(group=GROUP))


def read(found: Iterable[EntryPoint]) -> Mapping[str, AnyMetric]:
    """Every metric by name: ours, and those of these entry points.

    Raises: UsageError for one that does not load, is no metric, or has the name of another.
    """
    metrics = dict(METRICS)
    for entry in sorted(found, key=lambda entry: (entry.name, entry.value)):
        metric = _load(entry)
        if metric.name in metrics:
            raise UsageError(
                f"metric {metric.name!r} of {entry.value} has the name of another: rename it"
            )
        metrics[metric.name] = replace(metric, measure=_guarded(metric))
    return MappingProxyType(metrics)


def _load(entry: EntryPoint) -> AnyMetric:
    try:
        metric = entry.load()
    except Exception as error:  # it is the user's code, which may raise anything
        raise UsageError(f"metric {entry.name!r} ({entry.value}) does not load: {error}") from error
    if not isinstance(metric, Metric):
        raise UsageError(
            f"metric {entry.name!r} ({entry.value}) is a {type(metric).__name__}; "
            "it must be a detectors.api.Metric"
        )
    return metric


def _guarded(metric: AnyMetric) -> Measure[object]:
    """The metric's measure, whose errors are reasons: they must not stop the others."""

    def measure(tally: object, /) -> Value:
        try:
            return metric.measure(tally)
        except Exception as error:  # it is the user's code, which may raise anything
            return Value(None, f"{type(error).__name__}: {error}")

    return measure
