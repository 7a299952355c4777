"""Operator commands that change what is decided, as rows with a place in the order.

Acknowledge, silence and comment concern the notifier, which reads them itself. What changes the
monitors' state travels as rows through join to detect, so that it takes effect at one point of the
stream: the same for every run over the same topics.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.frame import ID, SOURCE_SHIFT, Column, Frame, text_column
from driftline.alerts import Command
from driftline.rules import iso_ms
from streams.rows.shards import id_hash, model_partition

RANK: Final = 2
"""Rank of the commands topic in the order key."""

STATEFUL: Final = ("close", "rebase", "approve", "reject")
"""Commands that detect carries out; the others are the notifier's."""

TEXTS: Final = ("command", "fingerprint", "action", "who", "why")


def command_frame(
    command: Command, *, partition: int, offset: int, arrival: int | None
) -> Frame | None:
    """A frame of the one row; None for a command that is none of detect's business.

    `arrival`: of its record, ms; None: it has none of its own, and takes that at which join reads
    it (see `at_once`).
    """
    if command.command not in STATEFUL or command.subject is None:
        return None
    ts = iso_ms(command.when) or 0
    numbers = {
        "ts": ts if arrival is None else min(ts or arrival, arrival),
        "arrival": 0 if arrival is None else arrival,
        "source": RANK << SOURCE_SHIFT | partition,
        "offset": offset,
        "index": 0,
    }
    columns = {name: Column(np.array([value], np.int64)) for name, value in numbers.items()}
    columns["id"] = Column(np.frombuffer(id_hash(command.id), dtype=ID))
    columns |= {name: text_column([getattr(command, name) or None]) for name in TEXTS}
    return Frame(command.subject, "command", 1, columns)


def shard_of_command(frame: Frame, shards: int) -> int:
    """The join shard that a command goes through: any would do, all must agree on it."""
    return model_partition(frame.subject.partition("@")[0], shards)


def at_once(frame: Frame, clock: int | None) -> Frame:
    """A command's frame that arrives at the clock, if it is late: it takes effect when it comes.

    Only where the clock does not wait for the commands topic (`clock: records`) can one be late.
    """
    if frame.kind != "command" or clock is None or (frame.ints("arrival") >= clock).all():
        return frame
    arrivals = np.maximum(frame.ints("arrival"), clock)
    return frame.plus("arrival", Column(arrivals))
