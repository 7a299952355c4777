"""Versions that go: after a month without a row, what was open of one is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.frame import Frame
from detectors.operators.commands import Told

EXPIRE: Final = "expire"
"""What `carry_out` is told, as an operator would tell it."""
SILENT_MS: Final = 30 * 86_400_000
"""Without a row, after which a version is gone."""
_ROWS: Final = ("prediction", "outcome")


def last_arrival(frames: Sequence[Frame], before: int) -> int:
    """Arrival of the last row so far, ms; `before`: of the last one in earlier frames."""
    arrivals = [int(frame.ints("arrival").max()) for frame in _rows(frames)]
    return max([before, *arrivals])


def expiries(frames: Sequence[Frame], before: int, clock: int) -> list[Told]:
    """Where among these rows a month of silence was full, in order; none of no rows ever.

    Args:
        frames: rows that come now.
        before: arrival of the last row in earlier frames, ms; 0: there was none.
        clock: arrival that no later row is below, ms.
    """
    if not before and not _rows(frames):
        return []
    arrivals = [frame.ints("arrival") for frame in _rows(frames)]
    known = np.sort(np.concatenate([np.array([before] if before else [], np.int64), *arrivals]))
    ends = np.append(known[1:], max(clock, int(known[-1])))
    silent = known[ends - known >= SILENT_MS] + SILENT_MS
    return [Told((at,), at, EXPIRE, None, None, "", "") for at in silent.tolist()]


def _rows(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.kind in _ROWS and frame.n]
