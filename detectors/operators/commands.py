"""What operators told a monitor, and where in the stream they told it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from detectors.classes import Key, row_key
from detectors.frame import Frame, concat
from detectors.order_key import order


@dataclass(frozen=True, slots=True)
class Told:
    """One command about a subject; `at`: its arrival, ms, `key`: its place in the order."""

    key: Key
    at: int
    command: str
    fingerprint: str | None
    action: str | None
    who: str
    why: str


def told(frames: Sequence[Frame]) -> list[Told]:
    """The commands among these frames, in order."""
    parts = [frame for frame in frames if frame.kind == "command" and frame.n]
    if not parts:
        return []
    whole = concat(parts)
    whole = whole.take(order(whole))
    names = ("command", "fingerprint", "action", "who", "why")
    texts = zip(*(whole.columns[name].texts() for name in names), strict=True)
    arrivals = whole.ints("arrival").tolist()
    return [
        Told(row_key(whole, row), at, command or "", mark, action, who or "", why or "")
        for row, (at, (command, mark, action, who, why)) in enumerate(
            zip(arrivals, texts, strict=True)
        )
    ]


def between(
    frames: Sequence[Frame], commands: Sequence[Told]
) -> Iterator[tuple[list[Frame], Told | None]]:
    """The rows before each command with it, in order, then the rows after the last with None."""
    rest = [frame for frame in frames if frame.kind != "command"]
    for command in commands:
        before, after = [], []
        for frame in rest:
            cut = frame.n if frame.kind == "count" else _place(frame, command.key)
            if cut:
                before.append(frame.span(0, cut))
            if cut < frame.n:
                after.append(frame.span(cut, frame.n))
        yield before, command
        rest = after
    yield rest, None


def _place(frame: Frame, key: Key) -> int:
    """How many rows of a frame, which is in key order, come before this key."""
    return bisect_left(range(frame.n), key, key=partial(row_key, frame))
