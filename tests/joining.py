"""Running join on rows written by hand, and reading what came out.

The horizon is 160 ms, so a slice is 10 ms and a prediction is kept for 170 ms.
"""

from __future__ import annotations

from collections import Counter

from detectors.flow.join import JoinSpec, MemoryPending, step
from detectors.frame import Frame
from tests.strategies import Row, frames_of, rows_of

SPEC = JoinSpec(default_horizon_ms=160, default_segments=("region",))
FAR = 10_000


def run(
    rows: list[Row],
    *,
    clock: int = FAR,
    spec: JoinSpec = SPEC,
    pending: MemoryPending | None = None,
) -> list[Frame]:
    return step(pending or MemoryPending(), frames_of(rows), clock, spec)[1]


def outcomes(frames: list[Frame]) -> list[tuple[object, ...]]:
    """(subject, label, previous label or None) of each outcome, in key order by subject."""
    rows = [row for frame in frames if frame.kind == "outcome" for row in rows_of(frame)]
    return [
        (
            row["subject"],
            row.get("label", row.get("label_value")),
            row.get("previous", row.get("previous_value")),
        )
        for row in rows
    ]


def counts(frames: list[Frame]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for frame in frames:
        if frame.kind == "count":
            for row in rows_of(frame):
                found[f"{row['subject']} {row['name']}"] += row["value"]
    return dict(found)


def passed(frames: list[Frame]) -> int:
    return sum(frame.n for frame in frames if frame.kind == "prediction")
