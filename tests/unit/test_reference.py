"""Reference profiles: bins, ranks, serial correlation, JSON."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.reference.profile import (
    CHANGED,
    MISSING,
    Bins,
    from_json,
    missing_rate,
    rank,
    weak,
)
from detectors.reference.profiling import categorical, error_reference, numeric
from detectors.reference.serial import phi
from detectors.reference_builder import build
from detectors.spec import MonitorSpec, config_hash
from driftline.errors import CheckpointError, UnknownVersion
from tests.monitored import SUBJECT, classifier, frames, regression

SPEC = MonitorSpec(model="m")


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=200))
@settings(max_examples=60, deadline=None)
def test_every_value_of_the_reference_lies_in_one_of_its_bins(values):
    profile = numeric(np.array(values))
    assert sum(profile.counts) == len(values)
    assert len(profile.edges) <= 20
    assert list(profile.edges) == sorted(set(profile.edges))
    assert set(profile.edges) <= set(values)
    codes = Bins(profile).of_numbers(np.array(values))
    assert codes.min() >= 1
    assert codes.max() <= len(profile.edges)
    assert np.bincount(codes)[1:].tolist() == list(profile.counts)[: codes.max()]
    ranks = rank(profile, values)
    assert np.mean(ranks) == pytest.approx(0.5)


def test_bins_are_open_below_and_closed_above_and_hold_equal_mass():
    profile = numeric(np.arange(1.0, 101.0))
    assert profile.edges[0] == 5.0
    assert profile.counts == (5,) * 20
    codes = Bins(profile).of_numbers(np.array([1.0, 5.0, 5.0001, 100.0, 0.999, 100.001]))
    assert codes.tolist() == [1, 1, 2, 20, 0, 21]
    assert rank(profile, [0.0, 3.0, 1e9]).tolist() == [0.0, 0.025, 1.0]
    assert np.isnan(rank(profile, [float("nan")])[0])


def test_a_value_repeated_often_keeps_a_bin_to_itself():
    profile = numeric(np.array([0.0] * 900 + list(range(1, 101))))
    assert profile.edges[0] == 0.0
    assert profile.counts[0] == 900
    assert rank(profile, [0.0])[0] == 0.45


def test_a_constant_has_one_bin_and_its_neighbours_are_outside():
    profile = numeric(np.full(10, 3.0))
    assert (profile.edges, profile.counts, profile.sd) == ((3.0,), (10,), 0.0)
    assert rank(profile, [2.9, 3.0, 3.1]).tolist() == [0.0, 0.5, 1.0]


def test_categories_are_ordered_by_frequency_and_a_new_one_ranks_last():
    values = ["a"] * 3 + ["b"] * 5 + ["c"] * 3
    texts = ["a", "b", "c", "never"]
    profile = categorical(texts, np.array([texts.index(v) for v in values]), "text", missing=9)
    assert (profile.values, profile.counts, profile.other) == (("b", "a", "c"), (5, 3, 3), 0)
    assert rank(profile, ["b", "a", "new"]).tolist() == pytest.approx([2.5 / 11, 6.5 / 11, 1.0])
    assert missing_rate(profile) == 9 / 20


def test_where_new_values_are_usual_they_count_as_other():
    texts = [f"id{i}" for i in range(1_000)]
    profile = categorical(texts, np.arange(1_000), "text")
    assert (len(profile.values), profile.other, profile.once) == (30, 970, 1_000)
    assert rank(profile, ["id999"]) == rank(profile, ["something new"])
    assert rank(profile, ["something new"])[0] < 0.6


def test_codes_without_a_rank_have_none():
    ranks = Bins(numeric(np.arange(100.0))).ranks
    assert np.isnan(ranks[[MISSING, CHANGED]]).all()
    assert np.isfinite(ranks[:22]).all()


def ar1(rho: float, n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for i, e in enumerate(rng.normal(size=n - 1), 1):
        x[i] = rho * x[i - 1] + e
    return x


@pytest.mark.parametrize(("rho", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0)])
def test_phi_is_the_variance_ratio_of_an_autocorrelated_signal(rho: float, expected: float):
    measured, block = phi(ar1(rho, 100_000)[:, None])
    assert block == 2048
    assert expected * 0.75 <= measured <= expected * 1.5 + 0.3


def test_phi_of_what_is_short_is_unknown_and_of_a_constant_one():
    assert phi(np.random.default_rng(1).random((900, 1))) == (1.0, 0)
    assert phi(np.ones((5_000, 1))) == (1.0, 128)


def test_a_profile_reads_back_as_it_was_and_refuses_what_was_changed():
    profile = build(SUBJECT, frames(classifier(3, 500, hostile=False)), SPEC)
    content = profile.to_json()
    assert from_json(content) == profile
    assert content == from_json(content).to_json()
    assert (profile.task, profile.positive, profile.n) == ("binary", "yes", 500)
    with pytest.raises(CheckpointError, match="was changed"):
        from_json(content.replace(b'"n": 500', b'"n": 501'))
    with pytest.raises(UnknownVersion):
        from_json(msgspec.json.encode({"format": 9}))
    for wrong in (b"", b"[]", b"{}", b'{"model": 1}', b"\xff"):
        with pytest.raises(CheckpointError):
            from_json(wrong)


def test_a_profile_says_what_the_rows_say():
    rows = [row for row in classifier(3, 2_000, hostile=False) if row.offset < 600]
    profile = build(SUBJECT, frames(rows), SPEC)
    assert {n: f.__struct_config__.tag for n, f in profile.features.items()} == {
        "amount": "numeric",
        "constant": "numeric",
        "country": "categorical",
        "member": "categorical",
    }
    predictions = [row for row in rows if row.kind == "prediction"]
    said = [row.body["prediction"] for row in predictions]
    assert profile.classes == {c: said.count(c) for c in ("yes", "no")}
    amounts = [row.body["features"]["amount"] for row in predictions]
    assert profile.features["amount"].mean == pytest.approx(np.mean(amounts))
    errors = [r.body["prediction"] != r.body["label"] for r in rows if r.kind == "outcome"]
    assert profile.error is not None
    assert profile.error.mean == np.mean(errors)
    assert profile.error.n == len(errors)
    assert weak(profile)["error"] == len(errors)


def test_a_regression_profile_has_residuals():
    rows = regression(3, 500)
    profile = build(SUBJECT, frames(rows), SPEC)
    first = [r for r in rows if r.kind == "outcome" and "previous" not in r.body]
    residuals = [r.body["prediction"] - r.body["label"] for r in first]
    assert profile.task == "regression"
    assert profile.error is not None
    assert profile.error.mean == pytest.approx(np.mean(np.abs(residuals)))
    assert profile.error.bias == pytest.approx(np.mean(residuals))
    assert profile.error.absolute is not None
    assert profile.score is None


def test_a_reference_needs_predictions():
    with pytest.raises(ValueError, match="at least one"):
        build(SUBJECT, [], SPEC)


def test_types_are_those_that_most_values_have():
    cells = [1.0, 2.0, "a", None, True]
    rows = classifier(1, 50, hostile=False)
    predictions = [r for r in rows if r.kind == "prediction"]
    for row, cell in zip(predictions, cells * 10, strict=True):
        row.body["features"] = {"mixed": cell, "list": [1]}
    profile = build(SUBJECT, frames(predictions), SPEC)
    mixed = profile.features["mixed"]
    assert isinstance(mixed, type(numeric(np.ones(1))))
    assert (mixed.n, mixed.missing) == (20, 10)
    assert profile.features["list"].__struct_config__.tag == "unsupported"


def test_errors_of_0_and_1_have_a_rate():
    reference = error_reference(np.array([0.0, 1.0, 0.0, 0.0]))
    assert (reference.mean, reference.absolute, reference.n) == (0.25, None, 4)


def test_a_configuration_hash_changes_with_any_setting():
    base = MonitorSpec(model="m")
    assert config_hash(base) == config_hash(MonitorSpec(model="m"))
    others = [
        MonitorSpec(model="n"),
        MonitorSpec(model="m", warmup=1),
        MonitorSpec(model="m", classes={"true": ("1",)}),
    ]
    assert len({config_hash(spec) for spec in [base, *others]}) == 4
