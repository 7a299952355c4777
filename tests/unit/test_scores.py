"""Scores against labels: scikit-learn's values, in bounded memory, under any batching."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from detectors.measures.score_counts import ScoreCounts, pr_auc, roc_auc, score_keys
from detectors.performance import scores as s

CLASSES = np.arange(4)


def entries_of(score, positive, sign=None):
    n = len(score)
    sign = np.ones(n, np.int64) if sign is None else np.asarray(sign, np.int64)
    return s.binary_entries(
        np.arange(n), sign, np.asarray(score, float), np.asarray(positive, bool)
    )


def tally_of(score, positive, cap=10_000):
    tally = s.ScoreTally(ScoreCounts(cap))
    tally.add(entries_of(score, positive))
    return tally


def counts_of(score, positive, cap=10_000):
    counts = ScoreCounts(cap)
    counts.add(np.asarray(score, float), np.asarray(positive, bool), np.ones(len(score), np.int64))
    return counts


def drawn(seed, n=2_000, decimals=None):
    rng = np.random.default_rng(seed)
    score = rng.beta(0.5, 1.5, n)
    positive = rng.random(n) < score**1.3
    return (score if decimals is None else score.round(decimals)), positive


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_are_scikit_learns(seed, decimals):
    score, positive = drawn(seed, decimals=decimals)
    tally = tally_of(score, positive)
    expected = {
        s.roc_auc: sk.roc_auc_score(positive, score),
        s.pr_auc: sk.average_precision_score(positive, score),
        s.log_loss: sk.log_loss(positive, score),
        s.brier: sk.brier_score_loss(positive, score),
    }
    for measure, value in expected.items():
        estimate = measure(tally)
        assert estimate.value == pytest.approx(value, abs=1e-9)
        assert estimate.error == 0.0
        low, high = estimate.interval
        assert low < estimate.value < high
        assert estimate.standard_error > 0


def test_calibration_errors_follow_from_scikit_learns_curve():
    score, positive = drawn(4)
    observed, predicted = calibration_curve(positive, score, n_bins=15)
    at = np.digitize(score, np.linspace(0, 1, 16)[1:-1], right=True)
    rows = np.bincount(at, minlength=15)
    gaps = np.abs(observed - predicted)
    tally = tally_of(score, positive)
    expected = float((rows[rows > 0] * gaps).sum() / len(score))
    assert s.expected_calibration_error(tally).value == pytest.approx(expected, abs=1e-9)
    assert s.maximum_calibration_error(tally).value == pytest.approx(gaps.max(), abs=1e-9)


def test_noise_is_the_calibration_error_of_a_calibrated_model():
    from detectors.measures.reliability import noise

    rng = np.random.default_rng(8)
    errors, noises = [], []
    for _ in range(60):
        score = rng.random(800)
        tally = tally_of(score, rng.random(800) < score)
        errors.append(s.expected_calibration_error(tally).value)
        noises.append(noise(tally.reliability).value)
    assert np.mean(errors) == pytest.approx(np.mean(noises), rel=0.1)


def softmax(seed, n=500, ties=False):
    rng = np.random.default_rng(seed)
    raw = np.exp(rng.normal(size=(n, 4)))
    scores = raw / raw.sum(axis=1, keepdims=True)
    if ties:
        scores = np.full((n, 4), 0.25)
    label = np.array([rng.choice(4, p=row) for row in scores])
    return scores, scores.argmax(axis=1), label


@pytest.mark.parametrize("ties", [False, True])
def test_multiclass_metrics_are_scikit_learns(ties):
    scores, predicted, label = softmax(5, ties=ties)
    n = len(label)
    tally = s.ScoreTally()
    tally.add(s.multiclass_entries(np.arange(n), np.ones(n, np.int64), scores, predicted, label))
    for k in (1, 2, 3):
        expected = sk.top_k_accuracy_score(label, scores, k=k, labels=CLASSES)
        assert s.top_k(k)(tally).value == pytest.approx(expected, abs=1e-9)
    loss = sk.log_loss(label, scores, labels=CLASSES)
    assert s.log_loss(tally).value == pytest.approx(loss, abs=1e-9)
    distance = ((scores - np.eye(4)[label]) ** 2).sum(axis=1).mean()
    assert s.brier(tally).value == pytest.approx(distance, abs=1e-9)


def test_macro_auc_is_scikit_learns_one_against_the_rest():
    scores, _, label = softmax(6)
    by_class = {str(c): counts_of(scores[:, c], label == c) for c in CLASSES}
    expected = sk.roc_auc_score(label, scores, multi_class="ovr", average="macro")
    assert s.macro_roc_auc(by_class).value == pytest.approx(expected, abs=1e-9)
    assert s.macro_roc_auc({}).value is None


@pytest.mark.parametrize("cap", [16, 64, 1024])
@pytest.mark.parametrize("shape", [(1, 1), (0.2, 0.2), (0.3, 40), (60, 0.4), (30, 30)])
def test_with_too_many_scores_the_areas_stay_within_the_error_they_state(cap, shape):
    rng = np.random.default_rng(7)
    score = rng.beta(*shape, 20_000)
    positive = rng.random(20_000) < np.sqrt(score)
    counts = counts_of(score, positive, cap)
    assert not counts.exact
    assert cap / 4 < len(counts.keys) <= cap
    for measure, reference in (
        (roc_auc, sk.roc_auc_score),
        (pr_auc, sk.average_precision_score),
    ):
        estimate = measure(counts)
        off = abs(estimate.value - reference(positive, score))
        assert estimate.error > 0
        assert off <= estimate.error
        if cap == 1024:
            assert off < 1e-3  # the bound is a worst case
    if cap == 1024:
        assert roc_auc(counts).error < 0.003
        assert pr_auc(counts).error < 0.01


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.31, 0.8]), st.booleans()), min_size=1),
    st.integers(2, 4),
)
def test_the_stated_error_holds_on_tiny_samples_with_ties(rows, cap):
    score, positive = (np.array(column) for column in zip(*rows, strict=True))
    counts = counts_of(score, positive, cap)
    if positive.any():
        estimate = pr_auc(counts)
        off = abs(estimate.value - sk.average_precision_score(positive, score))
        assert off <= estimate.error + 1e-12
    if positive.any() and not positive.all():
        estimate = roc_auc(counts)
        assert abs(estimate.value - sk.roc_auc_score(positive, score)) <= estimate.error + 1e-12


scores = st.floats(0, 1) | st.sampled_from([0.0, -0.0, 0.5, 1.0])
outcomes = st.lists(st.tuples(scores, st.booleans()), max_size=60)


@given(scores, scores)
def test_keys_keep_the_order_of_scores_and_tell_them_apart(a, b):
    one, two = score_keys(np.array([a, b])).tolist()
    assert (one < two, one == two) == (a < b, a == b)


@settings(max_examples=200)
@given(outcomes, outcomes, st.randoms(use_true_random=False), st.integers(1, 9))
def test_order_batching_merging_and_revisions_change_no_bit(stay, leave, random, size):
    moves = [(x, y, 1) for x, y in stay + leave]
    random.shuffle(moves)
    for x, y in leave:  # out again, anywhere after it came
        first = moves.index((x, y, 1))
        moves.insert(random.randint(first + 1, len(moves)), (x, y, -1))
    parts = [s.ScoreTally(ScoreCounts(8)) for _ in range(3)]
    whole = s.ScoreTally(ScoreCounts(8))
    for at in range(0, len(moves), size):
        score, positive, sign = (list(c) for c in zip(*moves[at : at + size], strict=True))
        part = parts[at % 3]
        part.add(entries_of(score, positive, sign))
    if moves:
        score, positive, sign = (list(c) for c in zip(*moves, strict=True))
        whole.add(entries_of(score, positive, sign))
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = s.ScoreTally(ScoreCounts(8))
        for i in order:
            merged.merge(parts[i])
        assert merged == whole
    assert s.ScoreTally.load(whole.dump()) == whole
    fresh = s.ScoreTally(ScoreCounts(8))
    fresh.add(entries_of(*([list(c) for c in zip(*stay, strict=True)] or [[], []])))
    assert (whole.sums, whole.reliability, whole.n) == (fresh.sums, fresh.reliability, fresh.n)


def test_what_is_undefined_says_why():
    for measure in (m.measure for m in s.METRICS):
        nothing = measure(s.ScoreTally())
        assert nothing.value is None
        assert nothing.reason == "no scores"
    negative = tally_of([0.2, 0.4], [False, False])
    assert (s.roc_auc(negative).value, s.roc_auc(negative).reason) == (None, "no positive labels")
    assert s.pr_auc(negative).value is None
    positive = tally_of([0.2, 0.4], [True, True])
    assert s.roc_auc(positive).reason == "no negative labels"
    assert s.pr_auc(positive).value == 1.0


def test_equal_scores_rank_nothing():
    tally = tally_of([0.3] * 10, [True] * 4 + [False] * 6)
    assert s.roc_auc(tally).value == 0.5
    assert s.pr_auc(tally).value == pytest.approx(0.4)


def test_scores_that_are_no_probabilities_are_left_out():
    tally = tally_of([0.3, np.nan, np.inf, -0.1, 1.1, 0.9], [False, True, True, True, True, True])
    assert tally.n == 2
    assert s.roc_auc(tally).value == 1.0


def test_a_tally_is_bounded_whatever_comes():
    rng = np.random.default_rng(3)
    tally = s.ScoreTally()
    for _ in range(20):
        tally.add(entries_of(rng.random(50_000), rng.random(50_000) < 0.5))
    assert tally.n == 1_000_000
    assert tally.scores.keys.nbytes + tally.scores.counts.nbytes <= 24 * 1024


def test_the_standard_errors_are_those_of_repeated_samples():
    values = {s.roc_auc: [], s.log_loss: [], s.brier: []}
    errors = {measure: [] for measure in values}
    for seed in range(150):
        tally = tally_of(*drawn(seed, n=400))
        for measure, found in values.items():
            estimate = measure(tally)
            found.append(estimate.value)
            errors[measure].append(estimate.standard_error)
    for measure, found in values.items():
        assert np.mean(errors[measure]) == pytest.approx(np.std(found), rel=0.2)


@pytest.mark.parametrize("k", [0, 11])
def test_top_k_beyond_what_is_kept_is_refused(k):
    with pytest.raises(ValueError, match="from 1 to 10"):
        s.top_k(k)
