"""Sessions and stages: one partition's turn in one worker, and what is done with its batches.

The order of architecture section 2 lives here once, for every stage:

    step       a batch, under the session's lock: apply, position, sends
    settle     (a) an empty message on each channel that is behind, (b) await every send
    checkpoint (c) state, marks and position, awaited last; (d) name the offset to commit
    restart    throw the state away, start again from the position inside the checkpoint

A failed send, a batch that does not start at the position, or a step that raised all end in a
restart of that one partition. A closed session is never used again but by its own late coroutine,
whose sends and checkpoints the receivers and the next reader's marks make harmless.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from faust.types import TP

from detectors.flow.clock import ArrivalClock
from detectors.frame import Frame
from driftline.errors import DriftlineError
from streams.kafka.batches import Batch
from streams.kafka.channel import Header, Receiver, Sender
from streams.kafka.frames import Message, pack
from streams.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]


class RestartNeededError(DriftlineError):
    """A partition must start again from its checkpoint; `reason` is a bounded word for metrics."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Outbox(Protocol):
    """Where messages go: Faust's producer behind one method."""

    async def send(
        self,
        topic: str,
        partition: int | None,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
    ) -> Awaitable[Any]:
        """Hands the message over in order; the awaitable returned ends when the broker has it."""


class TopicIds(Protocol):
    """Who knows the topics' ids."""

    async def of(self, topic: str) -> str:
        """The id of a topic as text; empty: not to be had."""


def log_name(tp: TP) -> str:
    """A log partition's name in marks and arrivals."""
    return f"{tp.topic}/{tp.partition}"


@dataclass(slots=True)
class Session:
    """One partition's turn in one worker. Not to be used without its lock once it is open."""

    tp: TP
    position: int
    """Offset of the next record to step."""
    core: Any = None
    """The stage's state for this partition; a function of the log below `position`."""
    sender: Sender | None = None
    receiver: Receiver = field(default_factory=Receiver)
    epoch: int = 0
    next_fetch: int = 0
    seeking: bool = False
    queued: Batch | None = None
    closed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sends: list[Awaitable[Any]] = field(default_factory=list)
    told: dict[int, int] = field(default_factory=dict)
    """Destination -> arrival last sent to it."""
    told_at: float = 0.0
    """When all destinations were last told of the arrival after a step; monotonic, in s."""
    saved: int = -1
    """Position of the last checkpoint, -1: none yet."""
    saved_at: float = 0.0
    pause_s: float = 0.0
    """Time from the last checkpoint to the next."""
    former: Any = None
    """The manifest of the last checkpoint; None: there is none."""
    topic_id: str = ""
    """Id of the topic that is read; empty: the broker gave none."""
    failures: int = 0
    forced: int = 0
    """Rows of this session's sequencer that were counted as forced."""


class Stage(ABC):
    """What one stage does with a partition: decode, step, emit; see `streams/agents`."""

    name: str
    topics: tuple[str, ...]
    destinations = 0
    """Partitions of the topic this stage sends frames to; 0: it sends none."""
    destination_topic = ""
    paced = False
    """Whether its input partitions are read in order of arrival, see `streams.kafka.pacing`."""

    commit: Callable[[TP, int, str], None]
    """Names (partition, offset, metadata) to commit next; the worker connects it to Faust."""
    topic_ids: TopicIds | None = None
    """Who knows the topics' ids; the worker names it."""

    def __init__(self, outbox: Outbox, telemetry: Telemetry) -> None:
        self.outbox = outbox
        self.telemetry = telemetry

    async def id_of(self, topic: str) -> str:
        """The topic's id, which a re-created topic does not share; empty: not to be had."""
        return "" if self.topic_ids is None else await self.topic_ids.of(topic)

    # -- what a stage must say ----------------------------------------------------------------

    @abstractmethod
    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """A session per partition, from its checkpoint; given the group's (offset, metadata)."""

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """The position that each partition was last saved at; a kept session is not behind it."""
        return {tp: offset for tp, (offset, _) in tps.items()}

    async def current(
        self, sessions: Mapping[TP, Session], tps: Mapping[TP, tuple[int, str]]
    ) -> set[TP]:
        """Of sessions that were parked, those that can go on: nobody has gone on without them."""
        saved = await self.saved_position({tp: tps[tp] for tp in sessions})
        return {tp for tp, kept in sessions.items() if kept.position >= saved.get(tp, 0)}

    @abstractmethod
    async def step(self, session: Session, batch: Batch) -> None:
        """Applies a batch: state, then `session.position`, then sends."""

    @abstractmethod
    def arrival(self, session: Session) -> int | None:
        """The arrival this session has reached, which its messages forward."""

    @abstractmethod
    def sources(self) -> Mapping[str, int]:
        """The logs a receiver must hear from: partitions per topic of this stage's input."""

    @abstractmethod
    async def checkpoint(self, session: Session) -> None:
        """Rule 3 of architecture section 2: settle, write, name the offset to commit."""

    def clock(self, session: Session) -> ArrivalClock | None:  # noqa: ARG002
        """The arrival clock that this session steps by; None: it has none."""
        return None

    def closed(self, session: Session) -> None:  # noqa: B027  most stages have nothing to end
        """Told that a session was closed, its partition perhaps gone to another worker."""

    def due(self, session: Session, now: float) -> bool:
        """Whether the timer should write a checkpoint now."""
        return session.position > session.saved and now >= session.saved_at

    async def idle(self, session: Session) -> None:
        """Called once a second under the lock: tells receivers of the arrival reached."""
        await self.tell(session)

    # -- sending ---------------------------------------------------------------------------------

    async def send(
        self,
        session: Session,
        topic: str,
        value: bytes | None,
        *,
        partition: int | None = None,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        """Hands one message to the producer and remembers its future for `settle`."""
        try:
            session.sends.append(await self.outbox.send(topic, partition, value, key, headers))
        except Exception as error:  # the producer raises library errors of several trees here
            raise RestartNeededError("send", f"{topic}: {error}") from error

    async def emit(self, session: Session, destination: int, frames: list[Frame]) -> None:
        """Sends frames on the channel (this partition, destination), with marks and arrival."""
        assert session.sender is not None
        header: Header = session.sender.header(destination, session.position)
        arrival = self.arrival(session)
        arrivals = {} if arrival is None else {log_name(session.tp): arrival}
        message = Message(header, arrivals, dict(self.sources()), frames)
        await self.send(session, self.destination_topic, pack(message), partition=destination)
        if arrival is not None:
            session.told[destination] = arrival
        rows = sum(frame.n for frame in frames)
        if rows:
            self.telemetry.rows_emitted(self.name, rows)

    async def tell(self, session: Session) -> None:
        """Sends an empty message to each destination that is behind in position or arrival."""
        if session.sender is None:
            return
        arrival = self.arrival(session)
        behind = set(session.sender.behind(session.position))
        if arrival is not None:
            behind |= {d for d in range(self.destinations) if session.told.get(d, -1) < arrival}
        for destination in sorted(behind):
            await self.emit(session, destination, [])

    async def settle(self, session: Session) -> None:
        """Brings every channel up to the position and awaits every send since the last time."""
        await self.tell(session)
        sends, session.sends = session.sends, []
        results = await asyncio.gather(*sends, return_exceptions=True)
        failed = [r for r in results if isinstance(r, BaseException)]
        if failed:
            raise RestartNeededError(
                "send", f"{len(failed)} of {len(results)} not acknowledged: {failed[0]!r}"
            )
