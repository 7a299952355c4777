"""When labels come and how many of them, by cohort and age, and whether they are a fair sample."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.label_ages import AgeCohorts, age_text, ages_of, cohort_size
from detectors.spec import MonitorSpec
from tests.monitored import Row, Run

START = 1_699_920_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SPEC = MonitorSpec(model="m", task="binary", positive="b", warmup=600, horizon_ms=8 * HOUR)

Delay = Callable[[random.Random, int], int | None]


def stream(
    delay: Delay, days: float, *, every: int = MINUTE, seed: int = 1, wrong: float = 0.1
) -> list[Row]:
    """Predictions `every` ms, and their labels `delay(rng, minutes since the start)` later."""
    rng = random.Random(seed)
    rows = []
    for i in range(int(days * DAY / every)):
        ts = START + i * every
        said = rng.choice("ab")
        body = {"prediction": said, "features": {}}
        rows.append(Row("prediction", f"p{i}", ts, ts, body, offset=i))
        later = delay(rng, i * every // MINUTE)
        if later is not None:
            truth = said if rng.random() >= wrong else "ab"[said == "a"]
            known = {"prediction": said, "label": truth, "prediction_arrival": ts}
            rows.append(Row("outcome", f"p{i}", ts, ts + later, known, rank=1))
    return sorted(rows, key=lambda row: row.key)


def steady(rng: random.Random, minute: int) -> int:
    return int(rng.expovariate(1 / (20 * MINUTE)))


def slower(rng: random.Random, minute: int) -> int:
    return steady(rng, minute) * (6 if minute >= 3 * 1_440 else 1)


def fewer(rng: random.Random, minute: int) -> int | None:
    return None if minute >= 3 * 1_440 and rng.random() < 0.3 else steady(rng, minute)


def none_for_a_day(rng: random.Random, minute: int) -> int | None:
    return None if 3 * 1_440 <= minute < 4 * 1_440 else steady(rng, minute)


def nightly(rng: random.Random, minute: int) -> int:
    """Labels come in one batch at 2 a.m."""
    return (1_440 + 120 - minute % 1_440) % 1_440 * MINUTE + 1


def of_labels(run: Run) -> list[tuple[str, str]]:
    return [(a.reason, a.severity) for a in run.alerts if a.kind == "label_delay"]


def run(rows: Sequence[Row], end: int | None = None, spec: MonitorSpec = SPEC) -> Run:
    return Run(spec).step(rows, rows[-1].arrival + 1 if end is None else end)


@pytest.mark.parametrize(("delay", "within"), [(slower, 4 * HOUR), (fewer, 12 * HOUR)])
def test_labels_that_come_later_or_fewer_open_one_alert(delay, within):
    found = run(stream(delay, 4.5))
    assert next(reason for reason, _ in of_labels(found)) == "opened"
    (alert,) = [a for a in found.alerts if a.reason == "opened" and a.kind == "label_delay"]
    assert "later or fewer since 2023-11-17 0" in alert.summary
    from driftline.rules import iso_ms

    at = iso_ms(alert.detected_at)
    assert at is not None
    assert 0 < at - (START + 3 * DAY) <= within


@pytest.mark.parametrize("delay", [steady, nightly])
def test_nothing_is_told_where_labels_come_as_they_did(delay):
    assert of_labels(run(stream(delay, 5))) == []


def test_nothing_is_told_where_predictions_end_and_labels_come_as_they_did():
    """A quick look at the labels that arrive would say that they come later and later."""
    rows = stream(lambda rng, _: int(rng.expovariate(1 / (3 * HOUR))), 3)
    assert of_labels(run(rows, rows[-1].arrival + 2 * DAY)) == []


def test_nothing_is_told_without_any_labels():
    rows = stream(lambda *_: None, 3)
    assert of_labels(run(rows, rows[-1].arrival + 2 * DAY)) == []


def test_it_ends_when_labels_come_again_and_windows_say_so_meanwhile():
    found = run(stream(none_for_a_day, 9))
    assert of_labels(found) == [("opened", "critical"), ("recovered", "critical")]
    said = {
        window.start[:10]
        for window in found.windows
        if window.labels.caveat and window.revision == 1
    }
    assert "2023-11-16" not in said
    assert "2023-11-17" in said


ROWS = stream(slower, 3.7, every=2 * MINUTE)


@given(cuts=st.sets(st.integers(0, len(ROWS)), max_size=8), restarts=st.booleans())
@settings(max_examples=2, deadline=None)
def test_any_cut_and_any_restart_tells_the_same(cuts, restarts):
    whole = run(ROWS)
    assert of_labels(whole)
    part = Run(SPEC)
    edges = [0, *sorted(cuts), len(ROWS)]
    for begin, stop in itertools.pairwise(edges):
        clock = ROWS[stop].arrival if stop < len(ROWS) else ROWS[-1].arrival + 1
        part.step(ROWS[begin:stop], clock)
        if restarts:
            part.restart()
    assert part.result() == whole.result()


def test_ages_and_cohorts_follow_the_horizon():
    assert [age_text(age) for age in ages_of(8 * HOUR)] == [
        "1min",
        "5min",
        "15min",
        "1h",
        "4h",
        "8h",
    ]
    assert age_text(ages_of(90 * DAY)[-1]) == "90d"
    assert cohort_size(DAY) == 10 * MINUTE
    assert 390 <= 90 * DAY / cohort_size(90 * DAY) <= 400


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3 * HOUR), st.integers(0, 2 * HOUR), st.integers(0, 9 * HOUR)),
        min_size=1,
    )
)
def test_a_cohort_is_judged_by_the_rows_that_came_in_time_whatever_else_came(rows):
    import numpy as np

    ts, late, delay = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    predicted = ts + late
    labelled = np.maximum(predicted, ts + delay)
    cohorts = AgeCohorts.of(8 * HOUR)
    cohorts.predicted(ts, predicted)
    cohorts.labelled(ts, labelled, predicted)
    for judged in cohorts.judge(10**12):
        age, end = cohorts.ages[judged.at], judged.start + cohorts.size_ms
        inside = (ts >= judged.start) & (ts < end) & (predicted < end + age)
        assert judged.due == end + age
        assert judged.n == inside.sum()
        assert judged.unlabelled == judged.n - (inside & (labelled - ts < age)).sum()
    assert cohorts.open == {}
    assert cohorts.next_due is None
