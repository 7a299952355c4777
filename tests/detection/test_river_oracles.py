"""Our adapters alarm exactly where River's own detectors did on published streams."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from detectors.api import Detector
from detectors.registry import DETECTORS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("sea_abrupt", "tornado_sine1", "elec2", "adult", "nannyml_car_loan")
ORDERS = ("prediction_order", "label_arrival_order")

ORACLES: Mapping[str, Callable[[], Detector]] = {
    "ADWIN": DETECTORS["adwin"],
    # River's defaults on raw errors, where ours standardises and is stricter
    "PageHinkley(mode=up)": lambda: DETECTORS["page_hinkley"](
        center=0.0, scale=1.0, delta=0.005, threshold=50.0, mode="up"
    ),
    "DDM": DETECTORS["ddm"],
    "EDDM": DETECTORS["eddm"],
    "HDDMA": DETECTORS["hddm_a"],
    "HDDMW": DETECTORS["hddm_w"],
    "FHDDM(fed 1=correct)": DETECTORS["fhddm"],
}


def rows(path: Path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def errors(name: str, order: str) -> np.ndarray:
    """1 where prediction and label differ, in the order of predictions or of labels."""
    predicted = {
        r["prediction_id"]: r["prediction"] for r in rows(DATA / name / "predictions.jsonl.gz")
    }
    labels = {r["prediction_id"]: r["label"] for r in rows(DATA / name / "labels.jsonl.gz")}
    ids = predicted if order == "prediction_order" else labels
    both = [i for i in ids if i in predicted and i in labels]
    return np.array([float(predicted[i] != labels[i]) for i in both])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SETS)
def test_every_adapter_alarms_where_river_did(name: str, order: str):
    path = DATA / name / "oracle_river.json"
    if not path.exists():
        pytest.skip(f"no ../shared/data/{name}/oracle_river.json beside the project")
    oracle = json.loads(path.read_text(encoding="utf-8"))
    if order not in oracle:
        pytest.skip(f"{name} has no oracle in {order}")
    stream = errors(name, order)
    found = {
        detector: [change.index for change in ORACLES[detector]().update(stream)]
        for detector in oracle[order]
    }
    assert found == oracle[order]
