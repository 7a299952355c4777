"""How far two binned distributions are apart: what people see beside an alert.

All take counts per bin, `reference` and `current`, of the same bins, shape (k,). Distances of
shares need at least one row on each side. They are shown; whether an alert opens, evidence decides.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2 as chi2_law

from detectors.api import Floats

Ints: TypeAlias = NDArray[np.int64]

PSEUDO_COUNT = 0.5
"""Rows added to each bin where a logarithm of its share is taken."""


def psi(reference: ArrayLike, current: ArrayLike) -> float:
    """Population stability index, in nats: >= 0, symmetric, 0 where the smoothed shares agree.

    Half a row is added to each bin that is not empty on both sides; bins empty on both are left
    out, since half a row of a small window would look like news there.

    Source: Kullback & Leibler 1951, "On Information and Sufficiency" (the J divergence).
    """
    before, now = _counts(reference, current)
    used = (before > 0) | (now > 0)
    p, q = _shares(before[used] + PSEUDO_COUNT), _shares(now[used] + PSEUDO_COUNT)
    return float(np.sum((q - p) * np.log(q / p)))


def psi_noise(bins: int, n: int, m: int, *, phi: float = 1.0) -> float:
    """Mean PSI of `bins` bins when nothing changed: n current rows, m of the reference.

    `phi`: serial-correlation factor of the signal; its rows count as n / phi.

    Source: Yurdakul & Naranjo 2020, "Statistical properties of the population stability index",
        J. Risk Model Validation 14 (4): PSI ~ (1/n + 1/m) chi-squared with bins - 1 degrees.
    """
    return max(bins - 1, 0) * phi * (1 / max(n, 1) + 1 / max(m, 1))


def psi_limit(bins: int, n: int, m: int, *, level: float = 0.001, phi: float = 1.0) -> float:
    """The PSI that noise alone exceeds with probability `level`; source as of `psi_noise`."""
    quantile = float(chi2_law.isf(level, bins - 1)) if bins > 1 else 0.0
    return quantile * phi * (1 / max(n, 1) + 1 / max(m, 1))


def excess_psi(reference: ArrayLike, current: ArrayLike, *, phi: float = 1.0) -> float:
    """PSI beyond what sampling alone would give on average; below 0 where the noise was small."""
    before, now = _counts(reference, current)
    bins = int(np.count_nonzero((before > 0) | (now > 0)))
    return psi(before, now) - psi_noise(bins, int(now.sum()), int(before.sum()), phi=phi)


def jensen_shannon(reference: ArrayLike, current: ArrayLike) -> float:
    """Jensen-Shannon distance, base 2: a metric in [0, 1]; 1 where no bin is shared.

    Source: Endres & Schindelin 2003, "A new metric for probability distributions", IEEE Trans. Inf.
        Theory 49 (7).
    """
    p, q = _both_shares(reference, current)
    middle = (p + q) / 2
    divergence = (_entropy_terms(p, middle) + _entropy_terms(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0) / np.log(2)))


def kolmogorov_smirnov(reference: ArrayLike, current: ArrayLike) -> float:
    """Greatest difference of the cumulative shares at bin ends, in [0, 1]; bins in order of value.

    The two-sample statistic of the values themselves is greater by at most the largest bin share.

    Source: Smirnov 1939, "On the estimation of the discrepancy between empirical curves".
    """
    p, q = _both_shares(reference, current)
    return float(np.max(np.abs(np.cumsum(q - p))))


def wasserstein(reference: ArrayLike, current: ArrayLike, positions: ArrayLike, sd: float) -> float:
    """Mean distance that mass has to move, in standard deviations of the reference; >= 0.

    Args:
        reference: counts per bin.
        current: counts per bin.
        positions: where each bin's mass is taken to lie, rising, in the signal's unit, shape (k,).
        sd: standard deviation of the reference, in the same unit; of a constant signal (0), 1.

    Source: Vallender 1974, "Calculation of the Wasserstein distance between probability
        distributions on the line", Theory Probab. Appl. 18 (4): the area between the two CDFs.
    """
    p, q = _both_shares(reference, current)
    gaps = np.diff(np.asarray(positions, dtype=np.float64))
    area = float(np.sum(np.abs(np.cumsum(q - p))[:-1] * gaps))
    return area / (sd if sd > 0 else 1.0)


def total_variation(reference: ArrayLike, current: ArrayLike) -> float:
    """Half the sum of absolute share differences, in [0, 1]: the share of rows that moved.

    Source: Levin, Peres & Wilmer 2009, "Markov Chains and Mixing Times", proposition 4.2.
    """
    p, q = _both_shares(reference, current)
    return float(np.sum(np.abs(q - p)) / 2)


def l_infinity(reference: ArrayLike, current: ArrayLike) -> tuple[float, int]:
    """(greatest change of one bin's share, in [0, 1]; which bin): for categories.

    Source: Chebyshev's distance of the share vectors.
    """
    p, q = _both_shares(reference, current)
    at = int(np.argmax(np.abs(q - p)))
    return float(abs(q[at] - p[at])), at


def chi_squared(reference: ArrayLike, current: ArrayLike) -> float:
    """Pearson's statistic of `current` against the smoothed shares of `reference`; >= 0.

    Half a row is added to each bin of the reference, so a category it never had stays finite.

    Source: Pearson 1900, "On the criterion that a given system of deviations ...".
    """
    before, now = _counts(reference, current)
    p = _shares(before + PSEUDO_COUNT)
    expected = now.sum() * p
    return float(np.sum((now - expected) ** 2 / expected))


def _counts(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    before = np.asarray(reference, dtype=np.float64)
    now = np.asarray(current, dtype=np.float64)
    if before.shape != now.shape or before.ndim != 1:
        raise ValueError(f"counts of unlike bins: {before.shape} and {now.shape}")
    return before, now


def _both_shares(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    before, now = _counts(reference, current)
    if not before.any() or not now.any():
        raise ValueError("a distance needs rows on both sides")
    return _shares(before), _shares(now)


def _shares(counts: Floats) -> Floats:
    shares: Floats = counts / counts.sum()
    return shares


def _entropy_terms(p: Floats, middle: Floats) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / middle[held])))
