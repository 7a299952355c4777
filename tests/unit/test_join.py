"""What join makes of predictions and labels: each case is rows in, outcomes and counters out.

The horizon is 160 ms, so a slice is 10 ms and a prediction is kept for 170 ms.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from strategies import Label, Prediction, Row, frames_of, rows_of

from detectors.frame import Frame
from detectors.join import JoinSpec, MemoryPending, step
from detectors.outcome import KEY_COLUMNS

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


@dataclass
class Case:
    what: str
    rows: list[Row]
    outcomes: list[tuple[object, ...]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    passed: int = 1
    clock: int = 150


V1, V2 = "fraud@1", "fraud@2"

CASES = [
    Case(
        "a label after its prediction makes an outcome",
        [Prediction(arrival=1), Label(arrival=5)],
        [(V1, "fraud", None)],
    ),
    Case(
        "a label before its prediction waits for it",
        [Label(arrival=1), Prediction(arrival=5)],
        [(V1, "fraud", None)],
    ),
    Case(
        "a label of another model is not its label",
        [Prediction(arrival=1), Label(model="churn", arrival=5)],
    ),
    Case(
        "a label of another id is not its label", [Prediction(arrival=1), Label(id="b", arrival=5)]
    ),
    Case(
        "a label goes to every version of its model",
        [Prediction(arrival=1), Prediction(arrival=2, subject=V2), Label(arrival=5)],
        [(V1, "fraud", None), (V2, "fraud", None)],
        passed=2,
    ),
    Case(
        "a label goes to a version that predicts later, too",
        [Prediction(arrival=1), Label(arrival=5), Prediction(arrival=9, subject=V2)],
        [(V1, "fraud", None), (V2, "fraud", None)],
        passed=2,
    ),
    Case(
        "a label without a model goes to every model that has the id, now or later",
        [
            Prediction(arrival=1),
            Label(model="", arrival=5),
            Prediction(arrival=9, subject="churn@7"),
        ],
        [("churn@7", "fraud", None), (V1, "fraud", None)],
        passed=2,
    ),
    Case(
        "a model whose name begins with the label's model is another model",
        [Prediction(arrival=1, subject="fraud-eu@1"), Label(arrival=5)],
    ),
    Case(
        "a repeat of a prediction is a duplicate: the first counts",
        [Prediction(arrival=1), Prediction(arrival=5)],
        counts={f"{V1} duplicates": 1},
    ),
    Case(
        "a repeat with another prediction is also a conflict",
        [Prediction(arrival=1), Prediction(arrival=5, says="fraud"), Label(arrival=9)],
        [(V1, "fraud", None)],
        {f"{V1} duplicates": 1, f"{V1} conflicts": 1},
    ),
    Case(
        "a repeat with another score is also a conflict",
        [Prediction(arrival=1, score=0.1), Prediction(arrival=5, score=0.2)],
        counts={f"{V1} duplicates": 1, f"{V1} conflicts": 1},
    ),
    Case(
        "a repeat without the scores of the first is also a conflict",
        [Prediction(arrival=1, score=0.1), Prediction(arrival=5)],
        counts={f"{V1} duplicates": 1, f"{V1} conflicts": 1},
    ),
    Case(
        "classes are compared as text, so 1 after '1' is a plain duplicate",
        [Prediction(arrival=1, says="1"), Prediction(arrival=5, says=1.0)],
        counts={f"{V1} duplicates": 1},
    ),
    Case(
        "other features do not make a conflict",
        [Prediction(arrival=1), Prediction(arrival=5, amount=2.0)],
        counts={f"{V1} duplicates": 1},
    ),
    Case(
        "the same id under another version is another prediction",
        [Prediction(arrival=1), Prediction(arrival=5, subject=V2)],
        passed=2,
    ),
    Case(
        "a repeat after the horizon is a new prediction",
        [Prediction(arrival=1), Prediction(arrival=161), Label(arrival=170)],
        [(V1, "fraud", None)],
        passed=2,
        clock=171,
    ),
    Case(
        "a repeat just within the horizon is a duplicate",
        [Prediction(arrival=1), Prediction(arrival=160)],
        counts={f"{V1} duplicates": 1},
        clock=161,
    ),
    Case(
        "a later label revises: the outcome says what it replaces",
        [Prediction(arrival=1), Label(arrival=5), Label(arrival=9, says="legit")],
        [(V1, "fraud", None), (V1, "legit", "fraud")],
        {f"{V1} revisions": 1},
    ),
    Case(
        "an older label that arrives later is stale",
        [Prediction(arrival=1), Label(arrival=5, ts=5), Label(arrival=9, ts=4, says="legit")],
        [(V1, "fraud", None)],
        {f"{V1} stale_labels": 1},
    ),
    Case(
        "an equal label is a duplicate",
        [Prediction(arrival=1), Label(arrival=5), Label(arrival=9)],
        [(V1, "fraud", None)],
        {f"{V1} label_duplicates": 1},
    ),
    Case(
        "labels 1 and '1' are equal",
        [Prediction(arrival=1), Label(arrival=5, says=1.0), Label(arrival=9, says="1")],
        [(V1, 1.0, None)],
        {f"{V1} label_duplicates": 1},
    ),
    Case(
        "an equal label that is later makes what lies between them stale",
        [
            Prediction(arrival=1),
            Label(arrival=5, ts=5),
            Label(arrival=9, ts=9),
            Label(arrival=10, ts=7, says="legit"),
        ],
        [(V1, "fraud", None)],
        {f"{V1} label_duplicates": 1, f"{V1} stale_labels": 1},
    ),
    Case(
        "at equal ts the greater source holds",
        [
            Prediction(arrival=1),
            Label(arrival=5, ts=5, by="chargeback"),
            Label(arrival=9, ts=5, by="form", says="legit"),
        ],
        [(V1, "fraud", None), (V1, "legit", "fraud")],
        {f"{V1} revisions": 1},
    ),
    Case(
        "at equal ts and source the greater label holds",
        [
            Prediction(arrival=1),
            Label(arrival=5, ts=5, says="legit"),
            Label(arrival=9, ts=5, says="fraud"),
        ],
        [(V1, "legit", None)],
        {f"{V1} stale_labels": 1},
    ),
    Case(
        "of two labels that wait, the one that holds makes the one outcome",
        [Label(arrival=1), Label(arrival=2, says="legit"), Prediction(arrival=5)],
        [(V1, "legit", None)],
        {"fraud@ revisions": 1},
    ),
    Case(
        "of a waiting label of the model and one of any model, the one that holds makes the outcome",
        [
            Label(arrival=1, ts=9),
            Label(model="", arrival=2, ts=8, says="legit"),
            Prediction(arrival=5),
        ],
        [(V1, "fraud", None)],
        {f"{V1} stale_labels": 1},
    ),
    Case(
        "a label at the end of the horizon is late and changes nothing",
        [Prediction(arrival=1), Label(arrival=161)],
        counts={f"{V1} late_labels": 1},
        clock=162,
    ),
    Case(
        "a label just before the end of the horizon is not late",
        [Prediction(arrival=1), Label(arrival=160)],
        [(V1, "fraud", None)],
        clock=161,
    ),
    Case(
        "the horizon runs from the prediction's ts, not from its arrival",
        [Prediction(arrival=101, ts=1), Label(arrival=161)],
        counts={f"{V1} late_labels": 1},
        clock=162,
    ),
    Case(
        "a late label is told from an orphan for a sixteenth of the horizon",
        [Prediction(arrival=1), Label(arrival=170)],
        counts={f"{V1} late_labels": 1},
        clock=FAR,
    ),
    Case(
        "a label after that is an orphan",
        [Prediction(arrival=1), Label(arrival=171)],
        counts={"fraud@ orphan_labels": 1},
        clock=FAR,
    ),
    Case(
        "a label that no prediction comes for is an orphan once its horizon is over",
        [Label(arrival=1), Prediction(arrival=161)],
        counts={"fraud@ orphan_labels": 1},
        clock=FAR,
    ),
    Case(
        "an orphan of any model",
        [Label(model="", arrival=1)],
        counts={"@ orphan_labels": 1},
        passed=0,
        clock=FAR,
    ),
    Case(
        "a label that waits is not an orphan yet",
        [Label(arrival=1)],
        passed=0,
        clock=160,
    ),
    Case(
        "a label that waited just long enough",
        [Label(arrival=1), Prediction(arrival=160)],
        [(V1, "fraud", None)],
        clock=FAR,
    ),
    Case(
        "a label is late for a prediction that arrives after it with an old ts",
        [Label(arrival=200), Prediction(arrival=210, ts=40)],
        counts={f"{V1} late_labels": 1},
        clock=FAR,
    ),
    Case(
        "a label that was late for one version goes to a version that is in time",
        [Prediction(arrival=1), Label(arrival=165), Prediction(arrival=166, subject=V2)],
        [(V2, "fraud", None)],
        {f"{V1} late_labels": 1},
        passed=2,
        clock=FAR,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_join(case: Case) -> None:
    frames = run(_numbered(case.rows), clock=case.clock)
    assert outcomes(frames) == case.outcomes
    assert counts(frames) == case.counts
    assert passed(frames) == case.passed


def _numbered(rows: list[Row]) -> list[Row]:
    return [type(row)(**{**vars(row), "offset": i}) for i, row in enumerate(rows)]


def test_an_outcome_carries_what_detect_needs_of_its_prediction_and_its_label() -> None:
    rows = [
        Prediction(arrival=3, ts=1, says="legit", score=0.25, segment="eu", partition=2, offset=7),
        Label(arrival=9, ts=8, says="fraud", partition=1, offset=4),
    ]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert {k: v for k, v in outcome.items() if k != "id"} == {
        "subject": "fraud@1",
        "kind": "outcome",
        "ts": 1,
        "prediction_arrival": 3,
        "arrival": 9,
        "source": 1 << 32 | 1,
        "order_ts": 8,
        "offset": 4,
        "index": 0,
        "prediction": "legit",
        "s:fraud": 0.25,
        "g:region": "eu",
        "label": "fraud",
        "label_ts": 8,
        "prediction_id": "a",
    }


def test_an_outcome_of_a_label_that_came_first_has_the_key_of_its_prediction() -> None:
    rows = [Label(arrival=3, offset=4), Prediction(arrival=9, ts=8, partition=2, offset=7)]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert [outcome[name] for name in KEY_COLUMNS] == [9, 2, 8, 7, 0]


def test_at_one_arrival_a_prediction_comes_before_its_label() -> None:
    rows = [Label(arrival=5, offset=0), Prediction(arrival=5, offset=900)]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert outcome["source"] == 1 << 32


def test_predictions_are_passed_on_with_all_their_columns_in_key_order() -> None:
    rows = [Prediction(id=name, arrival=10 - i, amount=float(i)) for i, name in enumerate("abcd")]
    [frame] = run(rows)
    assert frame.kind == "prediction"
    assert [row["arrival"] for row in rows_of(frame)] == [7, 8, 9, 10]
    assert [row["x:amount"] for row in rows_of(frame)] == [3.0, 2.0, 1.0, 0.0]


def test_several_frames_of_one_subject_are_one_sequence() -> None:
    early, late = Prediction(arrival=1, offset=1), Prediction(arrival=2, says="fraud", offset=0)
    frames = [*frames_of([late]), *frames_of([early])]
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    [kept] = [row for frame in out if frame.kind == "prediction" for row in rows_of(frame)]
    assert kept["arrival"] == 1


def test_each_model_has_its_own_horizon() -> None:
    spec = JoinSpec(default_horizon_ms=160, horizons_ms={"churn": 320})
    rows = [
        Prediction(arrival=1),
        Prediction(arrival=1, subject="churn@1", offset=1),
        Label(model="", arrival=200, offset=2),
    ]
    frames = run(rows, spec=spec, clock=201)
    assert outcomes(frames) == [("churn@1", "fraud", None)]
    assert counts(frames) == {}  # at fraud the prediction is gone for good, so it is not even late


def test_only_configured_segments_are_kept() -> None:
    spec = JoinSpec(default_horizon_ms=160)
    rows = [Prediction(arrival=1, segment="eu"), Label(arrival=2)]
    [outcome] = [row for f in run(rows, spec=spec) if f.kind == "outcome" for row in rows_of(f)]
    assert "g:region" not in outcome


def test_a_categorical_feature_can_be_a_segment() -> None:
    frames = frames_of([Prediction(arrival=1, segment="eu"), Label(arrival=2)])
    for frame in frames:
        if "g:region" in frame.columns:
            frame.columns["c:region"] = frame.columns.pop("g:region")
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    [outcome] = [row for f in out if f.kind == "outcome" for row in rows_of(f)]
    assert outcome["c:region"] == "eu"


def test_when_too_much_is_pending_the_oldest_slice_goes_and_is_counted() -> None:
    pending = MemoryPending(max_entries=4)
    rows: list[Row] = [Prediction(id=f"{i}", arrival=i * 20, offset=i) for i in range(6)]
    rows += [Label(id=f"{i}", arrival=119, offset=10 + i) for i in range(3)]
    frames = run(rows, clock=120, pending=pending)
    assert passed(frames) == 6
    assert outcomes(frames) == []  # each label found its prediction gone, and pushed out one more
    assert pending.entries == 4
    assert counts(frames)["fraud@1 pending_full"] == 5


def test_nothing_is_kept_when_all_lives_are_over() -> None:
    pending = MemoryPending()
    run([Prediction(arrival=1), Label(arrival=2, offset=1)], pending=pending)
    assert pending.entries == 0
    assert pending.dump()["slabs"] == []
    assert pending.waiting_labels == 0


def test_commands_are_passed_on() -> None:
    frames = frames_of([Prediction(arrival=1)])
    frames[0].kind = "command"
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    assert [frame.kind for frame in out] == ["command"]
