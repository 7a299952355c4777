"""What a signal may have become, as bets against its reference.

A bet is a factor q/p per label, with mean 1 under the reference p. Multiplied over events, less a
penalty, it is evidence: its mean is at most 1 under every law within a ball around the reference.

Source: Shin, Ramdas & Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change
detection", arXiv 2203.03532.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Final, TypeAlias

import numpy as np
from scipy.stats import chi2

from detectors.api import Floats
from detectors.bank.exact import floored
from detectors.bank.labels import RARE, Signal

LOCATION: Final = (0.06, 0.12, 0.25, 0.5, 1.0)
"""Tilts exp(t z) of the normal scores z: a normal signal's shift by t standard deviations."""
SCALE: Final = (0.15, 0.4)
"""Tilts exp(t (z^2 - 1)): wider, and narrower for -t."""
LEAST_EFFECT: Final = 0.05
"""Radius of the ball of laws that are no news, in standard deviations of the bet."""
SAMPLING_ERRORS: Final = 4.5
"""How many standard errors of the reference's own sampling the ball holds."""
ADAPTIVE_LEVEL: Final = 1e-6
"""Chance that a reference's sampling error leaves the adaptive bet's ball."""
LEARNED: Final = 0.8
"""Share of the adaptive bet that follows recent events; the rest stays with the reference."""
_TAIL = 4


@dataclass(frozen=True, slots=True)
class Bets:
    """The alternatives of one signal; the first is the adaptive one, whose factors follow the data.

    Attributes:
        names: what each says happened; the adaptive one says nothing.
        prior: weights, sum 1, shape (A,).
        evidence: nats per label, penalty taken off and divided by phi, shape (H, K, A); the
            adaptive column is 0.
    """

    names: tuple[str, ...]
    prior: Floats
    evidence: Floats


def bets(signal: Signal) -> Bets:
    """The alternatives of a signal, by its kind."""
    groups = _groups(signal)
    names = [name for _, group in groups for name, _ in group]
    prior = [share / len(group) for share, group in groups for _ in group]
    factors = [factor for _, group in groups for _, factor in group]
    fixed = [at for at, factor in enumerate(factors) if factor is not None]
    h, k = signal.counts.shape
    evidence = np.zeros((h, k, len(factors)))
    if fixed:
        whole = np.stack([factor for factor in factors if factor is not None])
        evidence[:, :, fixed] = _evidence(signal.shares, whole, signal).transpose(1, 2, 0)
    return Bets(tuple(names), np.array(prior), evidence)


def radius(effective_n: float) -> float:
    """Radius of the ball for a bet fixed in advance: least effect, or the reference's own error."""
    return max(LEAST_EFFECT, SAMPLING_ERRORS / sqrt(effective_n))


def adaptive_radius(labels: int, effective_n: float) -> float:
    """Radius for a bet that may point anywhere: the chi-squared distance of a whole sample."""
    return max(LEAST_EFFECT, sqrt(_quantile(max(labels - 1, 1)) / effective_n))


@cache
def _quantile(freedom: int) -> float:
    """Chi-squared that a sample exceeds with chance `ADAPTIVE_LEVEL`."""
    return float(chi2.isf(ADAPTIVE_LEVEL, freedom))


def adaptive(p: Floats, recent: Floats, expected: Floats, ball: Floats, phi: Floats) -> Floats:
    """Evidence per label of the bet that what was seen lately goes on, of J signals.

    Args:
        p: the reference's shares, shape (J, H, K); 0 beyond a signal's own labels.
        recent: smoothed shares seen, shape (..., J, K).
        expected: what the reference would have had then, shape (..., J, K); the same as `p` where
            it has no hours.
        ball: radius of each signal, shape (J,).
        phi: serial-correlation factor of each, shape (J,).

    Returns: nats per label, shape (..., J, H, K).
    """
    ratio = (recent / np.where(expected > 0, expected, 1.0))[..., None, :]
    total = np.einsum("...k->...", p * ratio)[..., None]
    factor = (1 - LEARNED) + LEARNED * ratio / np.where(total > 0, total, 1.0)
    spread = np.sqrt(np.einsum("...k->...", p * (factor - 1) ** 2))
    penalty = np.log1p(ball[:, None] * spread)
    return floored((np.log(factor) - penalty[..., None]) / phi[:, None, None])


_Group: TypeAlias = list[tuple[str, Floats | None]]


def _groups(signal: Signal) -> list[tuple[float, _Group]]:
    """(prior weight, bets) per kind of bet; a factor of None is the adaptive bet."""
    k = signal.counts.shape[1]
    z = signal.scores
    learned: _Group = [("", None)]
    more = [f"more {name}" for name in signal.names]
    doubled: _Group = list(zip(more, _times(k, 2.0), strict=True))
    if z is None:
        common = np.flatnonzero(signal.counts.sum(axis=0) >= RARE * signal.n).tolist()
        raised, lowered = _times(k, 1.3), _times(k, 0.75)
        some: _Group = [(more[at], raised[at]) for at in common]
        some += [(f"less {signal.names[at]}", lowered[at]) for at in common]
        return [(0.375, learned), (0.25, doubled), (0.375, some)]
    if signal.side == "up":
        tail = doubled[-1 - _TAIL : -1]
        return [(0.0, learned), (0.25, tail), (0.75, _location(z, LOCATION))]
    location = _location(z, [*LOCATION, *(-t for t in LOCATION)])
    scale: _Group = [("wider", np.exp(t * (z * z - 1))) for t in SCALE]
    scale += [("narrower", np.exp(-t * (z * z - 1))) for t in SCALE]
    return [(0.75, [*learned, *location, *scale]), (0.25, doubled)]


def _location(z: Floats, tilts: Sequence[float]) -> _Group:
    return [("higher" if t > 0 else "lower", np.exp(t * z)) for t in tilts]


def _times(k: int, factor: float) -> Floats:
    """For each label the bet that it, of k, comes so many times as often; shape (k, k)."""
    factors = np.ones((k, k))
    np.fill_diagonal(factors, factor)
    return factors


def _evidence(p: Floats, factors: Floats, signal: Signal) -> Floats:
    """Nats per bet, hour and label, shape (A, H, K), of factors by bet and label.

    The penalty is Cauchy and Schwarz': E_P[q/p] <= 1 + r sd_p(q/p) for every law P whose
    chi-squared distance from p is at most r^2.
    """
    by_hour = factors[:, None, :]
    ratio = by_hour / (p * by_hour).sum(axis=2, keepdims=True)
    spread = np.sqrt((p * (ratio - 1) ** 2).sum(axis=2, keepdims=True))
    penalty = np.log1p(radius(signal.effective_n) * spread)
    return floored((np.log(ratio) - penalty) / signal.phi)
