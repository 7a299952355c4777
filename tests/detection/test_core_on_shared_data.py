"""The core on sets whose truth is known: exact metrics, and ADWIN where River's own fires."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn

from detectors import engine
from detectors.classes import ClassTable, local_classes, row_key
from detectors.errors.concept import Concept
from detectors.flow import join
from detectors.flow.sequencer import Sequencer
from detectors.frame import Frame
from detectors.order_key import order
from detectors.reference.profile import ErrorReference
from detectors.signals import score
from detectors.spec import MonitorSpec
from detectors.windows.scoring import of_classes
from detectors.windows.windows import Detection
from driftline import codec
from driftline.subject import Subject
from streams.rows.builder import RowBuilder

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the shared data sets do not lie beside this repository"
)


def file_frames(name: str, kind: str) -> list[Frame]:
    builder = RowBuilder(int(kind == "labels"), 0, 1)
    with gzip.open(DATA / name / f"{kind}.jsonl.gz") as lines:
        for offset, line in enumerate(lines):
            assert not builder.add(codec.decode(line), offset=offset, arrival=None)
    return builder.frames()[0]


@cache
def joined(name: str) -> list[Frame]:
    """Prediction and outcome frames of a set, in key order."""
    sequencer = Sequencer()
    for kind in ("predictions", "labels"):
        for frame in file_frames(name, kind):
            sequencer.hold(frame)
    spec = join.JoinSpec(default_horizon_ms=10**13)
    _, out = join.step(join.MemoryPending(), sequencer.release(10**14), 10**14, spec)
    return out


def truth(name: str, part: str = "truth") -> Any:
    return json.loads((DATA / name / f"{part}.json").read_text())


def subject_frames(name: str) -> list[Frame]:
    model = next(f.subject for f in joined(name) if f.kind == "prediction")
    return [frame for frame in joined(name) if frame.subject == model]


def settings(name: str) -> MonitorSpec:
    known = truth(name)
    model = Subject.parse(subject_frames(name)[0].subject).model
    return MonitorSpec(model=model, task=known["task"], positive=known.get("positive"), warmup=500)


def of(kind: str, name: str) -> Frame:
    return next(frame for frame in subject_frames(name) if frame.kind == kind)


ON_SCORES = {
    "roc_auc": sklearn.roc_auc_score,
    "pr_auc": sklearn.average_precision_score,
    "brier": sklearn.brier_score_loss,
    "log_loss": sklearn.log_loss,
}


def positives(outcomes: Frame, positive: str):
    """(label is positive, score of the positive class) of outcome rows."""
    codes, texts = local_classes(outcomes, "label", {})
    return codes == texts.index(positive), score(outcomes, positive, {})


@pytest.mark.parametrize("name", ["sea_abrupt", "adult", "elec2", "bike_sharing"])
def test_metrics_of_each_published_window_are_exact(name: str):
    """Each stretch of rows of `truth.json` alone, through the tallies of a monitor."""
    outcomes = of("outcome", name)
    outcomes = outcomes.take(np.argsort(outcomes.ints("ts"), kind="stable"))
    warmup = of("prediction", name).take(np.arange(500))
    spec = settings(name)
    off: dict[str, float] = {}
    for window in truth(name)["windows"]:
        part = outcomes.take(np.arange(window["start"], window["end"] + 1))
        state = engine.new(Subject.parse(outcomes.subject), spec, None)
        state, _ = engine.step(state, [warmup], 0)
        state, _ = engine.step(state, [part.take(order(part))], 0)
        values = state.metrics()
        if "roc_auc" in values:
            label, score = positives(part, state.decision.positive)
            for metric, measure in ON_SCORES.items():
                assert abs(values[metric] - measure(label, score)) < 1e-9, metric
        for metric in set(values) & {m for m, known in window.items() if known is not None}:
            here = abs(values[metric] - window[metric]) / max(1.0, abs(window[metric]))
            off[metric] = max(off.get(metric, 0.0), here)
    # The files give six decimals; their log loss and areas are of scores before these were rounded,
    # and scikit-learn's on the rounded ones differ by as much.
    assert off.pop("log_loss", 0.0) < 1e-4
    assert off.pop("roc_auc", 0.0) < 1e-5
    assert {"accuracy", "mae"} & set(off)
    assert max(off.values()) < 1e-6, off


def test_the_error_fires_where_rivers_adwin_does_in_order_of_arrival():
    """Over the whole stream, label by label: the published indices, to the row."""
    frame = of("outcome", "sea_abrupt")
    outcomes = of_classes(frame, ClassTable({}), "1", 0, np.zeros(frame.n, bool))
    concept = Concept(1, ErrorReference(n=5_000, mean=0.1, sd=0.3))
    detections: list[Detection] = []
    findings = list(concept.step(outcomes, lambda row: row_key(frame, row), detections))
    row_of = {ts: row for row, ts in enumerate(outcomes.ts.tolist())}
    fired = [row_of[found.ts] for found in detections if found.detector == "adwin"]
    assert fired == truth("sea_abrupt", "oracle_river")["label_arrival_order"]["ADWIN"]
    assert [finding.state for finding in findings] == ["changed", "recovered", "changed"]
