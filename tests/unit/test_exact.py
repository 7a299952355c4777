"""Sums without rounding: whatever the order, the batching, and what was taken out again."""

from fractions import Fraction
from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.measures.exact import ExactSums, exact_squares, mean_of, standard_error

numbers = st.floats(-1e100, 1e100, allow_subnormal=True)
rows = st.lists(st.tuples(numbers, numbers), max_size=40)


def sums_of(terms) -> ExactSums:
    sums = ExactSums(2)
    sums.add(np.array(terms, float).reshape(-1, 2))
    return sums


@given(rows)
def test_a_sum_is_exact_and_rounded_once(terms):
    sums = sums_of(terms)
    for column in (0, 1):
        values = [row[column] for row in terms]
        assert sums.fraction(column) == sum(map(Fraction, values), Fraction(0))
        assert sums.value(column) == fsum(values)


@given(rows, st.randoms(use_true_random=False), st.integers(0, 40))
def test_neither_order_nor_batching_nor_merging_changes_a_bit(terms, random, cut):
    whole = sums_of(terms)
    shuffled = list(terms)
    random.shuffle(shuffled)
    parts, rest = sums_of(shuffled[:cut]), sums_of(shuffled[cut:])
    one_by_one = ExactSums(2)
    for term in shuffled:
        one_by_one.add(np.array([term], float))
    parts.merge(rest)
    assert whole.dump() == parts.dump() == one_by_one.dump()


@given(rows, rows)
def test_what_is_taken_out_again_leaves_nothing_behind(stay, leave):
    sums = sums_of(stay)
    sums.add(np.array(leave, float).reshape(-1, 2))
    sums.add(-np.array(leave, float).reshape(-1, 2))
    assert sums == sums_of(stay)


@given(rows, rows)
def test_a_sum_goes_on_from_its_dump(before, after):
    sums = ExactSums.load(sums_of(before).dump())
    sums.add(np.array(after, float).reshape(-1, 2))
    assert sums == sums_of(before + after)


@given(st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-140))
def test_squares_are_exact(x):
    parts = exact_squares(np.array([x]))
    assert sum(Fraction(float(part[0])) for part in parts) == Fraction(x) ** 2


def test_the_standard_error_of_a_mean_is_scipys():
    x = np.random.default_rng(1).normal(5, 2, 100)
    sums = ExactSums(2)
    sums.add(np.stack([x, x * x], axis=1))
    error = standard_error(sums.fraction(0), sums.fraction(1), 100)
    assert error == pytest.approx(x.std(ddof=1) / 10, abs=1e-12)
    assert standard_error(Fraction(1), Fraction(1), 1) is None


@given(terms=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_a_mean_and_its_error_are_those_of_fractions(terms):
    sums = ExactSums(2)
    x = np.array(terms)
    sums.add(np.stack([x, x * x], axis=1))
    n = len(terms)
    total, squares = sums.fraction(0), sums.fraction(1)
    expected = float(total / n), standard_error(total, squares, n)
    assert mean_of(sums, 0, 1, n) == expected
    for column in (0, 1):
        whole, bits = sums.whole(column)
        assert Fraction(whole, 1 << bits) == sums.fraction(column)
