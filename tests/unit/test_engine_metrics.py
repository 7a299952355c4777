"""Metrics through the engine: against scikit-learn, after revisions, in windows, in the warm-up."""

from __future__ import annotations

import random
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from sklearn import metrics as sk

from detectors import engine
from detectors.api import Metric, Value
from detectors.reference_builder import build
from detectors.registry import METRICS
from detectors.spec import MetricSpec, MonitorSpec
from driftline.errors import UsageError
from streams.plugins import read
from tests.monitored import START_MS, SUBJECT, Row, Run, frames

NEAR = {"abs": 1e-9, "rel": 1e-9}
DAY_MS = 86_400_000


def everything(**more) -> MonitorSpec:
    """A monitor that computes every metric, in one window."""
    wanted = tuple(MetricSpec(name=name) for name in METRICS)
    return MonitorSpec(model="m", metrics=wanted, window_ms=DAY_MS, lateness_ms=0, **more)


def stream(said, labels, *, scores=None, revise: random.Random | None = None) -> list[Row]:
    """Predictions and their outcomes; with `revise` many labels are wrong at first."""
    rows = []
    for i, (prediction, label) in enumerate(zip(said, labels, strict=True)):
        at = START_MS // DAY_MS * DAY_MS + i * 100
        body = {"prediction": prediction, "features": {"x": float(i % 7)}}
        if scores is not None:
            body["scores"] = scores[i]
        rows.append(Row("prediction", f"p{i}", at, at, body, offset=2 * i))
        held = None
        if revise is not None and revise.random() < 0.4:
            held = revise.choice(labels)
            first = body | {"label": held, "prediction_arrival": at}
            rows.append(Row("outcome", f"p{i}", at, at + 5, first, rank=1, offset=2 * i))
        last = body | {"label": label, "previous": held, "prediction_arrival": at}
        rows.append(Row("outcome", f"p{i}", at, at + 9, last, rank=1, offset=2 * i + 1))
    return sorted(rows, key=lambda row: row.key)


def values(run: Run, over="all") -> dict[str, float]:
    return run.state.metrics(over)


def binary(seed: int, n: int = 400):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(0.7, 0.9, n), 2)
    labels = np.where(rng.random(n) < p, "yes", "no").tolist()
    said = np.where(p > 0.5, "yes", "no").tolist()
    return p, said, labels, [{"yes": float(x), "no": float(1 - x)} for x in p]


def sklearn_binary(p, said, labels) -> dict[str, float]:
    y, z = np.array(labels) == "yes", np.array(said) == "yes"
    tn, fp, fn, tp = sk.confusion_matrix(y, z).ravel()
    return {
        "accuracy": sk.accuracy_score(y, z),
        "balanced_accuracy": sk.balanced_accuracy_score(y, z),
        "precision": sk.precision_score(y, z),
        "recall": sk.recall_score(y, z),
        "f1": sk.f1_score(y, z),
        "f2": sk.fbeta_score(y, z, beta=2),
        "f0.5": sk.fbeta_score(y, z, beta=0.5),
        "specificity": tn / (tn + fp),
        "false_negative_rate": fn / (fn + tp),
        "false_positive_rate": fp / (fp + tn),
        "mcc": sk.matthews_corrcoef(y, z),
        "log_loss": sk.log_loss(y, p),
        "brier": sk.brier_score_loss(y, p),
        "roc_auc": sk.roc_auc_score(y, p),
        "pr_auc": sk.average_precision_score(y, p),
    }


@pytest.mark.parametrize("revised", [False, True], ids=["", "revised"])
@pytest.mark.parametrize("warmup", [50, 5_000], ids=["warmed up", "in the warm-up"])
def test_binary_metrics_equal_scikit_learns_in_total_in_the_window_and_lately(revised, warmup):
    p, said, labels, scores = binary(3)
    rows = stream(said, labels, scores=scores, revise=random.Random(1) if revised else None)
    run = Run(everything(warmup=warmup)).step(rows, START_MS + 3 * DAY_MS)
    truth = sklearn_binary(p, said, labels)
    (window,) = (w for w in run.windows if w.revision == 1)
    for name, expected in truth.items():
        assert values(run)[name] == pytest.approx(expected, **NEAR), name
        assert window.metrics[name] == pytest.approx(expected, **NEAR), name
        if not revised:  # they do not follow revisions
            assert values(run, "last_1000")[name] == pytest.approx(expected, **NEAR), name
        assert 0 < window.errors[name] < 0.2, name
    assert set(window.metrics) | set(window.reasons) >= set(truth)


@pytest.mark.parametrize("revised", [False, True], ids=["", "revised"])
def test_multiclass_metrics_equal_scikit_learns(revised):
    rng = np.random.default_rng(5)
    names = ["a", "b", "c", "d"]
    p = rng.dirichlet([0.8] * 4, 400)
    labels = [names[rng.choice(4, p=row)] for row in p]
    said = [names[i] for i in p.argmax(axis=1)]
    scores = [dict(zip(names, map(float, row), strict=True)) for row in p]
    rows = stream(said, labels, scores=scores, revise=random.Random(1) if revised else None)
    ours = values(Run(everything()).step(rows, START_MS + 3 * DAY_MS))
    truth = {
        "accuracy": sk.accuracy_score(labels, said),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "mcc": sk.matthews_corrcoef(labels, said),
        "log_loss": sk.log_loss(labels, p, labels=names),
        "top_3_accuracy": sk.top_k_accuracy_score(labels, p, k=3, labels=names),
        "brier": float(((p - np.eye(4)[[names.index(c) for c in labels]]) ** 2).sum(1).mean()),
    }
    for average in ("macro", "micro", "weighted"):
        for name in ("precision", "recall", "f1"):
            measure = getattr(sk, f"{name}_score")
            truth[f"{average}_{name}"] = measure(labels, said, average=average)
    for name, expected in truth.items():
        assert ours[name] == pytest.approx(expected, **NEAR), name


@pytest.mark.parametrize("revised", [False, True], ids=["", "revised"])
def test_regression_metrics_equal_scikit_learns(revised):
    rng = np.random.default_rng(7)
    labels = (1e6 + rng.normal(0, 3, 300)).tolist()
    said = [y + float(e) for y, e in zip(labels, rng.normal(0.3, 1, 300), strict=True)]
    rows = stream(said, labels, revise=random.Random(1) if revised else None)
    ours = values(Run(everything()).step(rows, START_MS + 3 * DAY_MS))
    truth = {
        "mae": sk.mean_absolute_error(labels, said),
        "rmse": sk.root_mean_squared_error(labels, said),
        "bias": float(np.mean(np.subtract(said, labels))),
        "r2": sk.r2_score(labels, said),
        "mape": sk.mean_absolute_percentage_error(labels, said),
        "quantile_loss_0.9": sk.mean_pinball_loss(labels, said, alpha=0.9),
    }
    for name, expected in truth.items():
        assert ours[name] == pytest.approx(expected, **NEAR), name


@pytest.mark.parametrize("said", [["yes", "no"], [0, 1], [0.5, 1.5]], ids=str)
def test_any_batching_of_revised_labels_gives_the_same_bits(said):
    rng = random.Random(2)
    predictions = [rng.choice(said) for _ in range(300)]
    labels = [rng.choice(said) for _ in range(300)]
    spec = MonitorSpec(model="m", warmup=100, window_ms=3_000, lateness_ms=500)
    rows = stream(predictions, labels, revise=rng)
    whole = Run(spec).step(rows, START_MS + DAY_MS)
    run = Run(spec)
    while rows:
        n = rng.randrange(1, 40)
        part, rows = rows[:n], rows[n:]
        run.step(part, part[-1].arrival)
        if rng.random() < 0.3:
            run.restart()
    run.step([], START_MS + DAY_MS)
    assert run.result() == whole.result()
    assert run.state.dump() == whole.state.dump()


def test_labels_count_from_the_first_row_that_says_what_predictions_are():
    rows = stream([1, 2, 1, "spam", "spam"], ["spam", "1", "1", "spam", "ham"])
    run = Run(MonitorSpec(model="m")).step(rows[:3], START_MS + DAY_MS)
    assert run.state.task is None
    run.step(rows[3:], START_MS + DAY_MS)
    assert run.state.task == "multiclass"
    assert run.state.total.n == 5
    assert run.state.metrics()["accuracy"] == 2 / 5


def test_a_third_class_makes_it_multiclass_for_windows_that_close_later():
    rows = stream(["1", "0", "2"], ["1", "0", "2"])
    for row in rows:
        shift = int(row.id[1:]) * 3_600_000
        row.ts, row.arrival = row.ts + shift, row.arrival + shift
        row.body["prediction_arrival"] = row.ts
    run = Run(MonitorSpec(model="m")).step(rows, START_MS + 2 * DAY_MS)
    assert [set(w.metrics) & {"precision", "macro_f1"} for w in run.windows[:3]] == [
        *({"precision"}, {"macro_f1"}, {"macro_f1"})
    ]


def test_integers_alone_are_decided_when_no_more_rows_come():
    run = Run(MonitorSpec(model="m", horizon_ms=DAY_MS))
    run.step(stream([0, 1, 1, 0], [0, 1, 0, 0]), START_MS // DAY_MS * DAY_MS + 1_000)
    assert run.state.metrics() == {}
    engine.conclude(run.state)
    run.step([], START_MS + 5 * DAY_MS)
    assert run.state.metrics()["accuracy"] == 0.75
    assert run.state.metrics()["precision"] == 0.5
    assert run.windows[-1].metrics["accuracy"] == 0.75


def test_what_has_no_value_says_why():
    run = Run(MonitorSpec(model="m")).step(stream(["no"] * 9, ["no"] * 9), START_MS + 3 * DAY_MS)
    window = run.windows[0]
    assert window.reasons["recall"] == "no positive labels"
    assert window.reasons["roc_auc"] == "no scores"
    assert not set(window.reasons) & set(window.metrics)


# -- estimated performance, coverage ---------------------------------------------------------------


def calibrated(n: int = 4_000, seed: int = 11):
    p, said, labels, scores = binary(seed, n)
    return stream(said, labels, scores=scores), (p, said, labels)


@pytest.mark.parametrize("pinned", [False, True], ids=["learned", "pinned"])
def test_windows_say_what_is_expected_of_them_and_how_it_came(pinned):
    rows, _ = calibrated()
    spec = MonitorSpec(model="m", warmup=1_000, window_ms=100_000, lateness_ms=100)
    reference = build(SUBJECT, frames(calibrated(3_000, 12)[0]), spec) if pinned else None
    run = Run(spec, reference).step(rows, START_MS + 3 * DAY_MS)
    firsts = {w.start: w for w in run.windows}
    full = [w for w in firsts.values() if w.counts["predictions"] == 1_000 and w.estimated]
    assert len(full) >= 2
    for window in full:
        band = window.estimated["accuracy"]
        assert band.low <= window.metrics["accuracy"] <= band.high
        assert abs(window.estimated["roc_auc"].value - window.metrics["roc_auc"]) < 0.03
        assert abs(window.came_true["accuracy"].z) < 3
        came = window.came_true["accuracy"]
        assert came.realised == pytest.approx(window.metrics["accuracy"], **NEAR)
        split = window.split
        assert split.mix + split.within == pytest.approx(split.current - split.reference, abs=1e-12)
        assert split.current == pytest.approx(1 - window.metrics["accuracy"], **NEAR)
    assert set(run.state.estimated()) >= {"accuracy", "precision", "recall", "f1", "roc_auc"}


def test_a_window_is_provisional_until_its_labels_have_come_and_its_bounds_hold_them():
    rows, (_, said, labels) = calibrated(1_000)
    late = [row for row in rows if row.kind == "outcome"][300:]
    for row in late:
        row.arrival += DAY_MS
    spec = MonitorSpec(model="m", window_ms=DAY_MS, lateness_ms=0, horizon_ms=3 * DAY_MS)
    run = Run(spec).step(sorted(rows, key=lambda r: r.key), START_MS + 9 * DAY_MS)
    first, last = run.windows[0].labels, run.windows[-1].labels
    wrong = np.mean([a != b for a, b in zip(said, labels, strict=True)])
    assert (first.coverage, first.provisional) == (0.3, True)
    assert first.low < wrong < first.high
    assert (last.coverage, last.provisional) == (1.0, False)
    assert last.low == last.high == pytest.approx(wrong)


# -- metrics of the user's own ---------------------------------------------------------------------


def _seen(matrix):
    return Value(float(sum(map(sum, matrix.matrix))))


def _broken(_):
    raise RuntimeError("no")


SEEN = Metric("seen", ("binary",), _seen)
BROKEN = Metric("broken", ("binary",), _broken)
NAMESAKE = Metric("accuracy", ("binary",), _seen)


def entry(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", "driftline.metrics")


def test_metrics_of_ones_own_are_computed_beside_ours_and_their_errors_are_reasons():
    run = Run(MonitorSpec(model="m"))
    run.state.catalog = read([entry("SEEN"), entry("BROKEN")])
    run.step(stream(["yes"] * 3, ["yes"] * 3), START_MS + 3 * DAY_MS)
    assert run.windows[0].metrics["seen"] == 3.0
    assert run.windows[0].metrics["accuracy"] == 1.0
    assert run.windows[0].reasons["broken"] == "RuntimeError: no"


@pytest.mark.parametrize("name", ["NAMESAKE", "DAY_MS", "absent"])
def test_what_is_no_metric_or_has_the_name_of_another_is_refused(name):
    with pytest.raises(UsageError):
        read([entry(name)])
