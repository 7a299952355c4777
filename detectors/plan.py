"""The budget of one model version, split over all its signals: every threshold of its banks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from detectors.bank import MIN_REFERENCE, Rate, log_threshold, ticks_per_day, weights
from detectors.bank.budget import TICK, tick_size
from detectors.label_ages import ages_of, signal_of_age
from detectors.reference.profile import (
    BinnedProfile,
    Bins,
    CategoricalProfile,
    FeatureProfile,
    HourlyProfile,
    ReferenceProfile,
    TextProfile,
    UnsupportedProfile,
)
from detectors.served import ATTRIBUTION, LATENCY, NEW_FEATURES, influences, served_profiles
from detectors.signals import MAX_FEATURES
from detectors.spec import MonitorSpec
from detectors.texts import LENGTH, TOKENS
from driftline.rules import iso_ms

ERROR: Final = "error"
LABEL: Final = "label"
RESIDUAL: Final = "residual"
WEAK_BELOW: Final = 5_000
"""Rows of a reference below which what is said of it carries a badge."""
_TOLERANCE: Final = 0.001
"""Least tolerance of a missing, unseen or type-changed rate."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the banks of one subject watch, and with what thresholds.

    Attributes:
        binned: signal -> its profile, those of prediction rows.
        rates: 0/1 signals of prediction rows, by kind and feature.
        log_c: threshold by signal name.
        sizes: signal -> rows of its reference.
        hourly: signal -> its profile by hour of day, where the reference is long enough.
        influence: signal of a feature -> its share of all attribution in the reference.
        texts: features of free text.
    """

    binned: Mapping[str, BinnedProfile] = field(default_factory=dict)
    rates: tuple[tuple[str, str, Rate], ...] = ()
    log_c: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    hourly: Mapping[str, HourlyProfile] = field(default_factory=dict)
    influence: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, TextProfile] = field(default_factory=dict)


def feature_signal(feature: str) -> str:
    """The signal of a feature's values, as alerts and windows name it."""
    return f"feature:{feature}"


def plan_of(profile: ReferenceProfile, features: list[str], spec: MonitorSpec) -> Plan:
    """How the budget is split over what the profile can be a reference of.

    A version's error and labels always have their share, since their reference may come later than
    the rest.
    """
    values = {feature_signal(name): profile.features[name] for name in features}
    watched = {name: p for name, each in values.items() if (p := _whole(each, profile.n))}
    served = served_profiles(profile)
    outputs = {
        name: p
        for name, each in served.items()
        if _is_watched(name, features)
        and (p := _whole(each, each.n + each.missing if name.startswith(TOKENS) else profile.n))
    }
    others = [name for name in outputs if name.startswith((ATTRIBUTION, LENGTH, TOKENS))]
    latency = [name for name in outputs if name == LATENCY]
    rates = tuple(
        rate for name in features for rate in _rates(name, profile.features[name], profile.n)
    )
    label_signals = [signal_of_age(age) for age in ages_of(spec.horizon_ms)]
    labels = [LABEL, *([RESIDUAL] if profile.task == "regression" else [])]
    complete = spec.features is None and len(features) < MAX_FEATURES
    if complete and profile.n >= MIN_REFERENCE:
        news = Rate(NEW_FEATURES, 0, profile.n, absolute=_TOLERANCE)
        rates += ((NEW_FEATURES, "", news),)
    families = {
        "performance": [ERROR],
        "scores": [*sorted(outputs.keys() - {*others, LATENCY}), *labels],
        "features": sorted([*watched, *others]),
        "operations": [*latency, *(rate.name for _, _, rate in rates), *label_signals],
    }
    share = weights(families)
    binned = outputs | watched
    span = (iso_ms(profile.end or "") or 0) - (iso_ms(profile.start or "") or 0)
    ticks = dict.fromkeys(binned, tick_size(len(binned)))
    log_c = {
        name: log_threshold(
            ticks_per_day(profile.n, span, ticks.get(name, TICK)), share[name], spec.false_alarms
        )
        for name in share
    }
    sizes = {name: p.n + p.missing for name, p in binned.items()}
    influence = {feature_signal(name): share for name, share in influences(profile).items()}
    return Plan(binned, rates, log_c, sizes, profile.hourly, influence, profile.texts)


def _is_watched(signal: str, features: Sequence[str]) -> bool:
    """Whether a signal is of a prediction, or of a feature that is watched."""
    kind, _, feature = signal.partition(":")
    return f"{kind}:" not in (LENGTH, TOKENS) or feature in features


def _whole(profile: FeatureProfile, rows: int) -> BinnedProfile | None:
    """The profile with rows of another type as missing, which is what the bank takes them for."""
    if isinstance(profile, UnsupportedProfile) or not profile.n or rows < MIN_REFERENCE:
        return None
    return replace(profile, missing=max(profile.missing, rows - profile.n))


def _rates(name: str, profile: FeatureProfile, rows: int) -> list[tuple[str, str, Rate]]:
    if rows < MIN_REFERENCE:
        return []
    hits = {"missing": profile.missing, "type_changed": rows - profile.n - profile.missing}
    if isinstance(profile, CategoricalProfile) and _new_is_news(profile):
        hits["unseen"] = profile.other + profile.once
    memory = 1.0 if isinstance(profile, UnsupportedProfile) else profile.phi
    return [
        (
            kind,
            name,
            Rate(f"{kind}:{name}", max(n, 0), rows, memory, absolute=_TOLERANCE, fall=True),
        )
        for kind, n in hits.items()
    ]


def _new_is_news(profile: CategoricalProfile) -> bool:
    return profile.type == "text" and profile.once <= Bins.EXPECTED_NEW * profile.n
