"""Delayed labels: cohorts by prediction time, their coverage and bounds, and equal label age."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.measures.cohort_report import compare_ages, report
from detectors.measures.cohorts import DAY_MS, HOUR_MS, Cohorts, size_for


def ints(*values):
    return np.array(values, np.int64)


def predict(cohorts, n, ts=0, cell=0):
    cohorts.add_predictions(np.full(n, ts), np.full(n, ts), np.full(n, cell))


def label(cohorts, n, *, errors, age, ts=0, cell=0):
    wrong = np.zeros(n, np.int64)
    wrong[:errors] = 1
    cohorts.add_outcomes(
        np.full(n, ts), np.full(n, ts + age), np.full(n, cell), np.ones(n, np.int64), wrong
    )


def test_a_cohort_says_what_is_known_and_what_cannot_be():
    cohorts = Cohorts(HOUR_MS, DAY_MS)
    predict(cohorts, 100)
    label(cohorts, 40, errors=10, age=HOUR_MS)
    (one,) = report(cohorts)
    assert (one.predictions, one.labels, one.coverage) == (100, 40, 0.4)
    assert one.error.value == 0.25
    assert one.bounds == (0.1, 0.7)
    assert one.provisional


def test_slow_negatives_make_the_first_day_look_bad_and_the_bounds_know_it():
    """Positives are labelled after a day on average, negatives after ten; the error is 4 %."""
    rng = np.random.default_rng(16)
    n = 20_000
    positive = rng.random(n) < 0.1
    wrong = np.where(positive, rng.random(n) < 0.18, rng.random(n) < 0.024).astype(np.int64)
    truth = wrong.mean()
    ts = rng.integers(0, DAY_MS, n)
    age = (rng.exponential(np.where(positive, 1.0, 10.0)) * DAY_MS).astype(np.int64)
    cohorts = Cohorts(DAY_MS, 60 * DAY_MS)
    zeros = np.zeros(n, np.int64)
    cohorts.add_predictions(ts, ts, zeros)
    seen = ts + age < DAY_MS
    cohorts.add_outcomes(ts[seen], (ts + age)[seen], zeros[seen], zeros[seen] + 1, wrong[seen])
    (one,) = report(cohorts)
    assert one.provisional
    assert one.coverage == pytest.approx(0.08, abs=0.03)
    assert one.error.value > 1.7 * truth
    low, high = one.bounds
    assert low < truth < high


def test_a_cohort_stops_being_provisional_near_the_final_coverage_of_matured_ones():
    cohorts = Cohorts(HOUR_MS, DAY_MS)
    predict(cohorts, 100)
    label(cohorts, 50, errors=5, age=HOUR_MS)
    cohorts.settle(HOUR_MS + DAY_MS)
    assert cohorts.final_coverage == 0.5
    assert not cohorts.open
    later = 30 * HOUR_MS
    predict(cohorts, 100, later)
    label(cohorts, 44, errors=1, age=1, ts=later)
    assert report(cohorts)[0].provisional
    label(cohorts, 1, errors=0, age=2, ts=later)
    assert not report(cohorts)[0].provisional


def test_a_revision_changes_the_error_at_the_age_it_came_and_no_coverage():
    cohorts = Cohorts(HOUR_MS, 9 * DAY_MS)
    predict(cohorts, 10)
    label(cohorts, 10, errors=4, age=1)
    when = 2 * DAY_MS
    cohorts.add_outcomes(ints(0, 0), ints(when, when), ints(0, 0), ints(-1, 1), ints(1, 0))
    aged = cohorts.open[0].by_age()
    assert aged.labels == (10, 10, 10, 10)
    assert aged.errors == (4, 4, 3, 3)


def test_fresh_cohorts_are_compared_with_what_older_ones_showed_at_the_same_age():
    cohorts = Cohorts(HOUR_MS, 2 * DAY_MS)
    for hour in range(5):  # errors are labelled first: 40 % under an hour, 10 % in the end
        predict(cohorts, 100, hour * HOUR_MS)
        label(cohorts, 20, errors=8, age=HOUR_MS // 2, ts=hour * HOUR_MS)
        label(cohorts, 80, errors=2, age=DAY_MS // 2, ts=hour * HOUR_MS)
    now = 100 * HOUR_MS
    cohorts.settle(now)
    predict(cohorts, 100, now)
    label(cohorts, 20, errors=8, age=HOUR_MS // 2, ts=now)
    hour, day, week = compare_ages(cohorts, now + 2 * HOUR_MS)
    assert (hour.error.value, hour.reference.value, hour.z) == (0.4, 0.4, 0.0)
    assert (hour.coverage.value, hour.reference_coverage.value) == (0.2, 0.2)
    assert day.reference.value == pytest.approx(0.1)
    assert day.error.value is None  # no open cohort is a day old
    assert day.coverage.reason == "no cohort of this age"
    assert (day.z, week.z) == (None, None)


def test_uneven_coverage_is_shown_and_weighed_by_cell():
    cohorts = Cohorts(HOUR_MS, DAY_MS, cells=3)
    predict(cohorts, 900, cell=0)
    predict(cohorts, 100, cell=1)
    label(cohorts, 90, errors=0, age=1, cell=0)
    label(cohorts, 90, errors=45, age=1, cell=1)
    (one,) = report(cohorts)
    assert one.error.value == 0.25
    assert (one.selection.least, one.selection.most) == (0.1, 0.9)
    assert one.selection.reweighted == pytest.approx(0.05)
    assert one.selection.unseen == 0.0
    predict(cohorts, 1_000, cell=2)
    assert report(cohorts)[0].selection.unseen == 0.5


def test_labels_that_come_after_their_cohort_matured_are_counted_late():
    cohorts = Cohorts(HOUR_MS, DAY_MS)
    predict(cohorts, 2)
    label(cohorts, 1, errors=0, age=HOUR_MS + DAY_MS - 1)
    label(cohorts, 1, errors=0, age=HOUR_MS + DAY_MS)
    assert cohorts.late == 1
    assert report(cohorts)[0].labels == 1


def test_nothing_labelled_is_no_error_rate():
    cohorts = Cohorts(HOUR_MS, DAY_MS)
    assert report(cohorts) == []
    predict(cohorts, 3)
    (one,) = report(cohorts)
    assert (one.error.value, one.error.reason) == (None, "no labels yet")
    assert one.bounds == (0.0, 1.0)
    assert one.selection.reweighted is None


def test_cohorts_are_hours_for_short_horizons_and_days_for_long_ones():
    assert size_for(DAY_MS) == HOUR_MS
    assert size_for(15 * DAY_MS) == DAY_MS


kinds = st.tuples(st.integers(0, 40), st.integers(0, 60), st.integers(0, 1), st.booleans())


@given(st.lists(kinds, max_size=40), st.integers(1, 7), st.integers(1, 7))
def test_batching_and_restarts_change_nothing(rows, one_size, other_size):
    rows = sorted(
        ((ts, ts + age, cell, wrong) for ts, age, cell, wrong in rows), key=lambda r: r[1]
    )
    ended = []
    for size in (one_size, other_size):
        cohorts = Cohorts(10, 20, cells=2)
        for at in range(0, len(rows), size):
            ts, arrival, cells, wrong = (
                np.array(c, np.int64) for c in zip(*rows[at : at + size], strict=True)
            )
            cohorts.add_predictions(ts, arrival, cells)
            cohorts.add_outcomes(ts, arrival, cells, np.ones(len(ts), np.int64), wrong)
            following = rows[at + size : at + size + 1]
            cohorts.settle(following[0][1] if following else int(arrival[-1]))
            cohorts = Cohorts.load(cohorts.dump())
        cohorts.settle(1_000)
        ended.append(cohorts.dump())
    assert ended[0] == ended[1]
