"""Why join's store is not built again by stepping rows of the last horizon: what that would say.

The counter-examples of ADR-0016. The horizon is 160 ms, so a slice is 10 ms; each store is that of
arrival 300, once from all rows and once from those of the last 1.25 horizons, which is all that the
topic is sure to have.
"""

from __future__ import annotations

import pytest

from detectors.flow.join import JoinSpec, MemoryPending, step
from tests.joining import counts, outcomes
from tests.strategies import Label, Prediction, Row, frames_of

SPEC = JoinSpec(default_horizon_ms=160)
NOW = 300
KEPT_MS = 200


def store(rows: list[Row]) -> MemoryPending:
    pending = MemoryPending()
    step(pending, frames_of(rows), NOW, SPEC)
    pending.take_losses()
    return pending


def later(pending: MemoryPending, rows: list[Row]) -> tuple[object, object]:
    _, frames = step(pending, frames_of(rows), 10_000, SPEC)
    return outcomes(frames), counts(frames)


@pytest.mark.parametrize(
    ("rows", "then"),
    [
        ([Prediction(arrival=95), Label(arrival=250)], []),
        (
            [Prediction(arrival=0), Prediction(arrival=110), Prediction(arrival=170)],
            [Prediction(arrival=305)],
        ),
        (
            [Label(arrival=95, ts=90, says="x"), Label(arrival=110, ts=80, says="x"),
             Label(arrival=200, ts=85, says="y"), Label(arrival=201, ts=85, says="x")],
            [Prediction(arrival=310, ts=310)],
        ),
    ],
    ids=[
        "a label that met its prediction would be an orphan",
        "a prediction that began a new horizon would be a repeat",
        "a label that is stale would hold",
    ],
)  # fmt: skip
def test_rows_of_the_last_horizon_do_not_give_the_state_that_all_rows_gave(
    rows: list[Row], then: list[Row]
) -> None:
    recent = [row for row in rows if row.arrival >= NOW - KEPT_MS]
    assert later(store(recent), then) != later(store(rows), then)
