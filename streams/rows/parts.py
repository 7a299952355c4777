"""Where a batch is cut so that what is sent of it fits a message.

Rows of one subject become one frame, which has a column for every feature that any of them has. A
few thousand rows that share no feature would be gigabytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from detectors.frame import Array, Frame
from driftline.events import Decoded

FRAME_BYTES = 8 << 20
"""Of the frames of one part: half of what a message may be, and more than rows usually come to."""
_CELL_BYTES = 8
_TWO = 2


def cuts(
    frames: Sequence[Frame], odd: Sequence[tuple[int, Decoded]], offsets: Array
) -> list[tuple[int, int]]:
    """The ranges of a batch's records that go out on their own: all of it, if that is not too wide.

    Args:
        frames: rows that are frames already, of these records.
        odd: other records: their position in the batch, rising, and what they hold.
        offsets: of the batch's records, rising; shape (n,).

    Returns:
        [start, stop) of positions, which tile the batch. A single record is never cut.
    """
    n = len(offsets)
    if n < _TWO or _nbytes(frames, odd) <= FRAME_BYTES:
        return [(0, n)]
    middle = n // 2
    first, last = offsets[:middle], offsets[middle:]
    before = [(at, decoded) for at, decoded in odd if at < middle]
    after = [(at - middle, decoded) for at, decoded in odd if at >= middle]
    return [
        *cuts(within(frames, first), before, first),
        *(
            (start + middle, stop + middle)
            for start, stop in cuts(within(frames, last), after, last)
        ),
    ]


def within(frames: Sequence[Frame], offsets: Array) -> list[Frame]:
    """The rows of these records only."""
    parts: list[Frame] = []
    if not len(offsets):
        return parts
    for frame in frames:
        own = frame.ints("offset")
        inside = (own >= offsets[0]) & (own <= offsets[-1])
        if inside.any():
            parts.append(frame if inside.all() else frame.take(inside))
    return parts


def _nbytes(frames: Sequence[Frame], odd: Sequence[tuple[int, Decoded]]) -> int:
    """About how large the frames of all these rows would be."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    rows: Counter[str] = Counter()
    for frame in frames:
        names[frame.subject].update(frame.column_names)
        rows[frame.subject] += frame.n
    for _, decoded in odd:
        for event in decoded.predictions:
            subject = f"{event.model}@{event.version}"
            names[subject].update(event.features)
            rows[subject] += 1
        for batch in decoded.columns:
            subject = f"{batch.model}@{batch.version}"
            names[subject].update(batch.features)
            rows[subject] += batch.n
    return sum(_CELL_BYTES * n * len(names[subject]) for subject, n in rows.items())
