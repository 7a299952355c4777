"""MonitorSpec: what to watch for one model, as `streams` read it from YAML or took by default."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from detectors.remedy_spec import Remedy

Task: TypeAlias = Literal["binary", "multiclass", "regression"]

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


Severity: TypeAlias = Literal["info", "warning", "critical"]


class Threshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that windows are held against; `name` (else the metric's) is the alert's rule.

    Attributes:
        metric: a metric of the task, or `missing_rate:<feature>`.
        above, below: it is violated where the value lies beyond; with `relative`, shares of what
            it is relative to: above .1 is 10 % more than the reference, below .1 is 10 % less.
        relative: what the limits are shares of; None: they are values of the metric.
        for_windows: windows in a row that must violate before an alert opens, or not to close it.
        min_samples: outcomes (predictions for a missing rate) below which a window says nothing.
        clear: value (or share) that must be reached again to end the alert; None: the limit.
    """

    metric: str
    above: float | None = None
    below: float | None = None
    relative: Literal["reference", "last_week"] | None = None
    for_windows: int = 1
    min_samples: int = 100
    clear: float | None = None
    severity: Severity = "warning"
    name: str | None = None

    @property
    def rule(self) -> str:
        """What names its alerts."""
        return self.name or self.metric


class DetectorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A detector of `detectors.registry.DETECTORS` and the signals it runs on.

    Attributes:
        on: `error`, `residual`, `score`, `prediction`, `latency`, `feature:NAME`, or `feature:*`.
        opens: whether it may open alerts, beside being counted and shown.
        params: those of its settings that are not its defaults.
    """

    name: str
    on: tuple[str, ...]
    opens: bool = False
    params: dict[str, str | bool | int | float] = {}


class MetricSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric by name, of `detectors.registry.METRICS` or, with `params`, of its `FACTORIES`."""

    name: str
    params: dict[str, float] = {}


class MonitorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a monitor may be told about one model; `MonitorSpec(model=...)` are the defaults.

    Validation with file, line and column is `streams.monitors.load`' business; what comes here is
    sound.
    """

    model: str
    task: Task | None = None
    """None: decided from the warm-up, then kept."""
    positive: str | None = None
    """The positive class as text; None: by the rule of contract.md section 2."""
    classes: dict[str, tuple[str, ...]] = {}
    """Class -> other texts that mean it, such as {"true": ("1", "yes")}."""
    horizon_ms: int = 24 * HOUR_MS
    """How long a prediction waits for its label."""
    label_sample: float = 1.0
    """Share of predictions, by their id, whose labels are taken; 0: the model has no labels."""
    window_ms: int = HOUR_MS
    lateness_ms: int = 10 * MINUTE_MS
    """How long after its end a window takes rows before it closes, on the arrival clock."""
    warmup: int = 5_000
    """Rows the reference is learned from, where no profile is named."""
    features: tuple[str, ...] | None = None
    """Names to watch; None: those of the warm-up or of the reference."""
    segments: tuple[str, ...] = ()
    false_alarms: float = 1.0
    """Per week and model version, over all signals; > 0."""
    detectors: tuple[str, ...] = ()
    """`adwin`: the ADWIN that runs on every signal may open alerts beside the bank."""
    configured: tuple[DetectorSpec, ...] = ()
    """Further detectors; one that names a feature goes before the same one on `feature:*`."""
    cool_down_ms: int | None = None
    """After its end, in event time, an incident that is told again goes on; None: one window."""
    thresholds: tuple[Threshold, ...] = ()
    metrics: tuple[MetricSpec, ...] | None = None
    """What to compute; None: the defaults of the task."""
    remediation: tuple[Remedy, ...] = ()
    """What alerts of this model may set off, in this order."""


def config_hash(spec: MonitorSpec) -> str:
    """16 hex digits that change when, and only when, a setting does; every alert carries them."""
    return sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]
