"""MonitorSpec: what to watch for one model, as `streams` read it from YAML or took by default."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

Task: TypeAlias = Literal["binary", "multiclass", "regression"]

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


class MetricSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric by name, of `detectors.registry.METRICS` or, with `params`, of its `FACTORIES`."""

    name: str
    params: dict[str, float] = {}


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
    """What to compute; None: the defaults of the task."""


def config_hash(spec: MonitorSpec) -> str:
    """16 hex digits that change when, and only when, a setting does; every alert carries them."""
    return sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]
