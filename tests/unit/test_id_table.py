"""The table of ids: against a dictionary, whatever comes and goes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.flow.id_table import EMPTY, GONE, IdTable

IDS = st.lists(st.integers(0, 400), max_size=300)


def words(ids: list[int]) -> np.ndarray:
    """Few hashes for many ids, so that they collide; 0 is an id as good as any."""
    return np.array([[i, i % 7] for i in ids], np.uint64).reshape(-1, 2)


@settings(max_examples=40)
@given(st.lists(st.tuples(IDS, st.booleans()), max_size=8))
def test_a_table_says_what_a_dictionary_says(steps: list[tuple[list[int], bool]]):
    table, known = IdTable(), dict[int, int]()
    for number, (ids, comes) in enumerate(steps):
        places = table.places(words(ids))
        assert [int(state) for state in table.prediction[places]] == [
            known.get(i, GONE) for i in ids
        ]
        refs = [1_000 * number + i for i in ids]
        table.prediction[places] = refs if comes else GONE
        for i, ref in zip(ids, refs, strict=True):
            if comes:
                known[i] = ref
            else:
                known.pop(i, None)
    found = table.find(words(sorted(known)))
    assert table.prediction[found].tolist() == [known[i] for i in sorted(known)]
    assert table.find(words([999])).tolist() == [-1]


def test_ids_that_are_gone_make_room_for_others():
    table = IdTable()
    for start in range(0, 100_000, 500):
        ids = np.stack([np.arange(start, start + 500, dtype=np.uint64)] * 2, axis=1)
        places = table.places(ids)
        assert len(set(places.tolist())) == 500
        table.prediction[places] = GONE
    assert len(table.prediction) <= 4096
    assert (table.prediction == EMPTY).any()
