"""The rules of join: each case is rows in, outcomes and counters out.

The horizon is 160 ms, so a slice is 10 ms and a prediction is kept for 170 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.joining import FAR, counts, outcomes, passed, run
from tests.strategies import Label, Prediction, Row


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
        "of a waiting label of the model and one of any model, the one that holds counts",
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
