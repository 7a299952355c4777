"""A version that sends nothing for a month: what was open of it is over, wherever steps are cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.operators.silence import SILENT_MS
from detectors.spec import MonitorSpec, Threshold
from driftline.rules import rfc3339
from tests.detect_runs import Detect
from tests.monitored import Row, classifier

SPEC = MonitorSpec(
    model="m",
    warmup=600,
    window_ms=60_000,
    lateness_ms=10_000,
    thresholds=(Threshold(metric="accuracy", below=0.7, min_samples=20),),
)
ROWS = classifier(3, 4_000, hostile=False)  # worse from row 1,200 to 2,000
WORSE = [row for row in ROWS if row.arrival < ROWS[0].ts + 1_500_000]


def later(rows: list[Row], by_ms: int) -> list[Row]:
    """The same rows again, as other predictions, so much later."""
    moved = []
    for row in rows:
        body = dict(row.body)
        if "prediction_arrival" in body:
            body["prediction_arrival"] += by_ms
        times = {"ts": row.ts + by_ms, "arrival": row.arrival + by_ms}
        moved.append(replace(row, id=row.id + "later", body=body, **times))
    return moved


def test_a_month_after_its_last_row_everything_that_is_open_expires():
    run = Detect.of(SPEC).run(WORSE)
    assert {alert.rule for alert in run.alerts} == {"drift", "accuracy"}
    at = WORSE[-1].arrival + SILENT_MS
    run.step([], [], at - 1)
    newest = {alert.fingerprint: alert for alert in run.alerts}
    open_ = {mark for mark, alert in newest.items() if alert.status == "firing"}
    told = len(run.alerts)
    assert len(open_) >= 2
    run.step([], [], at + 12_345)
    ended = run.alerts[told:]
    assert {alert.fingerprint for alert in ended} == open_
    assert all(alert.reason != "expired" for alert in run.alerts[:told])
    assert {(a.reason, a.status, a.detected_at) for a in ended} == {
        ("expired", "resolved", rfc3339(at))
    }
    run.step([], [], at + 10 * SILENT_MS)
    assert len(run.alerts) == told + len(ended), "said once"


@pytest.mark.parametrize("silence", [SILENT_MS - 1, SILENT_MS, 2 * SILENT_MS])
def test_rows_that_come_back_do_not_change_what_the_silence_said(silence: int):
    rows = [*WORSE, *later(WORSE, silence + WORSE[-1].arrival - WORSE[0].arrival)]
    whole = Detect.of(SPEC).run(rows)
    expired = [alert for alert in whole.alerts if alert.reason == "expired"]
    assert bool(expired) is (silence >= SILENT_MS)
    between = WORSE[-1].arrival
    for cuts in ([between + 1], [between + 1, between + silence // 2, between + silence]):
        parts = Detect.of(SPEC).run(rows, cuts=cuts)
        assert parts.alerts == whole.alerts
        assert parts.windows == whole.windows
