"""Label alphabets and what may be bet on them."""

import numpy as np
import pytest

from detectors.bank.alternatives import adaptive, adaptive_radius, bets, radius
from detectors.bank.exact import STEP
from detectors.bank.labels import Signal, signal_of
from detectors.bank.season import has_season, hour_of_day, hourly_counts, phi_within_hours
from detectors.reference import profiling
from detectors.reference.profile import CHANGED, MISSING
from tests.bank_signals import categories, numbers


def test_a_number_is_one_of_twenty_bins_or_outside_or_missing():
    signal = numbers(missing=50)
    assert signal.counts.shape == (1, 23)
    assert signal.counts[0, 0] == signal.counts[0, -2] == 0
    assert signal.counts[0, -1] == 50
    assert signal.label_of[MISSING] == signal.label_of[CHANGED] == 22
    assert signal.shares.sum() == pytest.approx(1.0)
    assert signal.shares[0, 0] == pytest.approx(0.5 / (5_050 + 11.5))


def test_rare_categories_are_pooled_and_new_ones_are_not():
    signal = categories({"a": 6_000, "b": 3_996, "rare": 4})
    assert signal.names == ("a", "b", "other values", "new values", "missing")
    assert signal.counts[0].tolist() == [6_000, 3_996, 4, 0, 0]
    assert signal.label_of[2] == signal.label_of[3] == 2  # the rare one, and the pool


def test_where_the_reference_forgot_names_new_values_are_in_the_pool():
    """Else each value that the reference pooled would look as if never seen."""
    values = {f"v{at:02d}": 2_000 - 20 * at for at in range(60)}
    signal = categories(values)
    assert "new values" not in signal.names
    profile_codes = 30
    assert signal.label_of[profile_codes] == signal.label_of[profile_codes + 1]


def test_a_small_reference_has_no_test():
    profile = profiling.numeric(np.arange(499.0))
    assert signal_of("x", profile, 0) is None


def test_seasons_need_a_thousand_rows_an_hour_over_two_weeks():
    assert has_season(24_000, 14.0)
    assert not has_season(23_999, 14.0)
    assert not has_season(24_000, 13.9)


@pytest.mark.parametrize(
    "signal", [numbers(), categories({"a": 900, "b": 100}), numbers(side="up")]
)
def test_every_bet_is_fair_in_the_whole_ball_around_the_reference(signal: Signal):
    found = bets(signal)
    assert found.prior.sum() == pytest.approx(1.0)
    p, r = signal.shares[0], radius(signal.effective_n)
    factors = np.exp(found.evidence[0, :, 1:] * signal.phi)
    assert (p @ factors < 1).all()
    for column in factors.T:
        # The worst law of the ball: it leans along the bet, by chi-squared distance r.
        spread = np.sqrt(p @ (column - p @ column) ** 2)
        worst = p * (1 + r * (column - p @ column) / spread)
        if (worst >= 0).all():
            assert worst.sum() == pytest.approx(1.0)
            assert worst @ column <= 1 + 1e-9


def test_the_adaptive_bet_is_fair_and_follows_what_was_seen():
    signal = numbers()
    p = signal.shares[None]
    seen = p[:, 0].copy()
    seen[0, 5] += 0.3
    seen /= seen.sum()
    ball = adaptive_radius(23, signal.effective_n)
    evidence = adaptive(p, seen, p[:, 0], np.array([ball]), np.ones(1))[0, 0]
    assert p[0, 0] @ np.exp(evidence) < 1
    assert np.argmax(evidence) == 5


def test_evidence_comes_in_steps_whose_sums_are_exact():
    evidence = bets(numbers()).evidence
    assert (evidence / STEP == np.round(evidence / STEP)).all()
    assert np.abs(evidence).max() < 2**8


def test_few_bins_have_no_location():
    profile = profiling.numeric(np.array([0.0, 1.0] * 500))
    signal = signal_of("flag", profile, 0)
    assert signal is not None
    assert signal.scores is None
    assert not {"higher", "wider"} & set(bets(signal).names)


def test_rows_are_counted_by_hour_and_code():
    codes = np.array([0, 1, 1, MISSING, CHANGED], np.uint8)
    counts = hourly_counts(codes, np.array([0, 23, 23, 0, 1]), 3)
    assert counts.shape == (24, 4)
    assert counts[0].tolist() == [1, 0, 0, 1]
    assert counts[1].tolist() == [0, 0, 0, 1]
    assert counts[23].tolist() == [0, 2, 0, 0]
    assert hour_of_day(np.array([0, 3_600_000, 86_400_000 - 1, 86_400_000])).tolist() == [
        0,
        1,
        23,
        0,
    ]


def test_a_daily_cycle_is_no_memory_within_the_hour():
    hours = np.arange(48_000) % 2_400 // 100
    noise = np.random.default_rng(1).normal(size=48_000)
    scores = (noise + np.sin(2 * np.pi * hours / 24))[:, None]
    assert phi_within_hours(scores, hours)[0] < 1.3
    assert phi_within_hours(scores, hours * 0)[0] > 10


def test_hourly_profiles_have_shares_and_evidence_of_their_own():
    profile = profiling.numeric(np.arange(1_000.0))
    hourly = np.tile(np.array([0, *profile.counts, 0, 0]), (24, 1))
    hourly[7] = hourly[7][::-1]
    hourly[7, 0] = 1_000
    signal = signal_of("x", profile, 0, hourly=hourly, phi=1.0)
    assert signal is not None
    assert signal.shares.shape == (24, 23)
    assert signal.n == hourly.sum()
    evidence = bets(signal).evidence
    assert (evidence[7] != evidence[8]).any()
