"""Classes of a column have the same numbers, whichever way they are found."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors import classes
from detectors.classes import NONE, local_classes
from detectors.frame import Column, Frame

ALIASES = {"y": "yes", "n": "no"}


def of(values: list[str], codes: list[int]) -> tuple[list[int], list[str]]:
    column = Column(np.array(codes, np.uint32), None, values)
    found, texts = local_classes(
        Frame("m@1", "outcome", len(codes), {"label": column}), "label", ALIASES
    )
    assert found.dtype == np.int64
    return found.tolist(), texts


@given(codes=st.lists(st.integers(0, 4), max_size=30), order=st.permutations(range(5)))
def test_few_texts_are_told_apart_as_many_are(codes: list[int], order: list[int]):
    names = ["yes", "y", "no", "n", "maybe"]
    values = [names[at] for at in order]
    unused = [f"unused {at}" for at in range(classes._FEW_TEXTS)]
    assert of(values, codes) == of(values + unused, codes)
    firsts = list(dict.fromkeys(ALIASES.get(values[code], values[code]) for code in codes))
    assert of(values, codes)[1] == firsts


def test_rows_without_the_column_have_no_class():
    codes, texts = local_classes(Frame("m@1", "outcome", 3, {}), "label", {})
    assert codes.tolist() == [NONE] * 3
    assert texts == []
