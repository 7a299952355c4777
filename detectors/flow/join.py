"""join: predictions without their repeats, and outcomes wherever a label is there.

`step` is a function of the pending store and the rows, which it takes in key order across all its
frames: how the rows were cut into steps and frames never shows in what comes out. The rules, for
one id (contract.md, sections 2 and 3):

* A repeat of a prediction for the same model and version that arrives within one horizon of the
  first is a duplicate and goes no further; with another prediction or other scores it is also a
  conflict.
* A label goes to every version of its model that has the id (no model: of every model), and to
  those whose prediction arrives within one horizon of the label.
* Of two labels the one with the greater `ts` holds, on equal `ts` the greater (source, label) in
  byte order. The same label again is a duplicate, one that takes over is a revision and emits the
  outcome again with the `previous` label, one that does not is stale.
* A label that arrives at or after the prediction's `ts` + horizon changes nothing: it is late.
  Predictions are kept 17/16 of the horizon so that such a label is not taken for an orphan, which
  is a label that no prediction came for within one horizon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from detectors.flow import usual
from detectors.flow.join_spec import JoinSpec, sampled
from detectors.flow.lane import Lane
from detectors.flow.matching import Matching
from detectors.flow.memory_pending import MemoryPending
from detectors.flow.pending import Pending
from detectors.frame import ID, Array, Frame, concat
from detectors.order_key import in_order, merged_order

__all__ = ["JoinSpec", "MemoryPending", "Pending", "step"]

_LOOKED_UP = frozenset({"prediction", "label"})
_NO_IDS = np.empty(0, ID)
_RANK = {"prediction": 0, "outcome": 1, "command": 2, "count": 3}


def step(
    pending: Pending, frames: Sequence[Frame], clock: int, spec: JoinSpec
) -> tuple[Pending, list[Frame]]:
    """Takes the next rows and returns the store with what comes out.

    Args:
        pending: the store; it belongs to the step, which changes it.
        frames: prediction and label frames; no row of a later step has a smaller key.
        clock: arrival in ms that all sources have passed, at or after those of the rows.
        spec: horizons and segments by model.

    Returns:
        The store, and by subject: a prediction frame (its rows without duplicates, with all
        columns), an outcome frame, and a count frame of `duplicates`, `conflicts`,
        `label_duplicates`, `revisions`, `stale_labels`, `late_labels`, `orphan_labels`,
        `labels_not_sampled` and `pending_full` since the last step. Labels that met no prediction
        count under "model@".
    """
    matching, out = Matching(pending, spec), []
    rows = _one_each(_in_sample(frames, matching))
    while rows:
        part, rows = _cut(rows, pending.next_end)
        if not part:
            pending.expire(min(int(frame.ints("arrival")[0]) for frame in rows))
            continue
        out += _part(matching, part)
        if rows:
            pending.settle()
            out += matching.count_frames()
            matching = Matching(pending, spec)
    pending.expire(clock)
    pending.settle()
    out += matching.count_frames()
    return pending, sorted(out, key=lambda frame: (frame.subject, _RANK[frame.kind]))


def _cut(frames: Sequence[Frame], end: int) -> tuple[list[Frame], list[Frame]]:
    """The rows that arrived before `end`, and the others.

    A part within which no slice ends can be taken many rows at once, see `detectors.flow.usual`.
    """
    before, after = [], []
    for frame in frames:
        n = int(frame.ints("arrival").searchsorted(end))
        if n:
            before.append(frame if n == frame.n else frame.span(0, n))
        if n < frame.n:
            after.append(frame.span(n, frame.n) if n else frame)
    return before, after


def _part(matching: Matching, frames: Sequence[Frame]) -> list[Frame]:
    """What comes out of rows between two ends of slices, but for the counts."""
    lanes = [matching.lane(frame) for frame in frames]
    _take_rows(matching, lanes)
    return [frame for lane in lanes for frame in lane.passed()] + matching.outcome_frames()


def _take_rows(matching: Matching, lanes: Sequence[Lane]) -> None:
    """Every row has its turn, in key order; slices end as the rows' arrivals pass them."""
    pending = matching.pending
    frames = [lane.frame for lane in lanes]
    which, rows = merged_order(frames)
    matching.causes = _causes(frames, which, rows)
    left = np.flatnonzero(usual.take(matching, lanes, which, rows))
    if not len(left):
        return
    pending.fetch(np.concatenate([_NO_IDS, *_ids(frames, which[left], rows[left])]))
    arrivals = [frame.ints("arrival").tolist() for frame in frames]
    takes = [lane.take for lane in lanes]
    turns = zip(left.tolist(), which[left].tolist(), rows[left].tolist(), strict=True)
    for matching.turn, lane, row in turns:
        arrival = arrivals[lane][row]
        if arrival >= pending.next_end:
            pending.expire(arrival)
        takes[lane](row)


def _ids(frames: Sequence[Frame], which: Array, rows: Array) -> Iterator[Array]:
    """The ids of rows that have their turns."""
    for lane, frame in enumerate(frames):
        if frame.kind in _LOOKED_UP:
            yield frame.data("id")[rows[which == lane]]


def _causes(frames: Sequence[Frame], which: Array, rows: Array) -> Array | None:
    """Column `cause` of the rows in the order of the step, if they have one."""
    if not any(frame.has("cause") for frame in frames):
        return None
    causes = [
        frame.ints("cause") if frame.has("cause") else np.zeros(frame.n, np.int64)
        for frame in frames
    ]
    starts = np.cumsum([0, *(frame.n for frame in frames)])
    taken: Array = np.concatenate(causes).take(starts[which] + rows)
    return taken


def _in_sample(frames: Sequence[Frame], matching: Matching) -> list[Frame]:
    """The frames, of label frames the rows that the model's sample takes; counts the others."""
    kept = []
    for frame in frames:
        share = 1.0
        if frame.kind == "label":
            share = matching.spec.sample(frame.subject.partition("@")[0])
        if share < 1 and frame.n:
            chosen = sampled(frame.data("id"), share)
            _count_left_out(matching, frame.take(~chosen))
            if not chosen.all():
                kept.append(frame.take(chosen))
                continue
        kept.append(frame)
    return kept


def _count_left_out(matching: Matching, frame: Frame) -> None:
    """Counts labels outside the sample, each with the cause that its row has."""
    cause = frame.column("cause")
    causes = Counter([-1] * frame.n if cause is None else cause.data.tolist())
    for offset, n in causes.items():
        matching.counts[frame.subject, "labels_not_sampled", offset] += n


def _one_each(frames: Sequence[Frame]) -> list[Frame]:
    """One frame per subject and kind, each in key order."""
    groups: dict[tuple[str, str], list[Frame]] = {}
    for frame in frames:
        if frame.n:
            groups.setdefault((frame.subject, frame.kind), []).append(frame)
    merged = []
    for parts in groups.values():
        frame = concat(parts)
        merged.append(frame if len(parts) == 1 else in_order(frame))
    return merged
