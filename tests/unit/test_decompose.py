"""Mix and within: they add up, and each names its cause."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.measures.cells import CellCounts, CellGrid
from detectors.measures.decompose import CellErrors, split

counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=3)


def cells_of(rows):
    n = np.array([a + b for a, b in rows])
    total = np.array([float(b) for _, b in rows])
    return CellErrors(n, total, total)


@given(counts, counts)
def test_mix_and_within_are_the_whole_difference(before, after):
    found = split(cells_of(before), cells_of(after))
    n0, n1 = sum(map(sum, before)), sum(map(sum, after))
    if not n0 or not n1:
        assert found is None
        return
    e0, e1 = sum(b for _, b in before) / n0, sum(b for _, b in after) / n1
    assert found.reference == pytest.approx(e0, abs=1e-12)
    assert found.current == pytest.approx(e1, abs=1e-12)
    assert found.mix.value + found.within.value == pytest.approx(e1 - e0, abs=1e-12)


def world(seed, n, shift=0.0, flip=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n)
    score = 1 / (1 + np.exp(-x))
    label = (rng.random(n) < score) ^ (rng.random(n) < flip)
    return score, score > 0.5, label


def counted(grid, score, predicted, label):
    found = CellCounts.empty(grid)
    found.add(grid.codes(score, predicted), label, np.ones(len(score), np.int64))
    return CellErrors.of_rates(found)


def splits(runs, **change):
    found = []
    for seed in range(runs):
        before = world(seed, 20_000)
        grid = CellGrid.of(before[0])
        after = world(1_000 + seed, 20_000, **change)
        found.append(split(counted(grid, *before), counted(grid, *after)))
    return found


def test_other_inputs_are_mix_and_not_within():
    found = splits(40, shift=1.5)
    assert all(one.mix.clear for one in found)
    assert sum(one.within.clear for one in found) <= 6


def test_another_concept_is_within_and_not_mix():
    found = splits(40, flip=0.1)
    assert all(one.within.clear for one in found)
    assert sum(one.mix.clear for one in found) <= 6
    assert np.mean([one.within.value for one in found]) == pytest.approx(0.036, abs=0.01)


def test_with_nothing_changed_neither_is_clear_nineteen_times_of_twenty():
    found = splits(60)
    for part in ("mix", "within"):
        values = [getattr(one, part) for one in found]
        assert sum(each.clear for each in values) <= 8
        told = np.mean([each.standard_error for each in values])
        assert told == pytest.approx(np.std([each.value for each in values]), rel=0.35)


def test_errors_in_cells_the_reference_lacks_are_mix_and_told():
    before = CellErrors(np.array([100, 0]), np.array([10.0, 0.0]), np.array([10.0, 0.0]))
    after = CellErrors(np.array([50, 50]), np.array([5.0, 25.0]), np.array([5.0, 25.0]))
    found = split(before, after)
    assert found.new == 0.5
    assert found.within.value == pytest.approx(0.0)
    assert found.mix.value == pytest.approx(0.2)


def test_absolute_residuals_split_the_same_way():
    rng = np.random.default_rng(3)
    before, after = np.abs(rng.normal(0, 1, (2, 500))), np.abs(rng.normal(0, 2, (2, 500)))
    sides = [
        CellErrors(np.array([500, 500]), side.sum(axis=1), (side**2).sum(axis=1))
        for side in (before, after)
    ]
    found = split(*sides)
    assert found.within.value == pytest.approx(after.mean() - before.mean())
    assert found.within.clear
    assert found.mix.value == pytest.approx(0.0)
