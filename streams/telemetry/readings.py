"""What a subject's checkpointed state says in numbers, and the series that show it.

These numbers are not counted by this process: they are read from state, so they survive restarts
and are exact (a row counts once, however often it was read). Two rules keep them good Prometheus
citizens. A counter must never fall, or `rate()` sees a reset; a restart goes back to the last
checkpoint, so counters show the last *durable* reading only, while gauges show the newest. And
what a model's users can make many of (signals) is bounded here, before it becomes a series.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from driftline.alerts import Severity
from streams.telemetry.series import Series

SEVERITIES: tuple[str, ...] = get_args(Severity)
OTHER = "_other"
"""The signal under which those beyond the first `TOP_SIGNALS` are summed up."""
TOP_SIGNALS = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one subject at one moment. Plain and immutable: any thread may read it.

    The mappings belong to the reading: whoever builds it does not change them afterwards.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    """Exact counts since the subject began; names as in `COUNTED`, others show as `event`."""
    metrics: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(metric, window) -> value; window is a size such as `1h`, `last_1000` or `all`."""
    errors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(metric, window) -> standard error of the value."""
    estimated: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """(metric, window, bound) -> what is expected without labels; bound: value, low, high."""
    samples: Mapping[str, int] = field(default_factory=dict)
    """window -> outcomes in it."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """signal -> share of rows without it, 0 to 1."""
    statistics: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(signal, detector) -> its statistic, in the detector's own unit."""
    detections: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(signal, detector) -> changes it found since the subject began."""
    active: Mapping[str, int] = field(default_factory=dict)
    """severity -> alerts that are firing."""
    transitions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(kind, severity, status) -> alert events since the subject began."""
    coverage: float | None = None
    """Share of predictions that have their label, 0 to 1; None while there are none."""
    task: str | None = None
    """binary, multiclass or regression; None until it is decided."""


_SUBJECT = ("model", "version")
PREDICTIONS = Series(
    "driftline_predictions_total", "counter", "Predictions accepted, each id once.", _SUBJECT
)
DUPLICATES = Series(
    "driftline_prediction_repeats_total",
    "counter",
    "Predictions seen again (duplicate), and those whose contents differed (conflict).",
    (*_SUBJECT, "kind"),
)
LABELS = Series(
    "driftline_labels_total",
    "counter",
    "Labels by what became of them: joined, duplicate, revision, stale, late, orphan.",
    (*_SUBJECT, "outcome"),
)
LATE = Series(
    "driftline_late_events_total",
    "counter",
    "Events that came after their window had closed and entered none.",
    (*_SUBJECT, "event"),
)
EVENTS = Series(
    "driftline_subject_events_total",
    "counter",
    "Other exact counts of a subject's state, by name.",
    (*_SUBJECT, "event"),
)
DETECTIONS = Series(
    "driftline_drift_detections_total",
    "counter",
    "Changes a detector found in a signal.",
    (*_SUBJECT, "signal", "detector"),
)
TRANSITIONS = Series(
    "driftline_alert_transitions_total",
    "counter",
    "Alert events published, by kind, severity and status.",
    (*_SUBJECT, "kind", "severity", "status"),
)
PERFORMANCE = Series(
    "driftline_performance_value",
    "gauge",
    "A performance metric over a window, in the metric's own unit.",
    (*_SUBJECT, "metric", "window"),
)
ERROR = Series(
    "driftline_performance_standard_error_value",
    "gauge",
    "Standard error of a performance metric, in the metric's own unit.",
    (*_SUBJECT, "metric", "window"),
)
ESTIMATED = Series(
    "driftline_estimated_performance_value",
    "gauge",
    "A metric as expected without labels (bound value), and its 95 % band (low, high).",
    (*_SUBJECT, "metric", "window", "bound"),
)
SAMPLES = Series(
    "driftline_performance_window_samples",
    "gauge",
    "Outcomes in a window.",
    (*_SUBJECT, "window"),
)
COVERAGE = Series(
    "driftline_label_coverage_ratio", "gauge", "Share of predictions with a label.", _SUBJECT
)
MISSING = Series(
    "driftline_signal_missing_ratio",
    "gauge",
    "Share of rows without the signal.",
    (*_SUBJECT, "signal"),
)
STATISTIC = Series(
    "driftline_drift_statistic_value",
    "gauge",
    "A detector's statistic on a signal, in the detector's own unit.",
    (*_SUBJECT, "signal", "detector"),
)
ACTIVE = Series(
    "driftline_alerts_active", "gauge", "Alerts that are firing.", (*_SUBJECT, "severity")
)
MODEL = Series(
    "driftline_model_info",
    "gauge",
    "1 for each model version this worker watches.",
    (*_SUBJECT, "task"),
)

STATE_SERIES = (
    *(PREDICTIONS, DUPLICATES, LABELS, LATE, EVENTS, DETECTIONS, TRANSITIONS),
    *(PERFORMANCE, ERROR, ESTIMATED, SAMPLES, COVERAGE, MISSING, STATISTIC, ACTIVE, MODEL),
)

COUNTED: Mapping[str, tuple[Series, tuple[str, ...]]] = {
    "predictions": (PREDICTIONS, ()),
    "duplicates": (DUPLICATES, ("duplicate",)),
    "conflicts": (DUPLICATES, ("conflict",)),
    "joined": (LABELS, ("joined",)),
    "label_duplicates": (LABELS, ("duplicate",)),
    "revisions": (LABELS, ("revision",)),
    "stale_labels": (LABELS, ("stale",)),
    "late_labels": (LABELS, ("late",)),
    "orphan_labels": (LABELS, ("orphan",)),
    "late_predictions": (LATE, ("prediction",)),
    "late_outcomes": (LATE, ("outcome",)),
}
"""Counter of the state -> its series and the rest of its labels; all of them start at 0."""

_DURABLE = {series for series in STATE_SERIES if series.kind == "counter"}

Point = tuple[Series, tuple[str, ...], float]
"""One sample: series, label values after model and version, value."""


def points(reading: Reading, durable: Reading) -> tuple[list[Point], list[Point]]:
    """(samples of the subject as a whole, samples per signal) of a newest and a durable reading."""
    core: list[Point] = [(MODEL, (reading.task or "",), 1)]
    core += [(*COUNTED[name], durable.counters.get(name, 0)) for name in COUNTED]
    core += [(EVENTS, (k,), v) for k, v in durable.counters.items() if k not in COUNTED]
    core += [(ACTIVE, (name,), reading.active.get(name, 0)) for name in SEVERITIES]
    core += [(TRANSITIONS, key, n) for key, n in durable.transitions.items()]
    core += [(PERFORMANCE, key, value) for key, value in reading.metrics.items()]
    core += [(ERROR, key, value) for key, value in reading.errors.items()]
    core += [(ESTIMATED, key, value) for key, value in reading.estimated.items()]
    core += [(SAMPLES, (window,), n) for window, n in reading.samples.items()]
    if reading.coverage is not None:
        core.append((COVERAGE, (), reading.coverage))
    return core, list(_per_signal(reading, durable))


def _per_signal(reading: Reading, durable: Reading) -> Iterator[Point]:
    shown = _top(reading, durable)
    rest = [share for signal, share in reading.missing.items() if signal not in shown]
    yield from ((MISSING, (s,), share) for s, share in reading.missing.items() if s in shown)
    if rest:  # every row has every signal, so the mean is the share of all their values
        yield (MISSING, (OTHER,), math.fsum(rest) / len(rest))
    yield from ((STATISTIC, key, x) for key, x in reading.statistics.items() if key[0] in shown)
    found: dict[tuple[str, str], int] = {}
    for (signal, detector), n in durable.detections.items():
        key = (signal if signal in shown else OTHER, detector)
        found[key] = found.get(key, 0) + n
    yield from ((DETECTIONS, key, n) for key, n in found.items())


def _top(reading: Reading, durable: Reading) -> set[str]:
    """The signals that get series: those with a detection first, then by name.

    A signal moves out of `OTHER` only while its detections are 0, so no counter ever falls.
    """
    hit = {signal for (signal, _), n in durable.detections.items() if n}
    names = {signal for signal, _ in (*durable.detections, *reading.statistics)}
    ranked = sorted(names.union(reading.missing), key=lambda name: (name not in hit, name))
    return set(ranked[:TOP_SIGNALS])


def families(subjects: Iterable[tuple[tuple[str, str], Iterable[Point]]]) -> Iterator[Metric]:
    """The metric families of all subjects' samples; those with a value that is not finite left out.

    Every family comes, with or without samples, so what a scrape contains does not depend on load.
    """
    made = {series: _family(series) for series in STATE_SERIES}
    for subject, samples in subjects:
        for series, labels, value in samples:
            if math.isfinite(value):
                made[series].add_metric((*subject, *labels), value)
    yield from made.values()


def _family(series: Series) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if series in _DURABLE else GaugeMetricFamily
    return make(series.name, series.help, labels=series.labels)
