"""Estimated performance: what it says before the labels, how sure it is, and what it cannot see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from detectors.measures.cells import CellCounts, CellGrid
from detectors.windows.estimated import (
    METRICS,
    Calibration,
    Expected,
    estimate,
    surprise,
    unsure_share,
)

SKLEARN = {
    "accuracy": sk.accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "specificity": lambda y, p: sk.recall_score(~y, ~p),
}


def world(seed, n, shift=0.0, slope=1.0):
    """Scores, predictions and labels of a model that is right about P(label | x) at slope 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 2, n)
    score = 1 / (1 + np.exp(-x))
    return score, score > 0.5, rng.random(n) < 1 / (1 + np.exp(-slope * x))


def counted(calibration, score, predicted):
    expected = Expected.empty(calibration.grid)
    expected.add(calibration.grid.codes(score, predicted))
    return expected.n


def labelled(calibration, score, predicted, label):
    counts = CellCounts.empty(calibration.grid)
    cells = calibration.grid.codes(score, predicted)
    counts.add(cells, label, np.ones(len(cells), np.int64))
    return counts


def test_on_the_reference_itself_it_is_what_was_realised():
    score, predicted, label = world(1, 5_000)
    calibration = Calibration.fit(score, predicted, label)
    found = estimate(calibration, counted(calibration, score, predicted))
    for name, of in SKLEARN.items():
        assert found[name].value == pytest.approx(of(label, predicted), abs=1e-9)
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(label, score), abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1.0, -1.0])
def test_other_inputs_are_foreseen(shift):
    calibration = Calibration.fit(*world(1, 50_000))
    score, predicted, label = world(2, 50_000, shift)
    found = estimate(calibration, counted(calibration, score, predicted))
    for name, of in SKLEARN.items():
        assert found[name].value == pytest.approx(of(label, predicted), abs=0.01)
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(label, score), abs=0.01)
    told = surprise(calibration, labelled(calibration, score, predicted, label))
    assert all(abs(one.z) < 3.5 for one in told.values())


def test_another_concept_is_not_foreseen_but_shows_when_labels_come():
    calibration = Calibration.fit(*world(1, 50_000))
    score, predicted, label = world(2, 2_000, slope=0.3)
    found = estimate(calibration, counted(calibration, score, predicted))
    drop = found["accuracy"].value - sk.accuracy_score(label, predicted)
    assert drop > 0.1
    told = surprise(calibration, labelled(calibration, score, predicted, label))
    assert told["accuracy"].difference == pytest.approx(-drop, abs=1e-9)
    assert told["accuracy"].z < -5


def test_the_band_holds_what_is_realised_about_nineteen_times_of_twenty():
    inside = dict.fromkeys(METRICS, 0)
    for seed in range(200):
        calibration = Calibration.fit(*world(seed, 3_000))
        score, predicted, label = world(10_000 + seed, 1_000)
        found = estimate(calibration, counted(calibration, score, predicted))
        realised = {name: of(label, predicted) for name, of in SKLEARN.items()}
        realised["roc_auc"] = sk.roc_auc_score(label, score)
        for name, value in realised.items():
            low, high = found[name].interval
            inside[name] += low <= value <= high
    for name, times in inside.items():
        assert 178 <= times <= 200, name


def test_a_multiclass_accuracy_comes_from_the_score_of_the_predicted_class():
    rng = np.random.default_rng(4)
    score = rng.uniform(0.3, 1, 20_000)
    always = np.ones(20_000, bool)
    calibration = Calibration.fit(score, always, rng.random(20_000) < score)
    confident = score[score > 0.7]
    n = counted(calibration, confident, always[: len(confident)])
    assert estimate(calibration, n)["accuracy"].value == pytest.approx(0.85, abs=0.02)


def test_without_scores_there_is_no_estimate():
    calibration = Calibration.fit(*world(1, 1_000))
    nothing = np.full(5, np.nan)
    n = counted(calibration, nothing, np.ones(5, bool))
    assert n.sum() == 5
    for found in (estimate(calibration, n), estimate(calibration, n * 0)):
        assert {one.reason for one in found.values()} == {"no predictions with a score"}
    assert unsure_share(calibration, n) == 1.0
    assert unsure_share(calibration, n * 0) is None
    blind = Calibration.fit(nothing, np.ones(5, bool), np.ones(5, bool))
    assert estimate(blind, counted(blind, nothing, np.ones(5, bool)))["f1"].value is None


scores = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0, np.nan])
rows = st.lists(st.tuples(scores, st.booleans(), st.booleans()), min_size=1, max_size=50)


@given(rows, rows, st.integers(0, 50))
def test_any_reference_and_any_window_give_finite_values_or_reasons_however_cut(known, now, cut):
    score, predicted, label = (np.array(c) for c in zip(*known, strict=True))
    calibration = Calibration.fit(score.astype(float), predicted, label)
    score, predicted, label = (np.array(c) for c in zip(*now, strict=True))
    cells = calibration.grid.codes(score.astype(float), predicted)
    parts = [Expected.empty(calibration.grid), Expected.empty(calibration.grid)]
    parts[0].add(cells[:cut])
    parts[1].add(cells[cut:])
    parts[0].merge(parts[1])
    again = Calibration.load(calibration.dump())
    for name, found in estimate(again, parts[0].n).items():
        assert found == estimate(calibration, np.bincount(cells, minlength=len(parts[0].n)))[name]
        assert found.reason if found.value is None else 0 <= found.value <= 1
    surprise(calibration, labelled(calibration, score.astype(float), predicted, label))


@given(st.lists(scores, max_size=60), st.integers(2, 20))
def test_cells_are_few_and_each_score_has_one(values, bins):
    grid = CellGrid.of(np.array(values, float), bins)
    assert 1 <= grid.bins <= bins
    codes = grid.codes(np.array(values, float), np.zeros(len(values), bool))
    assert all(0 <= code < len(grid) for code in codes.tolist())
    assert all(
        (code == len(grid) - 2) == np.isnan(x) for code, x in zip(codes, values, strict=True)
    )
