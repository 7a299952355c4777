"""Bytes written in version 1 decode for ever, to exactly this."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline import alerts
from driftline.alerts import (
    Alert,
    CameTrue,
    Cause,
    Command,
    Confusion,
    Contributor,
    Counterpart,
    DetectorRef,
    ErrorSplit,
    Estimated,
    Evidence,
    Histogram,
    LabelCoverage,
    OffsetRange,
    Span,
    Statistic,
    WindowSummary,
)
from driftline.codec import decode
from driftline.events import Decoded, LabelEvent, PredictionColumns, PredictionEvent

V1 = Path(__file__).parent / "v1"
PREDICTION = PredictionEvent(
    prediction_id="0192f8a2-7c1e-7e0a-9a4a-0242ac120002",
    model="fraud",
    version="2026-11-01",
    ts=1_793_500_000_123,
    features={"amount": 12.5, "country": "DE", "device": None},
    prediction="legit",
    scores={"fraud": 0.02, "legit": 0.98},
    segments={"region": "eu"},
    attributions={"amount": -0.4},
    latency_ms=7.2,
    trace_id="4bf92f3577b34da6",
)
EXPECTED = {
    "prediction": Decoded([PREDICTION], [0]),
    "outcome": Decoded(
        [
            PredictionEvent(
                prediction_id="o-1",
                model="rentals",
                version="1.10",
                ts=1_793_525_400_500,
                features={"hour": 8.0, "holiday": False},
                prediction=312.5,
                arrival=1_793_525_405_000,
            )
        ],
        [0],
        labels=[LabelEvent("o-1", "rentals", 298, 1_793_525_400_500, "counter", 1_793_525_405_000)],
        label_index=[0],
    ),
    "predictions": Decoded(
        [
            PredictionEvent(
                prediction_id="r-1",
                model="fraud",
                version="2026-11-01",
                ts=1_793_500_000_123,
                features={"amount": None},
                prediction=True,
                scores=0.75,
            ),
            PredictionEvent(
                prediction_id="r-2",
                model="fraud",
                version="2026-11-02",
                ts=1_793_500_000_124,
                prediction=0,
            ),
        ],
        [0, 1],
        client_dropped=4,
        invalid={"amount": 1},
    ),
    "prediction_columns": Decoded(
        columns=[
            PredictionColumns(
                model="fraud",
                version="2026-11-01",
                n=2,
                prediction_id=["c-1", "c-2"],
                ts=[1_793_500_000_123, 1_793_500_000_124],
                features={"amount": [12.5, None], "country": ["DE", "FR"]},
                prediction=["legit", "fraud"],
                scores={"fraud": [0.02, 0.98]},
                segments={"region": ["eu", None]},
                index=[0, 1],
            )
        ],
        client_dropped=2,
        invalid={"amount": 1},
    ),
    "label": Decoded(
        labels=[
            LabelEvent(PREDICTION.prediction_id, "fraud", "fraud", 1_793_570_000_000, "chargeback")
        ],
        label_index=[0],
    ),
    "labels": Decoded(
        labels=[
            LabelEvent("r-1", "fraud", False, 1_793_570_000_000, "chargeback"),
            LabelEvent("r-2", "other", 1.0, None, "chargeback"),
        ],
        label_index=[0, 1],
    ),
    "label_columns": Decoded(
        labels=[
            LabelEvent("c-1", None, "legit", 1_793_570_000_000),
            LabelEvent("c-2", None, "fraud"),
        ],
        label_index=[0, 1],
    ),
}

ALERT = Alert(
    id="a2b9a9a5-7a7c-58a3-92a1-5c6a3f0f2f65",
    fingerprint="2b0cd4a7bbee0d20b3a4b6e8fd0b53a1",
    revision=2,
    status="firing",
    reason="escalated",
    severity="critical",
    kind="concept_drift",
    model="fraud",
    version="2026-11-01",
    signal="error",
    segment={"region": "eu"},
    rule="drift",
    detector=DetectorRef("adwin", {"delta": 0.002}),
    statistic=Statistic(
        name="mean error",
        value=0.31,
        threshold=0.2,
        baseline=0.1,
        effect_size=0.7,
        sample_size=1200,
        interval=(0.28, 0.34),
    ),
    window=Span("2026-11-01T10:00:00.000Z", "2026-11-01T11:00:00.000Z"),
    change_point="2026-11-01T10:12:00.000Z",
    started_at="2026-11-01T10:12:00.000Z",
    detected_at="2026-11-01T10:30:00.000Z",
    evidence=Evidence(
        prediction_ids=["p-1", "p-2"],
        offsets=[OffsetRange("driftline.predictions", 0, 100, 250)],
        histogram=Histogram([0.0, 0.5, 1.0], [0.9, 0.1], [0.4, 0.6]),
        contributors=[Contributor("amount", 0.8, "up")],
    ),
    causes=[Cause("upstream_missing", "device became null", 0.9)],
    counterparts=[Counterpart("2026-10-01", 0.1, "unchanged")],
    summary="error of fraud@2026-11-01 rose from 0.10 to 0.31",
    config_hash="c0ffee00",
    links={"runbook": "docs/runbooks.md#concept-drift"},
    group="2b0cd4a7bbee0d20b3a4b6e8fd0b53a1",
)
WINDOW = WindowSummary(
    model="fraud",
    version="2026-11-01",
    start="2026-11-01T10:00:00.000Z",
    end="2026-11-01T11:00:00.000Z",
    size_ms=3_600_000,
    revision=1,
    counts={"predictions": 3, "outcomes": 2},
    metrics={"accuracy": 0.5},
    errors={"accuracy": 0.25},
    reasons={"roc_auc": "no scores"},
    labels=LabelCoverage(0.75, True, 0.25, 0.5),
    estimated={"accuracy": Estimated(0.75, 0.5, 1.0)},
    came_true={"accuracy": CameTrue(0.5, 0.75, -1.5)},
    split=ErrorSplit(0.25, 0.5, 0.05, 0.01, 0.2, 0.1, 0.0),
    confusion=Confusion(["fraud", "legit"], [[1, 0], [1, 0]]),
    signals={"feature:amount": {"n": 3, "missing": 1, "mean": 12.5}},
)
COMMAND = Command(
    id="cmd-1",
    command="silence",
    fingerprint="2b0cd4a7bbee0d20b3a4b6e8fd0b53a1",
    who="ana",
    when="2026-11-01T10:30:00.000Z",
    why="known upstream outage",
    until="2026-11-01T12:30:00.000Z",
)
OUTPUTS = {
    "alert": (ALERT, alerts.decode_alert),
    "window": (WINDOW, alerts.decode_window),
    "command": (COMMAND, alerts.decode_command),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_frozen_events_decode_to_what_they_always_meant(name):
    assert decode((V1 / f"{name}.json").read_bytes()) == EXPECTED[name]


@pytest.mark.parametrize("name", OUTPUTS)
def test_frozen_alerts_windows_and_commands_decode_and_encode_to_the_same_bytes(name):
    event, read = OUTPUTS[name]
    frozen = (V1 / f"{name}.json").read_bytes()
    assert read(frozen) == event
    assert alerts.encode(event) == frozen


def test_no_frozen_file_goes_untested():
    assert {path.stem for path in V1.iterdir()} == {*EXPECTED, *OUTPUTS}


def test_fingerprints_and_alert_ids_are_the_same_for_ever():
    print_ = alerts.fingerprint("fraud", "2026-11-01", "drift", "error", {"b": "ü", "a": "1"})
    assert print_ == "c2583fd37d0bcacdd5e90c4cf640cef6"
    assert (
        alerts.fingerprint("fraud", "2026-11-01", "drift", "error")
        == "d5df5bf6adb2ade3cce8c2ce7d73ff87"
    )
    assert alerts.alert_id(print_, 1_793_500_000_123, 1) == "48e43f4d-ac41-5710-89bf-7bcbfce84389"
