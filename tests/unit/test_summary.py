"""What a window's record says where its counts do not fit together."""

import numpy as np

from detectors.api import Metric, Value
from detectors.summary import _measured


def test_an_array_divided_by_zero_is_a_reason_and_no_warning():
    def measure(base: object) -> Value:
        return Value(float((np.ones(2) / np.zeros(2)).sum()))

    value = _measured(Metric("m", ("binary",), measure, of="matrix"), None)
    assert value.value is None
    assert value.reason.startswith("the counts do not fit together")
