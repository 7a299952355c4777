"""MonitorSpec: what to watch for one model, as `streams` read it from YAML or took by default."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from driftline.alerts import Severity

Task: TypeAlias = Literal["binary", "multiclass", "regression"]

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


class MetricSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric to compute: its name, and its parameters such as {"fn": 500, "fp": 5} of `cost`."""

    name: str
    params: dict[str, float] = {}


class Threshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit for a metric of each window; exactly one of `above` and `below` is given.

    With `relative` the limit is a difference from the baseline's value, without it a value.
    """

    metric: str
    above: float | None = None
    below: float | None = None
    relative: Literal["reference", "last_week"] | None = None
    """What the metric is compared with: the reference, or the same hour a week before."""
    for_windows: int = 1
    """Windows in a row that must violate it before it opens."""
    min_samples: int = 100
    """Outcomes that a window must have to be judged."""
    clear: float | None = None
    """The level that ends it (hysteresis), on the good side of the limit; None: the limit."""
    severity: Severity = "warning"
    name: str | None = None


class MonitorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a monitor may be told about one model; `MonitorSpec(model=...)` are the defaults.

    Validation with file, line and column is `streams.monitors`' business; what comes here is sound.
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
    window_ms: int = HOUR_MS
    lateness_ms: int = 10 * MINUTE_MS
    """How long after its end a window takes rows before it closes, on the arrival clock."""
    warmup: int = 5_000
    """Rows the reference is learned from, where no profile is named."""
    features: tuple[str, ...] | None = None
    """Names to watch; None: those of the warm-up or of the reference."""
    segments: tuple[str, ...] = ()
    metrics: tuple[MetricSpec, ...] | None = None
    """Metrics in `detectors.registry.METRICS`; None: the defaults of the task."""
    false_alarms: float = 1.0
    """How many a week one version may cost, over all its signals; > 0."""
    detectors: tuple[str, ...] = ()
    """Names in `detectors.registry.DETECTORS` that may open alerts, too."""
    thresholds: tuple[Threshold, ...] = ()


def config_hash(spec: MonitorSpec) -> str:
    """16 hex digits that change when, and only when, a setting does; every alert carries them."""
    return sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]
