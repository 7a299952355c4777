"""Our adapters alarm at the published indices of River itself, fed the published error streams."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import river

from detectors.api import Detector
from detectors.drift.adwin import Adwin
from detectors.drift.ddm import Ddm
from detectors.drift.eddm import Eddm
from detectors.drift.fhddm import Fhddm
from detectors.drift.hddm_a import HddmA
from detectors.drift.hddm_w import HddmW
from detectors.drift.page_hinkley import PageHinkley

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SETS = sorted(path.parent.name for path in DATA.glob("*/oracle_river.json"))

pytestmark = pytest.mark.skipif(
    not SETS, reason="the shared data sets do not lie beside this repository"
)

ADAPTERS: dict[str, Callable[[], Detector]] = {
    "ADWIN": Adwin,
    "DDM": Ddm,
    "EDDM": Eddm,
    "HDDMA": HddmA,
    "HDDMW": HddmW,
    "FHDDM(fed 1=correct)": Fhddm,  # it takes errors as the others do, and turns them round itself
    # River's own defaults, on the raw error
    "PageHinkley(mode=up)": lambda: PageHinkley(
        center=0.0, scale=1.0, delta=0.005, threshold=50.0, mode="up"
    ),
}
ORDERS = {"prediction_order": "predictions", "label_arrival_order": "labels"}


@cache
def rows(name: str, kind: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name / f"{kind}.jsonl.gz") as file:
        return [json.loads(line) for line in file]


@cache
def oracle(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / name / "oracle_river.json").read_text())
    return found


@cache
def error(name: str, order: str) -> np.ndarray:
    """1 where the prediction was wrong; both files are in their own order of arrival."""
    says = {row["prediction_id"]: row["prediction"] for row in rows(name, "predictions")}
    truth = {row["prediction_id"]: row["label"] for row in rows(name, "labels")}
    ids = [row["prediction_id"] for row in rows(name, ORDERS[order])]
    return np.array([says[i] != truth[i] for i in ids if i in says and i in truth], dtype=float)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", SETS or ["absent"])
def test_the_adapter_alarms_exactly_where_river_did(name: str, adapter: str, order: str):
    if oracle(name)["river"] != river.__version__:
        pytest.skip(f"the indices are River {oracle(name)['river']}'s, here is {river.__version__}")
    expected = oracle(name)[order][adapter]
    found = [change.index for change in ADAPTERS[adapter]().update(error(name, order))]
    assert found == expected


def test_every_detector_and_order_of_the_files_is_compared():
    for name in SETS:
        orders = {key for key in oracle(name) if key.endswith("_order")}
        assert orders == set(ORDERS)
        for order in orders:
            assert set(oracle(name)[order]) == set(ADAPTERS)


def test_the_published_indices_are_many_enough_to_prove_something():
    counts = {
        adapter: sum(len(oracle(name)[order][adapter]) for name in SETS for order in ORDERS)
        for adapter in ADAPTERS
    }
    assert min(counts.values()) >= 4, counts
