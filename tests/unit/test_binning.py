"""Many columns are binned at once as each would be by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.binning import NumberBins
from detectors.feed import TICKS, RankFeed, boxed
from detectors.frame import Column, Frame
from detectors.reference.profile import CHANGED, MISSING, Bins
from detectors.reference.profiling import categorical, numeric
from detectors.signals import Measure, Measures, observe

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, 5e-324)


@given(seed=st.integers(0, 10**6), n=st.sampled_from([1, 7, 300, 40_000]), k=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_codes_are_those_that_a_search_among_the_bounds_finds(seed: int, n: int, k: int):
    rng = np.random.default_rng(seed)
    bins, columns = [], []
    for _ in range(k):
        learned = np.round(rng.standard_normal(rng.integers(1, 200)), rng.integers(0, 4))
        bins.append(Bins(numeric(learned)))
        values = np.round(rng.standard_normal(n) * 2, 1)
        edges = np.array([*SPECIAL, *bins[-1].bounds])
        at = rng.integers(0, n, min(n, 20))
        values[at] = rng.choice(edges, len(at))
        columns.append(values)
    rows = rng.permutation(k + 2)[:k].tolist()
    codes = np.full((k + 2, n), 77, dtype=np.uint8)
    which = rng.permutation(k).tolist()
    found = NumberBins([each.bounds for each in bins])
    found.fill(codes, rows, which, [columns[column] for column in which])
    for row, column in zip(rows, which, strict=True):
        assert np.array_equal(codes[row], bins[column].of_numbers(columns[column]))
    others = sorted(set(range(k + 2)) - set(rows))
    assert (codes[others] == 77).all()


@given(seed=st.integers(0, 10**6), n=st.sampled_from([1, 40, 3_000]))
@settings(max_examples=20, deadline=None)
def test_columns_with_gaps_and_of_two_types_have_the_codes_that_each_has_by_itself(
    seed: int, n: int
):
    rng = np.random.default_rng(seed)
    names = ["whole", "gaps", "two types", "absent", "text"]
    numbers = {name: numeric(rng.standard_normal(500)) for name in names[:4]}
    profiles = numbers | {"text": categorical(["a", "b"], rng.integers(0, 2, 500), "text")}
    columns = {f"x:{name}": Column(rng.standard_normal(n)) for name in names[:3]}
    for name in names[1:3]:
        valid = rng.random(n) < 0.7
        columns[f"x:{name}"] = Column(np.where(valid, columns[f"x:{name}"].data, 0.0), valid)
    other = ~columns["x:two types"].mask & (rng.random(n) < 0.5)
    if seed % 2:
        columns["c:two types"] = Column(np.zeros(n, np.uint32), other, ["z"])
    columns["c:text"] = Column(rng.integers(0, 3, n).astype(np.uint32), None, ["a", "b", "new"])
    measures = Measures(names, profiles)
    observed = observe(Frame("s@1", "prediction", n, columns), measures)
    for at, measure in enumerate(measures.each):
        assert np.array_equal(observed.codes[at], measure.codes(columns, n))
        by_code = np.bincount(observed.codes[at], minlength=256)
        assert np.array_equal(observed.by_code(slice(None))[at], by_code)
    changed = int(np.count_nonzero(other)) if seed % 2 else 0
    assert np.count_nonzero(observed.codes[2] == CHANGED) == changed
    assert (observed.codes[3] == MISSING).all()


def test_no_column_and_no_row_are_no_trouble():
    NumberBins([]).fill(np.zeros((0, 5), np.uint8), [], [], [])
    bins = NumberBins([np.array([0.0, 1.0])])
    bins.fill(np.zeros((1, 0), np.uint8), [0], [0], [np.zeros(0)])


@pytest.mark.parametrize("phi", [1.0, 3.4])
def test_a_feed_of_codes_is_a_feed_of_their_ranks(phi: float):
    rng = np.random.default_rng(3)
    measure = Measure("x", numeric(rng.standard_normal(1_000)))
    values = np.concatenate([rng.standard_normal(900), rng.standard_normal(900) + 2])
    codes = Bins(numeric(rng.standard_normal(1_000))).of_numbers(values)
    plain, coded = RankFeed(phi), RankFeed(phi)
    expected = plain.update(measure.ticks[codes])
    assert expected
    assert coded.of_codes(codes, measure.ticks, measure.ranks) == expected
    assert coded.dump() == plain.dump()
    held = measure.ticks[: len(measure.ranks)]
    assert (boxed(held) * TICKS == held).all()
