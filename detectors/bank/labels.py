"""A signal as a label alphabet: which code is which label, how often the reference had it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from detectors.api import Floats
from detectors.reference.profile import BinnedProfile, Bins, NumericProfile

Ints: TypeAlias = NDArray[np.int64]
Side: TypeAlias = Literal["both", "up"]

MIN_REFERENCE: Final = 500
"""Reference rows below which a signal is not tested."""
RARE: Final = 0.001
"""Categories of the reference that are rarer are pooled: alone they say little."""
_INNER_BINS = 3


@dataclass(frozen=True, slots=True)
class Signal:
    """What the bank needs to know of a signal.

    Attributes:
        name: as alerts name it.
        at: its row in the matrix of bin codes.
        label_of: label of each code, shape (256,); the last label is missing and type-changed rows.
        names: what each label stands for.
        counts: reference rows per label, shape (H, K); H is 24 with hour-of-day profiles, else 1.
        scores: normal score of each label, shape (K,), 0 for a missing value; None: unordered, or
            too few bins to speak of a location.
        phi: serial-correlation factor, within the hour where there are hourly profiles.
        side: "up" where only a rise is news, such as of an absolute error or a latency.
    """

    name: str
    at: int
    label_of: NDArray[np.uint8]
    names: tuple[str, ...]
    counts: Ints
    scores: Floats | None
    phi: float = 1.0
    side: Side = "both"

    @property
    def n(self) -> int:
        """Reference rows."""
        return int(self.counts.sum())

    @property
    def shares(self) -> Floats:
        """p0 = (n_k + 1/2) / (n + K/2) of each hour's profile, shape (H, K)."""
        k = self.counts.shape[1]
        of_hour = self.counts.sum(axis=1, keepdims=True)
        smoothed: Floats = (self.counts + 0.5) / (of_hour + 0.5 * k)
        return smoothed

    @property
    def effective_n(self) -> float:
        """Independent rows that the reference is worth."""
        return self.n / self.phi

    @property
    def digest(self) -> str:
        """Names the test: evidence of one cannot go on in a bank where it differs."""
        parts = (self.label_of.tobytes(), self.counts.tobytes(), repr(self.phi), self.side)
        whole = sha256(repr((self.names, self.counts.shape, parts)).encode())
        return whole.hexdigest()[:16]


def signal_of(
    name: str,
    profile: BinnedProfile,
    at: int,
    *,
    side: Side = "both",
    hourly: Ints | None = None,
    phi: float | None = None,
) -> Signal | None:
    """The signal of a profile, or None where the reference has fewer than 500 rows.

    Args:
        name: as alerts name it.
        profile: the reference.
        at: the signal's row in the matrix of codes.
        side: "up" where only a rise is news.
        hourly: rows per hour of day (UTC) and code, the last column those without a value, shape
            (24, codes + 1), of `season.hourly_counts`; only where `season.has_season`.
        phi: with `hourly`, the factor of `season.phi_within_hours`; else the profile's holds.
    """
    if profile.n + profile.missing < MIN_REFERENCE:
        return None
    bins = Bins(profile)
    codes = len(bins.counts)
    totals = np.array([[*bins.counts.tolist(), profile.missing]], dtype=np.int64)
    by_code = totals if hourly is None else np.asarray(hourly, dtype=np.int64)
    kept = _kept(profile, totals[0])
    label_of = _label_of(profile, kept, codes)
    counts = np.zeros((len(by_code), len(kept)), dtype=np.int64)
    np.add.at(counts.T, label_of[: codes + 1], by_code.T)
    return Signal(
        name=name,
        at=at,
        label_of=label_of,
        names=tuple("missing" if code == codes else bins.label(code) for code in kept),
        counts=counts,
        scores=_scores(profile, counts.sum(axis=0)),
        phi=profile.phi if phi is None else phi,
        side=side,
    )


def _kept(profile: BinnedProfile, counts: Ints) -> list[int]:
    """The codes with a label of their own, in label order; the code after the last is missing.

    Where the reference pooled values, it no longer knows their names: they then come as new values,
    so both are one label.
    """
    if isinstance(profile, NumericProfile):
        return list(range(len(counts)))
    other = len(profile.values)
    common = [code for code in range(other) if counts[code] >= RARE * counts.sum()]
    unseen = [] if profile.other else [other + 1]
    return [*common, other, *unseen, other + 2]


def _label_of(profile: BinnedProfile, kept: list[int], codes: int) -> NDArray[np.uint8]:
    """The label of every code; rare categories are labelled as other values."""
    label_of = np.full(256, len(kept) - 1, dtype=np.uint8)
    if not isinstance(profile, NumericProfile):
        label_of[:codes] = kept.index(len(profile.values))
    label_of[kept] = np.arange(len(kept))
    return label_of


def _scores(profile: BinnedProfile, counts: Ints) -> Floats | None:
    """Normal scores of a numeric signal's labels, by mid-ranks of the smoothed shares."""
    if not isinstance(profile, NumericProfile) or len(profile.edges) < _INNER_BINS:
        return None
    return normal_scores(counts)


def normal_scores(counts: Ints) -> Floats:
    """Normal scores of labels by mid-ranks of their smoothed shares; 0 for a missing value."""
    present = counts[:-1] + 0.5
    ranks = (np.cumsum(present) - present / 2) / present.sum()
    return np.append(ndtri(ranks), 0.0)
