"""What join and detect share: marks, checkpoints, and a state that only the log below decides."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from faust.types import TP

from detectors.flow.clock import ArrivalClock
from detectors.frame import Array, Frame
from driftline.errors import CheckpointError
from streams.kafka.batches import Batch
from streams.kafka.channel import Receiver, Sender
from streams.kafka.frames import Message, unpack
from streams.monitors.load import Monitors
from streams.session import Outbox, RestartNeededError, Session, Stage, log_name
from streams.state.checkpoint import CheckpointStore, Pieces
from streams.state.held_rows import HeldRows
from streams.state.manifest import CONFIG, STATE, Draft, Drafted, Manifest, Run
from streams.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

FIRST_CHECKPOINT_S = 4.0
"""The first checkpoint of a session comes after half of it to all of it; each pause is then twice
the one before, up to the checkpoint interval."""


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
        held: HeldRows | None = None,
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
        self.held = held or HeldRows()

    @abstractmethod
    def fresh(self, partition: int) -> Any:
        """The state of a partition that has seen nothing."""

    @abstractmethod
    def loaded(self, state: Any, monitors: Monitors, partition: int, former: Manifest) -> Any:
        """The state from a checkpoint's builtins, under the configuration that was in force."""

    @abstractmethod
    def take_apart(self, core: Any) -> tuple[dict[str, Any], Drafted]:
        """(the state as builtins, what is a piece of its own instead)."""

    @abstractmethod
    def put_together(self, state: dict[str, Any], pieces: Pieces, manifest: Manifest) -> None:
        """Puts into a state what `take_apart` took out of it."""

    @abstractmethod
    def facts(self, core: Any) -> dict[str, int]:
        """What people may want to know of a state, for the manifest."""

    async def before_manifest(self, session: Session) -> list[Run]:  # noqa: ARG002
        """What must be in the changes topic before the manifest is written, and where it lies."""
        return []

    async def after_manifest(self, session: Session) -> None:
        """Told that the manifest is written."""

    # -- where it starts -----------------------------------------------------------------------

    async def open(self, tps: Mapping[TP, tuple[int, str]]) -> dict[TP, Session]:
        """From each partition's newest checkpoint; where there is none, from the log's start."""
        saved = await self._store.read(tp.partition for tp in tps)
        topic_id = await self.id_of(self.topics[0])
        sessions = {}
        for tp, (earliest_or_committed, metadata) in tps.items():
            if tp.partition in saved:
                sessions[tp] = self._resume(tp, topic_id, *saved[tp.partition])
            elif metadata:
                raise CheckpointError(
                    f"{log_name(tp)}: the group has offset {earliest_or_committed} but there is no "
                    "checkpoint. Was a driftline- topic deleted alone? Re-create all of them, and "
                    "use a new consumer group, to build the state anew."
                )
            else:
                core = self.fresh(tp.partition)
                sessions[tp] = self._session(tp, earliest_or_committed, 0, core, topic_id)
        return sessions

    def _session(self, tp: TP, position: int, start: int, core: Any, topic_id: str) -> Session:
        sender = None
        if self.destinations:
            sender = Sender(log_name(tp), start, self.destinations, topic_id)
        # The first one soon, so that /metrics and lag tools have figures; then less and less often.
        # Subjects staggered: partitions do not write their checkpoints in the same second.
        first_s = min(FIRST_CHECKPOINT_S, self._interval_s) * (1 + tp.partition / self.inputs) / 2
        return Session(
            tp,
            position,
            core=core,
            sender=sender,
            saved_at=self._monotonic() + first_s,
            pause_s=first_s,
            topic_id=topic_id,
        )

    def _resume(self, tp: TP, topic_id: str, manifest: Manifest, pieces: Pieces) -> Session:
        self._must_have_as_many(tp, manifest.partitions)
        saved = msgspec.msgpack.decode(pieces[STATE])
        self.put_together(saved["core"], pieces, manifest)
        in_force = self.monitors.decode(pieces[CONFIG])
        try:
            core = self.loaded(saved["core"], in_force, tp.partition, manifest)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{log_name(tp)}: the state in its checkpoint cannot be read ({error!r}). Run the "
                "Driftline version that wrote it; or, to build the state anew, delete the "
                "driftline- topics and use a new consumer group."
            ) from error
        if in_force != self.monitors:
            self.telemetry.config_mismatch(self.name, log_name(tp))
        position = manifest.position
        if topic_id and manifest.input and topic_id != manifest.input:
            log.warning(
                "%s was re-created: its offsets begin anew; the state of before goes on",
                log_name(tp),
            )
            position = 0
        session = self._session(tp, position, position, core, topic_id or manifest.input)
        session.receiver = Receiver.load(saved["receiver"])
        session.saved = position
        session.former = manifest
        session.forced = core.sequencer.forced
        return session

    def _must_have_as_many(self, tp: TP, partitions: int) -> None:
        if partitions not in {0, self.inputs}:
            raise CheckpointError(
                f"{tp.topic}: its checkpoints are those of {partitions} partitions, the settings "
                f"say {self.inputs}; the count is fixed once there is state. Run every worker with "
                f"`--partitions {partitions}` (or DRIFTLINE_PARTITIONS={partitions})."
            )

    async def current(
        self,
        sessions: Mapping[TP, Session],
        tps: Mapping[TP, tuple[int, str]],  # noqa: ARG002
    ) -> set[TP]:
        """Those whose last checkpoint is the newest.

        A position is not enough: whoever had the partition meanwhile may be behind, and yet have
        buried chunks that the next manifest of ours would count on.
        """
        newest = await self._store.manifests(tp.partition for tp in sessions)
        return {tp for tp, kept in sessions.items() if newest.get(tp.partition) == kept.former}

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
            # `cause` spoke of the sender's log
            message.frames = [frame.without(["cause"]) for frame in message.frames]
            self.telemetry.rows_received(self.name, sum(f.n for f in message.frames))
            yield record.offset, message
            session.receiver.applied(message.header)

    def clock(self, session: Session) -> ArrivalClock:
        """The clock that releases its rows."""
        clock: ArrivalClock = session.core.clock
        return clock

    def count_forced(self, session: Session) -> None:
        """Rows that the sequencer had to step before their order was certain, since last asked."""
        forced = session.core.sequencer.forced
        if forced > session.forced:
            self.telemetry.forced(self.name, forced - session.forced, log_name(session.tp))
            session.forced = forced

    # -- what it keeps -------------------------------------------------------------------------

    async def checkpoint(self, session: Session) -> None:
        """Settles, writes state, marks and position, then names the offset for lag tools."""
        await self.settle(session)
        core, position = session.core, session.position
        changes = await self.before_manifest(session)
        draft = Draft(
            position=position,
            pieces=self._pieces(session),
            changes=changes,
            input=session.topic_id,
            partitions=self.inputs,
            facts=self.facts(core),
        )
        partition = session.tp.partition
        with self.telemetry.checkpoint(self.name, partition, lambda: _size(session.former)):
            try:
                session.former = await self._store.write(partition, session.former, draft)
            except Exception as error:  # the producer raises library errors of several trees here
                raise RestartNeededError("checkpoint", str(error)) from error
        await self.after_manifest(session)
        session.saved = position
        session.pause_s = min(2 * session.pause_s, self._interval_s)
        session.saved_at = self._monotonic() + session.pause_s
        self.commit(session.tp, position, "checkpoint")
        if core.monitors != self.monitors:  # a changed file applies right after a checkpoint
            core.configure(self.monitors)

    def _pieces(self, session: Session) -> Drafted:
        """The state in pieces that change apart, the configuration among them."""
        core, pieces = self.take_apart(session.core)
        state = msgspec.msgpack.encode({"receiver": session.receiver.dump(), "core": core})
        return {CONFIG: session.core.monitors.encode(), **pieces, STATE: state}


def _size(manifest: Manifest | None) -> int:
    return 0 if manifest is None else manifest.size


def _since(frame: Frame, mark: int) -> Frame | None:
    """The rows of a frame whose cause is at or above the mark; None: there are none."""
    if frame.cause is not None:
        return frame if frame.cause >= mark else None
    new: Array = frame.ints("cause" if frame.has("cause") else "offset") >= mark
    if new.all():
        return frame
    return frame.take(new) if new.any() else None
