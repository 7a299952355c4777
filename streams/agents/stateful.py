"""What join and detect share: marks, checkpoints, and a state that only the log below decides."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from faust.types import TP

from detectors.frame import Array, Frame
from driftline.errors import CheckpointError
from streams.channel import Receiver, Sender
from streams.checkpoint import CheckpointStore
from streams.frames import Message, unpack
from streams.monitors import Monitors
from streams.session import Outbox, RestartNeededError, Session, Stage, log_name
from streams.telemetry import Telemetry
from streams.transport import Batch

log = logging.getLogger(__name__)


class Stateful(Stage):
    """A stage whose state is in its checkpoints. `inputs`: partitions of its input topic."""

    def __init__(
        self,
        outbox: Outbox,
        telemetry: Telemetry,
        store: CheckpointStore,
        monitors: Monitors,
        *,
        topic: str,
        inputs: int,
        destination_topic: str = "",
        destinations: int = 0,
        checkpoint_interval_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(outbox, telemetry)
        self.topics = (topic,)
        self.inputs = inputs
        self.destination_topic = destination_topic
        self.destinations = destinations
        self.monitors = monitors
        self._store = store
        self._interval_s = checkpoint_interval_s
        self._monotonic = monotonic

    @abstractmethod
    def fresh(self) -> Any:
        """The state of a partition that has seen nothing."""

    @abstractmethod
    def loaded(self, state: Any, monitors: Monitors) -> Any:
        """The state from a checkpoint's builtins, under the configuration that was in force."""

    # -- where it starts -----------------------------------------------------------------------

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """From each partition's newest checkpoint; where there is none, from the log's start."""
        saved = await self._store.read(tp.partition for tp in tps)
        sessions = {}
        for tp, (earliest_or_committed, metadata) in tps.items():
            if tp.partition in saved:
                sessions[tp] = self._resume(tp, *saved[tp.partition])
            elif metadata:
                raise CheckpointError(
                    f"{log_name(tp)}: the group has offset {earliest_or_committed} but there is no "
                    "checkpoint. Was a driftline- topic deleted alone? Re-create all of them, and "
                    "use a new consumer group, to build the state anew."
                )
            else:
                sessions[tp] = self._session(tp, earliest_or_committed, 0, self.fresh())
        return sessions

    def _session(self, tp: TP, position: int, start: int, core: Any) -> Session:
        sender = None
        if self.destinations:
            sender = Sender(log_name(tp), start, self.destinations)
        # Subjects staggered: partitions do not write their checkpoints in the same second.
        first = self._monotonic() + self._interval_s * (1 + tp.partition / self.inputs) / 2
        return Session(tp, position, core=core, sender=sender, saved_at=first)

    def _resume(self, tp: TP, manifest: Any, state: bytes) -> Session:
        saved = msgspec.msgpack.decode(state)
        in_force = self.monitors.decode(manifest.config)
        core = self.loaded(saved["core"], in_force)
        if in_force != self.monitors:
            self.telemetry.config_mismatch()
        session = self._session(tp, manifest.position, manifest.position, core)
        session.receiver = Receiver.load(saved["receiver"])
        session.saved = manifest.position
        session.generation = manifest.generation
        session.forced = core.sequencer.forced
        return session

    async def saved_position(self, tps: Mapping[TP, tuple[int, str]]) -> Mapping[TP, int]:
        """The position inside each newest manifest."""
        manifests = await self._store.manifests(tp.partition for tp in tps)
        return {tp: manifests[tp.partition].position for tp in tps if tp.partition in manifests}

    # -- what it reads -------------------------------------------------------------------------

    def messages(self, session: Session, batch: Batch) -> Iterator[tuple[int, Message]]:
        """Each message that the marks accept, with its offset and its new rows only."""
        for record in batch.records:
            if record.value is None:
                continue
            message = unpack(record.value)
            mark = session.receiver.accept(message.header)
            if mark is None:
                self.telemetry.gap(self.name)
                log.warning(
                    "%s: dropped a message of %s from offset %d on, because the one before it is "
                    "missing; its sender will send both again",
                    *(log_name(session.tp), message.header.log, message.header.start),
                )
                continue
            if message.header.start < mark:  # sent again after a restart: some rows are old
                message.frames = [
                    new for f in message.frames if (new := _since(f, mark)) is not None
                ]
            for frame in message.frames:
                frame.columns.pop("cause", None)  # it spoke of the sender's log
            self.telemetry.rows_received(self.name, sum(f.n for f in message.frames))
            yield record.offset, message
            session.receiver.applied(message.header)

    def count_forced(self, session: Session) -> None:
        """Rows that the sequencer had to step before their order was certain, since last asked."""
        forced = session.core.sequencer.forced
        if forced > session.forced:
            self.telemetry.forced(self.name, forced - session.forced)
            session.forced = forced

    # -- what it keeps -------------------------------------------------------------------------

    async def checkpoint(self, session: Session) -> None:
        """Settles, writes state, marks and position, then names the offset for lag tools."""
        await self.settle(session)
        position, generation = session.position, session.generation + 1
        core = session.core
        state = msgspec.msgpack.encode({"receiver": session.receiver.dump(), "core": core.dump()})
        with self.telemetry.checkpoint(self.name, session.tp.partition, len(state)):
            try:
                await self._store.write(
                    session.tp.partition,
                    position=position,
                    generation=generation,
                    state=state,
                    config=core.monitors.encode(),
                )
            except Exception as error:  # the producer raises library errors of several trees here
                raise RestartNeededError("checkpoint", str(error)) from error
        session.saved, session.generation = position, generation
        session.saved_at = self._monotonic() + self._interval_s
        self.commit(session.tp, position, "checkpoint")
        if core.monitors != self.monitors:  # a changed file applies right after a checkpoint
            core.configure(self.monitors)


def _since(frame: Frame, mark: int) -> Frame | None:
    """The rows of a frame whose cause is at or above the mark; None: there are none."""
    if frame.cause is not None:
        return frame if frame.cause >= mark else None
    new: Array = frame.ints("cause" if "cause" in frame.columns else "offset") >= mark
    if new.all():
        return frame
    return frame.take(new) if new.any() else None
