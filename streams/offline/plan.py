"""What a monitor will cost, before it runs: signals, state, series, false alarms, pending labels.

Nothing is guessed that can be built: the monitor is made from its reference and measured. Without a
reference nobody knows the features yet, and the plan says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from detectors import engine
from detectors.bank.budget import TICK, expected_per_week, tick_size
from detectors.banked.moved import kind_of
from detectors.flow.memory_pending import MAX_ENTRIES
from detectors.label_ages import ages_of, signal_of_age
from detectors.plan import ERROR, LABEL, RESIDUAL, Plan, plan_of
from detectors.reference.profile import ReferenceProfile
from detectors.spec import MonitorSpec
from detectors.state import MonitorState
from detectors.texts import LENGTH, TOKENS
from driftline.errors import UsageError
from driftline.rules import iso_ms
from driftline.subject import Subject
from streams.monitors.load import Monitors
from streams.offline.unbounded import Unbounded, unbounded
from streams.pipeline.reading import ALL_TIME, LATEST, reading_of
from streams.state import rocks_pending
from streams.telemetry.readings import points

PENDING_BYTES: Final = 250
"""Of a prediction that waits for its label, in memory."""
LABEL_BYTES: Final = 400
"""Of its label, kept until the horizon because it may be revised."""
DISK_PENDING_BYTES: Final = 75
"""Of a prediction that waits for its label, on disk: `make bench-pending`."""
DISK_LABEL_BYTES: Final = 60
"""Of its label there."""
DAY_S: Final = 86_400

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h|day)")
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "day": DAY_S}


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """What predictions that wait for labels cost at a rate, once a horizon has passed.

    `bytes`: without labels; `labelled_bytes`: with a label for each. `shards`: so many partitions
    are needed for every entry to be kept its horizon long. The same on disk (`--state-dir`).
    """

    per_second: float
    entries: int
    bytes: int
    labelled_bytes: int
    shards: int
    disk_bytes: int
    disk_labelled_bytes: int
    disk_shards: int


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What one version of a model will cost; None: not known before its warm-up.

    Attributes:
        reference: where it comes from.
        signals: number of tested signals by family.
        untested: features that have no test, such as arrays, or too small a reference.
        state_bytes: mutable state of a fresh monitor in a checkpoint, without its reference.
        series: Prometheus series of one version.
        budget: false alarms a week that the configuration allows.
        expected: the most false alarms a week, in the mean, at the given rate or, without one, the
            reference's, for which its thresholds are made.
        traffic: rows a second of the reference.
        unbounded: detectors that the budget does not bound.
    """

    model: str
    reference: str
    signals: dict[str, int] | None
    untested: int
    state_bytes: int | None
    series: int | None
    budget: float
    expected: float
    traffic: float | None
    join: JoinPlan | None
    unbounded: tuple[Unbounded, ...] = ()


def per_second(text: str) -> float:
    """Predictions a second of `100/s`, `5000/min`, `2/h` or `1000/day`.

    Raises:
        UsageError: it is none of these, or 0.
    """
    match = _RATE.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise UsageError(
            f"--rate {text}: write a number and a unit, as 100/s, 5000/min or 200000/day"
        )
    return float(match[1]) / _SECONDS[match[2]]


def plan(monitors: Monitors, rate: float | None = None) -> list[ModelPlan]:
    """One plan per monitor file, in order of the models' names.

    Args:
        monitors: what was read from the files.
        rate: predictions a second of each model, for what depends on it.
    """
    return [
        _model(spec, monitors.reference(model), rate)
        for model, spec in sorted(monitors.specs.items())
    ]


def _model(spec: MonitorSpec, profile: ReferenceProfile | None, rate: float | None) -> ModelPlan:
    join = None if rate is None else _join(spec, rate)
    if profile is None:
        learned = f"learned from the first {spec.warmup:,} rows"
        budget = spec.false_alarms
        further = unbounded(spec, None, rate)
        return ModelPlan(
            spec.model, learned, None, 0, None, None, budget, budget, None, join, further
        )
    state = engine.new(Subject(spec.model, profile.version), spec, profile)
    traffic = _traffic(profile)
    watched = [name for name in profile.features if name in state.roster.names]
    split = plan_of(profile, watched, spec)
    return ModelPlan(
        model=spec.model,
        reference=f"{profile.model}@{profile.version}, {profile.n:,} rows",
        signals=_families(split, spec),
        untested=sum(f"feature:{name}" not in split.binned for name in watched),
        state_bytes=_state_bytes(state),
        series=_series(state),
        budget=spec.false_alarms,
        expected=_expected(split, traffic if rate is None else rate),
        traffic=traffic,
        join=join,
        unbounded=unbounded(spec, state, traffic if rate is None else rate),
    )


def _families(split: Plan, spec: MonitorSpec) -> dict[str, int]:
    """Signals by what they are about; `volume` and `thresholds` are outside the budget."""
    rates: dict[str, int] = {}
    for kind, _, _ in split.rates:
        rates[kind] = rates.get(kind, 0) + 1
    texts = sum(name.startswith((LENGTH, TOKENS)) for name in split.binned)
    kinds = Counter(kind_of(name) for name in split.binned)
    families = {
        "error": int(ERROR in split.log_c),
        "labels and residuals": sum(name in split.log_c for name in (LABEL, RESIDUAL)),
        "label delay": sum(signal_of_age(age) in split.log_c for age in ages_of(spec.horizon_ms)),
        "volume": 1,
        "prediction and score": kinds["prediction_drift"],
        "feature values": kinds["feature_drift"] - texts,
        "texts": texts,
        "attributions": kinds["attribution_drift"],
        "latency": kinds["latency"],
        **{kind.replace("_", " "): n for kind, n in rates.items()},
        "thresholds": len(spec.thresholds),
    }
    return {name: n for name, n in families.items() if n}


def _traffic(profile: ReferenceProfile) -> float:
    span_ms = (iso_ms(profile.end or "") or 0) - (iso_ms(profile.start or "") or 0)
    return profile.n / max(span_ms / 1_000, 1.0)


def _expected(split: Plan, rate: float) -> float:
    """Thresholds are set for the reference's traffic; other traffic has other ticks a day."""
    wide = tick_size(len(split.binned))
    daily = [
        max(rate * DAY_S / (wide if name in split.binned else TICK), 1.0) for name in split.log_c
    ]
    return expected_per_week(list(split.log_c.values()), daily)


def _state_bytes(state: MonitorState) -> int:
    reference = len(msgspec.msgpack.encode(msgspec.to_builtins(state.profile)))
    return len(engine.snapshot(state)) - reference


def _series(state: MonitorState) -> int:
    """Every metric that the task has gets its series; transitions come as alerts do."""
    reading = reading_of(state)
    values = {(name, over): 0.0 for over in (ALL_TIME, LATEST) for name in state.values()}
    full = replace(reading, metrics=values, coverage=0.0)
    return sum(map(len, points(full, full)))


def _join(spec: MonitorSpec, rate: float) -> JoinPlan:
    waiting = math.ceil(rate * spec.horizon_ms / 1_000)
    return JoinPlan(
        per_second=rate,
        entries=2 * waiting,
        bytes=waiting * PENDING_BYTES,
        labelled_bytes=waiting * (PENDING_BYTES + LABEL_BYTES),
        shards=math.ceil(2 * waiting / MAX_ENTRIES),
        disk_bytes=waiting * DISK_PENDING_BYTES,
        disk_labelled_bytes=waiting * (DISK_PENDING_BYTES + DISK_LABEL_BYTES),
        disk_shards=math.ceil(2 * waiting / rocks_pending.MAX_ENTRIES),
    )
