"""Channels: marks between two stages that make at-least-once delivery count once.

Kafka delivers at least once; Driftline applies once, without Kafka transactions. Offsets are
comparable inside one log partition only, so marks are per hop and never end to end.

A *channel* is a pair (partition p of the sender's input, partition d of its output). Every message
on it carries a `Header` that says `start` and `to`, and every row in it the offset in p that
caused it: "with this, d holds all that offsets below `to` of p imply; my previous message on this
channel ended at `start`".

* The **sender** of one session tiles each of its channels: [start, a), [a, b), ... without holes.
  The first `start` is the position that the session started from (0 if nothing was ever
  committed). Before it moves that position on for good (checkpoint or commit) it
  1. sends an empty message on every channel that is `behind`,
  2. awaits *every* send since the last checkpoint, and if one failed starts again from there,
  3. writes the checkpoint {state, marks, position}, 4. commits.
* The **receiver** keeps one mark V per input log, at first 0. `start` > V: a predecessor is
  missing. The message is dropped and counted as a gap; its sender cannot have moved on (2.) and
  will send again. Otherwise the rows whose cause is at or above V are new; then V = max(V, `to`).

Why that is enough: a position becomes a session's start only after d's log held everything below
it. So V = h means "all below h applied, once", whoever sent it. Zombies, retries, repeated
messages and other frame boundaries change nothing; the order of messages *inside* one session
does matter, so one coroutine hands them to the producer.

`tests/unit/test_channel_model.py` runs these classes through random schedules of crashes, zombies
and lost sends, and shows that each rule above is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Header:
    """What a message says about its channel: it covers the offsets [start, to) of `log`."""

    log: str
    """Name of the partition that the sender reads, "topic/partition"."""
    start: int
    to: int
    id: str = ""
    """Id of that log's topic: a topic that was re-created is a new log. Empty: not known."""


class Sender:
    """The channels of one session from one input partition to every output partition."""

    __slots__ = ("_id", "_log", "_to")

    def __init__(self, log: str, start: int, destinations: int, topic_id: str = "") -> None:
        """Start a session.

        Args:
            log: the input partition, "topic/partition".
            start: offset that the session starts from; 0 if nothing was ever committed, even if
                the log no longer begins at 0.
            destinations: number of output partitions, fixed for the life of the topic.
            topic_id: of the input log's topic; empty: not known.
        """
        self._log = log
        self._id = topic_id
        self._to = [start] * destinations

    def header(self, destination: int, to: int) -> Header:
        """The header of the next message to `destination`, which holds all below offset `to`.

        Calling it is a promise to hand the message to the producer next on this channel.

        Raises:
            ValueError: `to` is below what the channel has already said.
        """
        start = self._to[destination]
        if to < start:
            raise ValueError(f"channel {self._log} -> {destination} goes back from {start} to {to}")
        self._to[destination] = to
        return Header(self._log, start, to, self._id)

    def behind(self, to: int) -> list[int]:
        """The destinations that have not yet been told about all offsets below `to`."""
        return [destination for destination, told in enumerate(self._to) if told < to]


@dataclass(slots=True)
class Receiver:
    """The marks of one partition of a stage, one per log that sends to it. Part of its state."""

    marks: dict[str, int] = field(default_factory=dict)
    """Log -> V: everything that offsets below V of that log imply is applied."""
    gaps: int = 0
    """Messages dropped because a predecessor was missing."""
    missing: dict[str, int] = field(default_factory=dict)
    """Logs now in a gap -> the `start` that came too early; lasting gaps are an alert."""
    lost: int = 0
    """Offsets of the senders' logs skipped because *this* partition's log had a hole."""
    _torn: set[str] | None = None  # after a hole: the logs that have moved on since

    def accept(self, header: Header) -> int | None:
        """The mark that decides which rows of a message are new; changes no mark.

        Returns:
            V: the message's rows whose cause is at or above it are new, all others were applied
            before. None: a predecessor is missing, drop the whole message (counted).
        """
        name = self._name(header)
        mark = self.marks.get(name, 0)
        if header.start <= mark:
            return mark
        if self._may_skip(name):
            self.lost += header.start - mark
            self.marks[name] = header.start
            return header.start
        self.gaps += 1
        self.missing.setdefault(name, header.start)
        return None

    def _name(self, header: Header) -> str:
        """The log's name in the marks: with its topic's id, where the sender knows that.

        A mark from before ids were told is taken over by the first that comes with one; a sender
        that was not told the id means the newest log of that name.
        """
        if header.id:
            name = f"{header.log}#{header.id}"
            if name not in self.marks and header.log in self.marks:
                self.marks[name] = self.marks.pop(header.log)
            return name
        known = [name for name in self.marks if name.startswith(f"{header.log}#")]
        return known[-1] if known else header.log

    def applied(self, header: Header) -> None:
        """Moves the mark on: the new rows of an accepted message are in the state now."""
        name = self._name(header)
        if header.to <= self.marks.get(name, 0):
            return
        self.marks[name] = header.to
        self.missing.pop(name, None)
        if self._torn is not None:
            self._torn.add(name)

    def heal(self) -> None:
        """Closes a hole in the log that is being read: the one place where rows may be given up.

        Only who sees the hole itself (position below the log's start, offsets missing where
        nothing is compacted) may call this. Per channel, the first message that moves it on is
        then accepted even if it starts above the mark; what is skipped is counted in `lost`.
        """
        self._torn = set()

    def _may_skip(self, log: str) -> bool:
        return self._torn is not None and log not in self._torn

    def dump(self) -> dict[str, Any]:
        """The marks as builtins, for the checkpoint."""
        return {
            "marks": dict(self.marks),
            "gaps": self.gaps,
            "missing": dict(self.missing),
            "lost": self.lost,
            "torn": None if self._torn is None else sorted(self._torn),
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Receiver:
        """The receiver that `dump` described."""
        torn = dumped["torn"]
        return cls(
            dict(dumped["marks"]),
            dumped["gaps"],
            dict(dumped["missing"]),
            dumped["lost"],
            None if torn is None else set(torn),
        )
