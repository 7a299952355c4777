"""The bank alone on published streams; they lie beside the repository and may be absent."""

from __future__ import annotations

import pytest

from tests.detection.bank_on_files import (
    DATA,
    error_turns,
    errors,
    feature_turns,
    watched,
)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here")


def opened(folder: str, capsys) -> list[tuple[str, int]]:
    """(signal, row) of the openings, in order; printed."""
    found = [(t.signal, t.row) for t in feature_turns(watched(folder)) if t.state == "opened"]
    with capsys.disabled():
        told = ", ".join(f"{signal} {row:,}" for signal, row in found)
        print(f"\n{folder}: features opened at {told or 'no row'}")
    return found


def test_car_loan_features_that_changed_are_found_and_the_others_never(capsys):
    found = opened("nannyml_car_loan", capsys)
    first = dict(reversed(found))
    changed = {"car_value", "loan_length", "repaid_loan_on_prev_car", "salary_range"}
    assert set(first) - {"score"} == changed
    assert all(25_000 <= row < 26_000 for row in first.values())


def test_elec2_features_that_were_constant_are_found_when_they_vary(capsys):
    found = opened("elec2", capsys)
    first = dict(reversed(found))
    assert all(row >= 8_784 for _, row in found)
    assert all(8_784 <= first[name] < 9_784 for name in ("vicprice", "vicdemand", "transfer"))


@pytest.mark.parametrize("folder", ["sea_abrupt", "tornado_sine1", "adult"])
def test_features_without_a_change_never_alarm(folder, capsys):
    assert opened(folder, capsys) == []


@pytest.mark.parametrize(
    ("folder", "worse"), [("sea_abrupt", [6_000, 34_000]), ("tornado_sine1", [12_000, 52_000])]
)
def test_each_change_for_the_worse_raises_the_error_within_600_labels(folder, worse, capsys):
    turns = error_turns(errors(folder))
    found = [turn.row for turn in turns if turn.state == "opened"]
    with capsys.disabled():
        delays = [row + 1 - start for row, start in zip(found, worse, strict=False)]
        print(f"\n{folder}: error opened {delays} labels after each change for the worse")
    assert len(found) == len(worse)
    assert all(start <= row < start + 600 for row, start in zip(found, worse, strict=True))


def test_the_error_on_adult_never_alarms():
    assert error_turns(errors("adult")) == []


def test_another_batching_of_a_file_tells_the_same():
    file = watched("nannyml_car_loan")
    assert feature_turns(file, frame=1_000) == feature_turns(file, frame=777)
