"""Hour-of-day profiles of a reference that is long enough, from the bin codes of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.special import ndtri

from detectors.api import Floats
from detectors.bank.season import has_season, hour_of_day, hourly_counts, phi_within_hours
from detectors.classes import Decision
from detectors.frame import Frame
from detectors.reference.profile import (
    CHANGED,
    BinnedProfile,
    Bins,
    Codes,
    HourlyProfile,
    NumericProfile,
    ReferenceProfile,
    UnsupportedProfile,
)
from detectors.reference.profiling import indicators
from detectors.served import Outputs, Said, served_profiles
from detectors.signals import Measure
from detectors.texts import TOKENS

_DAY_MS: Final = 86_400_000


def hourly_profiles(
    profile: ReferenceProfile, rows: Frame, decision: Decision, aliases: Mapping[str, str]
) -> dict[str, HourlyProfile]:
    """Each binned signal's profile by hour of day (UTC).

    Args:
        profile: of all hours together.
        rows: what it was made of, in event-time order.
        decision: what predictions are.
        aliases: text -> the class that it is another name of.

    Returns: by signal; empty where the reference is below 24,000 rows or 14 days.
    """
    ts = rows.ints("ts")
    if not has_season(rows.n, float(ts[-1] - ts[0]) / _DAY_MS):
        return {}
    hours = hour_of_day(ts)
    found = {}
    for name, feature in profile.features.items():
        if not isinstance(feature, UnsupportedProfile):
            codes = Measure(name, feature).codes(rows.columns, rows.n)
            found[f"feature:{name}"] = _hourly(feature, codes, hours)
    outputs = Outputs(served_profiles(profile), texts=profile.texts)
    served = outputs.codes(Said(rows, decision, aliases))[:-1]
    for name, codes in zip(outputs.bins, served, strict=True):
        if name.startswith(TOKENS):
            continue  # its profile is of half the rows
        found[name] = _hourly(outputs.bins[name].profile, codes, hours)
    return found


def _hourly(profile: BinnedProfile, codes: Codes, hours: np.ndarray) -> HourlyProfile:
    bins = Bins(profile)
    known = codes < CHANGED
    phi, block = phi_within_hours(_scores(profile, bins, codes[known]), hours[known])
    counts = hourly_counts(codes, hours, len(bins.counts))
    return HourlyProfile(counts=tuple(map(tuple, counts.tolist())), phi=phi, phi_block=block)


def _scores(profile: BinnedProfile, bins: Bins, codes: Codes) -> Floats:
    """What serial correlation is measured of: location and width, or each common value."""
    if isinstance(profile, NumericProfile):
        z = ndtri(bins.ranks[codes])
        return np.stack([z, z * z], axis=1)
    return indicators(codes, bins.counts)
