"""Distances of binned distributions against SciPy's on the same bins."""

import numpy as np
import pytest
from scipy.spatial.distance import chebyshev, jensenshannon
from scipy.special import rel_entr
from scipy.stats import chisquare, ks_2samp, wasserstein_distance

from detectors import distances

RNG = np.random.default_rng(5)
PAIRS = [
    (
        RNG.multinomial(5_000, RNG.dirichlet(np.ones(k))),
        RNG.multinomial(700, RNG.dirichlet(np.ones(k))),
    )
    for k in (2, 5, 20, 33)
    for _ in range(3)
]


@pytest.mark.parametrize(("before", "now"), PAIRS)
def test_distances_equal_those_of_scipy_on_the_same_bins(before, now):
    p, q = before / before.sum(), now / now.sum()
    places = np.cumsum(RNG.random(len(p)))
    assert distances.jensen_shannon(before, now) == pytest.approx(jensenshannon(p, q, 2), abs=1e-12)
    assert distances.l_infinity(before, now)[0] == pytest.approx(chebyshev(p, q), abs=1e-12)
    assert distances.wasserstein(before, now, places, 2.0) == pytest.approx(
        wasserstein_distance(places, places, p, q) / 2, abs=1e-12
    )
    values = [np.repeat(np.arange(len(p)), counts) for counts in (before, now)]
    assert distances.kolmogorov_smirnov(before, now) == pytest.approx(
        ks_2samp(*values).statistic, abs=1e-12
    )
    assert distances.total_variation(before, now) == pytest.approx(np.abs(p - q).sum() / 2)


@pytest.mark.parametrize(("before", "now"), PAIRS)
def test_psi_and_chi_squared_are_those_of_the_smoothed_shares(before, now):
    used = (before > 0) | (now > 0)
    p, q = before[used] + 0.5, now[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    divergence = rel_entr(p, q).sum() + rel_entr(q, p).sum()
    assert distances.psi(before, now) == pytest.approx(divergence, abs=1e-12)
    smoothed = (before + 0.5) / (before + 0.5).sum()
    expected = chisquare(now, now.sum() * smoothed).statistic
    assert distances.chi_squared(before, now) == pytest.approx(expected, rel=1e-12)


def test_bins_that_are_empty_on_both_sides_change_no_psi():
    assert distances.psi([5_000, 5_000], [120, 130]) == distances.psi(
        [5_000, 0, 5_000, 0], [120, 0, 130, 0]
    )


@pytest.mark.parametrize("n", [200, 500, 1_000, 20_000])
def test_noise_alone_seldom_exceeds_the_limit_of_psi(n):
    rng = np.random.default_rng(n)
    shares = np.full(20, 0.05)
    before, now = rng.multinomial(10_000, shares, 4_000), rng.multinomial(n, shares, 4_000)
    found = np.array([distances.psi(b, c) for b, c in zip(before, now, strict=True)])
    assert np.mean(found > distances.psi_limit(20, n, 10_000)) <= 0.003
    assert found.mean() == pytest.approx(distances.psi_noise(20, n, 10_000), rel=0.1)


def test_severity_limits_stand_for_shifts_of_a_normal_signal():
    """The table of population values that ties PSI to effect size."""
    from scipy.stats import norm

    cuts = np.concatenate([[-np.inf], norm.ppf(np.arange(1, 20) / 20), [np.inf]])
    n = 10**9
    before = np.full(20, n / 20)
    for shift, psi, distance in ((0.25, 0.061, 0.105), (0.5, 0.245, 0.207), (1.0, 0.963, 0.397)):
        now = np.diff(norm.cdf(cuts - shift)) * n
        assert distances.psi(before, now) == pytest.approx(psi, abs=0.001)
        assert distances.jensen_shannon(before, now) == pytest.approx(distance, abs=0.001)


def test_a_distance_without_rows_or_of_unlike_bins_is_an_error():
    with pytest.raises(ValueError, match="rows on both sides"):
        distances.jensen_shannon([1, 2], [0, 0])
    with pytest.raises(ValueError, match="unlike bins"):
        distances.psi([1, 2], [1, 2, 3])
