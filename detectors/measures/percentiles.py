"""Percentiles of latencies from counts of logarithmic buckets: exact to 1 %, in any order of rows.

Source: Masson, Rim & Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12 (12).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.frame import Frame
from detectors.served import LATENCY_COLUMN

Ints: TypeAlias = NDArray[np.int64]

ERROR: Final = 0.01
"""Greatest relative error of a percentile between `LEAST` and `MOST`."""
LEAST, MOST = 1e-3, 1e8
"""Latencies in ms beyond which all are alike: a microsecond, and a day."""
SHOWN: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NONE: Final = -1

_GAMMA = (1 + ERROR) / (1 - ERROR)
_BUCKETS = int(np.ceil(np.log(MOST / LEAST) / np.log(_GAMMA)))
_BOUNDS: Floats = LEAST * np.cumprod(np.full(_BUCKETS, _GAMMA))
"""Upper bound of each bucket. Comparing with bounds is exact where logarithms are rounded."""


def buckets_of(rows: Frame) -> Ints | None:
    """The bucket of each row's latency, `NONE` where it has none; None if no row has."""
    column = rows.columns.get(LATENCY_COLUMN)
    if column is None:
        return None
    found: Ints = np.searchsorted(_BOUNDS, column.data, "left").astype(np.int64)
    found[~column.mask] = NONE
    return found


def counts_of(buckets: Ints) -> Ints:
    """Rows per bucket, as long as the last one that has any."""
    return np.bincount(buckets[buckets != NONE]).astype(np.int64)


def percentiles(counts: Ints) -> dict[str, float]:
    """p50, p95 and p99 in ms, each within 1 % of a latency of that rank; empty without rows."""
    total = int(counts.sum())
    if not total:
        return {}
    upto = np.cumsum(counts)
    found = {}
    for name, q in SHOWN.items():
        bucket = int(np.searchsorted(upto, int(q * (total - 1)), "right"))
        # Of a bucket (b/gamma, b] the value 2b/(gamma + 1) is off by no more than 1 % from any.
        found[name] = float(_BOUNDS[min(bucket, _BUCKETS - 1)] * 2 / (_GAMMA + 1))
    return found
