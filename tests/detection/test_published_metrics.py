"""Our metrics and estimates against values others published for real data."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn import metrics as sk

from detectors.performance import deviations, rates, scores
from detectors.windows.estimated import Calibration, Expected, estimate

DATA = Path(__file__).parents[3] / "shared" / "data"
CLASSIFIERS = ("adult", "elec2", "nannyml_car_loan", "sea_abrupt", "tornado_sine1")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the shared data sets are not beside this repository"
)


@dataclass
class Table:
    score: np.ndarray
    predicted: np.ndarray
    positive: np.ndarray

    def part(self, start, end):
        rows = slice(start, end + 1)
        return Table(self.score[rows], self.predicted[rows], self.positive[rows])


def lines(path):
    with gzip.open(path) as file:
        return [msgspec.json.decode(line) for line in file]


def known(name, file="truth.json"):
    return msgspec.json.decode((DATA / name / file).read_bytes())


def served(name):
    labels = {row["prediction_id"]: row["label"] for row in lines(DATA / name / "labels.jsonl.gz")}
    rows = lines(DATA / name / "predictions.jsonl.gz")
    return rows, [labels[row["prediction_id"]] for row in rows]


def table(rows, labels):
    return Table(
        np.array([row["scores"]["1"] for row in rows]),
        np.array([row["prediction"] == "1" for row in rows]),
        np.array([label == "1" for label in labels]),
    )


@pytest.fixture(scope="module")
def car_loan():
    reference = lines(DATA / "nannyml_car_loan" / "reference.jsonl.gz")
    return {
        "reference": table(reference, [row["label"] for row in reference]),
        "analysis": table(*served("nannyml_car_loan")),
    }


@dataclass
class Counted:
    classes: tuple[str, ...]
    matrix: list[list[int]]
    positive: str


def measured(t):
    """Every metric of a stretch, by name."""
    cells = np.bincount(t.positive * 2 + t.predicted, minlength=4).reshape(2, 2).tolist()
    found = {m.name: m.measure(Counted(("0", "1"), cells, "1")) for m in rates.METRICS}
    tally = scores.ScoreTally()
    n = np.arange(len(t.score))
    tally.add(scores.binary_entries(n, np.ones_like(n), t.score, t.positive))
    return found | {m.name: m.measure(tally) for m in scores.METRICS}


FROM_SCORES = {"roc_auc", "log_loss", "brier"}
STATED = {"accuracy", "f1", "balanced_accuracy", "precision", "recall"} | FROM_SCORES


def of_labels(t):
    return np.where(t.positive, t.score, 1 - t.score)


def impossible(t):
    """A label had probability 0: its loss is the clip alone, 1e-15 there and float epsilon here."""
    return bool((of_labels(t) < 1e-6).any())


def rounding_of_loss(t):
    """How far the log loss may be off because the files give scores to 6 decimals."""
    return float(np.mean(5e-7 / (of_labels(t) - 5e-7)))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_metrics_of_every_window_are_the_stated_ones(name, car_loan):
    all_of_it = car_loan["analysis"] if name == "nannyml_car_loan" else table(*served(name))
    checked = 0
    for window in known(name)["windows"]:
        part = all_of_it.part(window["start"], window["end"])
        found = measured(part)
        for metric in STATED - {"log_loss"} if impossible(part) else STATED:
            tolerance = 1e-5 if metric in FROM_SCORES else 1e-6  # rounded scores make ties
            tolerance += rounding_of_loss(part) if metric == "log_loss" else 0.0
            assert found[metric].value == pytest.approx(window[metric], abs=tolerance), metric
            checked += 1
    assert checked >= 7 * 8


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_metrics_of_scores_are_scikit_learns_on_real_data(name, car_loan):
    t = car_loan["analysis"] if name == "nannyml_car_loan" else table(*served(name))
    for window in known(name)["windows"]:
        part = t.part(window["start"], window["end"])
        found = measured(part)
        expected = {
            "roc_auc": sk.roc_auc_score(part.positive, part.score),
            "pr_auc": sk.average_precision_score(part.positive, part.score),
            "log_loss": sk.log_loss(part.positive, part.score),
            "brier": sk.brier_score_loss(part.positive, part.score),
            "mcc": sk.matthews_corrcoef(part.positive, part.predicted),
        }
        for metric, value in expected.items():
            assert abs(found[metric].value - value) <= found[metric].error + 1e-9, metric


def test_all_of_a_data_set_at_once_stays_within_the_error_stated():
    t = table(*served("tornado_sine1"))
    found = measured(t)
    for metric, of in (("roc_auc", sk.roc_auc_score), ("pr_auc", sk.average_precision_score)):
        assert 0 < found[metric].error < 0.01
        assert abs(found[metric].value - of(t.positive, t.score)) <= found[metric].error


def test_regression_metrics_of_every_window_are_the_stated_ones():
    rows, labels = served("bike_sharing")
    label = np.array(labels, float)
    residual = np.array([row["prediction"] for row in rows]) - label
    for window in known("bike_sharing")["windows"]:
        part = slice(window["start"], window["end"] + 1)
        n = np.arange(window["n"])
        tally = deviations.Deviations()
        tally.add(deviations.DeviationEntries(n, np.ones_like(n), residual[part], label[part]))
        found = {metric.name: metric.measure(tally) for metric in deviations.METRICS}
        for metric in ("mae", "rmse", "r2", "bias"):
            assert found[metric].value == pytest.approx(window[metric], abs=1e-6)


METRICS = ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc")


def test_realised_metrics_are_those_nannyml_published(car_loan):
    chunks = known("nannyml_car_loan", "oracle_nannyml.json")["car_loan_realized"]
    for chunk in chunks:
        part = car_loan[chunk["period"]].part(chunk["start_index"], chunk["end_index"])
        found = measured(part)
        for metric in METRICS:
            assert found[metric].value == pytest.approx(chunk[f"{metric}|value"], abs=1e-4)
            assert found[metric].error == 0.0
    assert len(chunks) == 20


def test_estimated_metrics_are_within_half_a_point_of_nannymls(car_loan):
    reference = car_loan["reference"]
    calibration = Calibration.fit(reference.score, reference.predicted, reference.positive)
    chunks = known("nannyml_car_loan", "oracle_nannyml.json")["car_loan_cbpe"]
    worst = dict.fromkeys(METRICS, 0.0)
    for chunk in chunks:
        part = car_loan[chunk["period"]].part(chunk["start_index"], chunk["end_index"])
        expected = Expected.empty(calibration.grid)
        expected.add(calibration.grid.codes(part.score, part.predicted))
        found = estimate(calibration, expected.n)
        for metric in METRICS:
            off = abs(found[metric].value - chunk[f"{metric}|value"])
            worst[metric] = max(worst[metric], off)
    print({metric: round(off, 5) for metric, off in worst.items()})
    assert max(worst.values()) <= 0.005
    assert len(chunks) == 20
