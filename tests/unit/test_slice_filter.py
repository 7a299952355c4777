"""Filters of ids: never wrong about what was added, seldom about what was not."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.frame import ID, Array
from streams.state import slice_filter
from streams.state.slice_filter import Filters, SliceFilter, asked_for


def ids(first: int, n: int) -> Array:
    random = np.random.default_rng(first).integers(0, 2**63, (n, 2), np.int64)
    return random.view(ID).reshape(-1)


def test_what_was_added_is_found_and_little_else_however_many_there_are():
    known = SliceFilter()
    for part in np.array_split(ids(1, 100_000), 30):
        known.add(asked_for(part))
    assert known.may_hold(asked_for(ids(1, 100_000))).all()
    assert 0 < known.may_hold(asked_for(ids(2, 100_000))).mean() < 0.06
    assert known.nbytes < 4 * 100_000


def test_a_slice_without_a_filter_may_hold_anything(monkeypatch: pytest.MonkeyPatch):
    filters = Filters()
    asked = asked_for(ids(3, 10))
    assert filters.may_hold(1, asked) is None
    filters.begin(1)
    found = filters.may_hold(1, asked)
    assert found is not None
    assert not found.any()
    monkeypatch.setattr(slice_filter, "FILTER_BYTES", 40_000)
    filters.add(1, ids(4, 5_000).tobytes())
    assert filters.may_hold(1, asked) is not None
    filters.add(1, ids(5, 5_000).tobytes())  # more than there is memory for
    assert filters.may_hold(1, asked) is None
    filters.add(1, ids(6, 5).tobytes())
    assert filters.may_hold(1, asked) is None, "what was left out would be missing"
