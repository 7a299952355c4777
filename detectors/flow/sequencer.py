"""The sequencer: holds rows until nothing earlier can come, then steps them in key order.

Messages of several senders interleave as they like. What a stage makes of its rows must not depend
on that, so rows wait here until the arrival clock has passed them, and leave in the order of their
key (`detectors.order_key`). Both join and detect have one in front.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.frame import KINDS, Array, Frame, concat
from detectors.frame_codec import decode_frame, encode_frame
from detectors.order_key import in_order, merged_order

FOREVER = 1 << 62
"""A clock that has passed everything, in ms."""


@dataclass(slots=True)
class _Held:
    """The rows of one frame that are still held, by arrival; the rest of the key at release."""

    frame: Frame
    arrivals: Array
    row_bytes: int
    weight: int
    """Of a row, in bytes, where a release is limited: at least as much as it takes here."""
    at: int = 0

    @property
    def first(self) -> int:
        return int(self.arrivals[self.at])

    def until(self, clock: int) -> int:
        """The number of held rows that arrived before `clock`."""
        return int(self.arrivals.searchsorted(clock)) - self.at

    def settle(self) -> None:
        """Its rows are in key order from now on."""
        self.frame = in_order(self.frame)

    def pop(self, rows: int) -> Frame:
        """The next rows, no longer held."""
        self.at += rows
        if rows == self.frame.n:
            return self.frame
        return self.frame.span(self.at - rows, self.at)


class Sequencer:
    """Rows of any subjects and kinds by order key; count frames have none and do not belong here.

    A message that releases nothing costs the same however much is held: frames lie in a heap by
    their earliest arrival.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        """About how many bytes are held."""
        self.weight = 0
        """The same, rows counted by what they become."""
        self.forced = 0
        """Rows stepped before their time because too much was held; nothing is promised of them."""
        self._heap: list[tuple[int, int, _Held]] = []
        self._seen = 0
        self._rows = 0

    @property
    def rows(self) -> int:
        """How many rows are held."""
        return self._rows

    def passed(self, clock: int) -> int:
        """The arrival below which everything was released, in ms: `clock`, or less after a limit.

        Rows that arrived at just that time may have been released, too.
        """
        return min(clock, self._heap[0][0]) if self._heap else clock

    def hold(self, frame: Frame, nbytes: int | None = None, becomes: int = 0) -> None:
        """Take a frame's rows, which may be in any order.

        Args:
            frame: of any kind that has an order key.
            nbytes: of it, where they are known.
            becomes: the bytes that may become of it, where those are more.
        """
        if frame.n == 0:
            return
        arrivals = frame.ints("arrival")
        if (arrivals[1:] < arrivals[:-1]).any():
            frame = in_order(frame)
            arrivals = frame.ints("arrival")
        row_bytes = max(1, (frame.nbytes if nbytes is None else nbytes) // frame.n)
        self._add(_Held(frame, arrivals, row_bytes, max(row_bytes, becomes // frame.n)))

    def _add(self, held: _Held) -> None:
        self.nbytes += held.row_bytes * held.frame.n
        self.weight += held.weight * held.frame.n
        self._rows += held.frame.n
        self._push(held)

    def release(self, clock: int, limit_bytes: int | None = None) -> list[Frame]:
        """The held rows that arrived before `clock`.

        Args:
            clock: arrival that all sources have passed, in ms.
            limit_bytes: stop after about so many bytes, by what rows become; then these are the
                first rows in key order (at least one), and the rest comes with the next call.
                `passed` says how far they reach.

        Returns:
            One frame per (subject, kind) in that order, each in key order, with its columns by
            name and without a cause.
        """
        if limit_bytes is None or self.weight <= limit_bytes:
            return _by_subject(self._until(clock))
        return _by_subject(self._first(clock, limit_bytes))

    def force(self, limit_bytes: int) -> list[Frame]:
        """The older half of the rows, as `release` gives them, if more than `limit_bytes` are held.

        Rows that arrive later may belong before these, so results then depend on the interleaving;
        that is why they are counted in `forced`.
        """
        if self.nbytes <= limit_bytes:
            return []
        frames = self._first(FOREVER, self.weight // 2)
        self.forced += sum(frame.n for frame in frames)
        return _by_subject(frames)

    def _push(self, held: _Held) -> None:
        if held.at < held.frame.n:
            heapq.heappush(self._heap, (held.first, self._seen, held))
            self._seen += 1

    def _pop(self, held: _Held, rows: int) -> Frame:
        self.nbytes -= rows * held.row_bytes
        self.weight -= rows * held.weight
        self._rows -= rows
        piece = held.pop(rows)
        self._push(held)
        return piece

    def _until(self, clock: int) -> list[Frame]:
        due = self._take_heads(clock, None)
        return [self._pop(held, held.until(clock)) for held in due]

    def _take_heads(self, clock: int, at_least_bytes: int | None) -> list[_Held]:
        """Frames off the heap, earliest first, whose earliest row arrived before `clock`."""
        taken: list[_Held] = []
        size = 0
        while self._heap and self._heap[0][0] < clock:
            if at_least_bytes is not None and size >= at_least_bytes:
                break
            held = heapq.heappop(self._heap)[2]
            size += held.weight * (held.frame.n - held.at)
            taken.append(held)
        return taken

    def _first(self, clock: int, limit_bytes: int) -> list[Frame]:
        """The first rows in key order, up to about `limit_bytes`."""
        taken: list[_Held] = []
        want = limit_bytes
        while True:  # only rows before the heap's next head are complete in what was taken
            taken += self._take_heads(clock, want)
            bound = min(clock, self._heap[0][0]) if self._heap else clock
            rows = [held.until(bound) for held in taken]
            size = sum(n * held.weight for n, held in zip(rows, taken, strict=True))
            if size >= limit_bytes or bound == clock:
                break
            want = max(2 * want, 1)
        if size > limit_bytes:
            for held in taken:
                held.settle()
            rows = _cut(taken, rows, limit_bytes)
        pieces = [self._pop(held, n) for n, held in zip(rows, taken, strict=True)]
        return [piece for piece in pieces if piece.n]

    def dump(self) -> dict[str, Any]:
        """What is held, as builtins, for the checkpoint."""
        held = [
            {
                "row_bytes": h.row_bytes,
                "weight": h.weight,
                "frame": encode_frame(in_order(h.frame.span(h.at, h.frame.n))),
            }
            for _, _, h in sorted(self._heap, key=lambda entry: entry[:2])
        ]
        return {"forced": self.forced, "held": held}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Sequencer:
        """The sequencer that `dump` described; it releases and forces exactly as that would."""
        sequencer = cls()
        sequencer.forced = dumped["forced"]
        for entry in dumped["held"]:
            frame = decode_frame(entry["frame"])
            row_bytes = entry["row_bytes"]
            weight = entry.get("weight", row_bytes)  # the version before had none
            sequencer._add(_Held(frame, frame.ints("arrival"), row_bytes, weight))
        return sequencer


def _cut(taken: list[_Held], rows: list[int], limit_bytes: int) -> list[int]:
    """How many of each frame's next `rows` are among the first `limit_bytes` in key order."""
    frames = [h.frame.span(h.at, h.at + n) for h, n in zip(taken, rows, strict=True)]
    which, _ = merged_order(frames)
    sizes = np.cumsum(np.array([h.weight for h in taken])[which])
    keep = int(np.searchsorted(sizes, limit_bytes)) + 1
    counts: list[int] = np.bincount(which[:keep], minlength=len(taken)).tolist()
    return counts


def _by_subject(pieces: Iterable[Frame]) -> list[Frame]:
    """One frame per subject and kind of the pieces, in key order."""
    groups: dict[tuple[str, int], list[Frame]] = {}
    for piece in pieces:
        groups.setdefault((piece.subject, KINDS.index(piece.kind)), []).append(piece)
    return [_joined(groups[key]) for key in sorted(groups)]


def _joined(pieces: list[Frame]) -> Frame:
    frame = in_order(concat(pieces)).compact().by_name()
    frame.cause = None
    return frame
