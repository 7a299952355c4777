"""What a window's record says where its counts do not fit together."""

import numpy as np

from detectors.api import Metric, Value
from detectors.classes import ClassTable, Decision
from detectors.performance.confusion import ClassEntries
from detectors.registry import DEFAULTS, METRICS, AnyMetric
from detectors.windows.measured import measure as measured_by
from detectors.windows.tallies import ClassTally, Entries


def measured(tally: ClassTally | None, metrics: list[AnyMetric]) -> dict[str, Value]:
    table = ClassTable({})
    table.know(["no", "yes"])
    return measured_by(tally, Decision("binary", "yes", {}), table, metrics, "yes")


def test_an_array_divided_by_zero_is_a_reason_and_no_warning():
    def measure(base: object) -> Value:
        return Value(float((np.ones(2) / np.zeros(2)).sum()))

    own = Metric("m", ("binary",), measure, of="matrix")
    value = measured(None, [own])["m"]
    assert value.value is None
    assert value.reason.startswith("the counts do not fit together")


def test_a_metric_of_ones_own_is_asked_each_time_even_under_a_name_of_ours():
    asked = []

    def measure(base: object) -> Value:
        asked.append(base)
        return Value(float(len(asked)))

    own = Metric("accuracy", ("binary",), measure, of="matrix")
    assert [measured(None, [own])["accuracy"].value for _ in range(3)] == [1.0, 2.0, 3.0]


def test_metrics_come_in_the_order_asked_for_and_follow_the_matrix():
    names = [*DEFAULTS["binary"][::-1]]
    metrics = [METRICS[name] for name in names]
    nothing = measured(None, metrics)
    assert list(nothing) == names
    assert {value.value for value in nothing.values()} == {None}
    tally = ClassTally.empty(16)
    codes = {"no": 2, "yes": 3}
    for said, label, accuracy in (("yes", "yes", 1.0), ("yes", "no", 0.5), ("no", "no", 2 / 3)):
        pair = np.array([codes[said] << 20 | codes[label]])
        tally.add(Entries(pairs=ClassEntries(np.zeros(1, np.int64), np.ones(1, np.int64), pair)))
        found = measured(tally, metrics)
        assert list(found) == names
        assert found["accuracy"].value == accuracy
        assert measured(tally, metrics) == found
