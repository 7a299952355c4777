"""join: rows of one shard of prediction ids -> predictions, and outcomes when labels are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectors.flow.join import MemoryPending, Pending
from detectors.frame import Frame
from streams.agents.join_disk import PartitionDisk
from streams.agents.stateful import Stateful
from streams.kafka.batches import Batch
from streams.monitors.load import Monitors
from streams.pipeline.join_shard import JoinShard
from streams.rows.builder import model_partition
from streams.session import RestartNeededError, Session, log_name
from streams.state.changes import ChangeLog, Writer
from streams.state.checkpoint import Pieces
from streams.state.manifest import Drafted, Manifest, Run, blocks_of
from streams.state.moved_pending import from_memory
from streams.state.pending_disk import DiskError
from streams.state.rocks_pending import MAX_CHANGED, RocksPending

_PENDING = "pending"

EMIT_BYTES = 4 << 20
"""From about so much on, what became of releases goes out; with one more it fits a message."""


class Join(Stateful):
    """Sequencer and pending store live in the session's `JoinShard`; frames go out by model."""

    name = "join"

    def keep_on_disk(self, changes: ChangeLog, folder: Path | None) -> None:
        """Where pending stores lie: a folder per partition; None: in memory and the checkpoint.

        A store that once was on a disk stays on one: of a worker without a folder, on a scratch
        folder of its own.
        """
        self._changes = changes
        self._folder = folder
        self._disks: dict[int, PartitionDisk] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def fresh(self, partition: int) -> JoinShard:
        """The state of a shard that has seen nothing."""
        if self._folder is None:
            return JoinShard(self.monitors, held=self.held)
        store = RocksPending(self._disk(partition, []))
        return JoinShard(self.monitors, store, self.held)

    def loaded(self, state: Any, monitors: Monitors, partition: int, former: Manifest) -> JoinShard:
        """The shard as it was when the checkpoint was written."""
        dumped = state["pending"]
        store: Pending | None = None
        if "layouts" in dumped:
            store = RocksPending.load(dumped, self._disk(partition, former.changes))
        else:
            blocks = dumped.get("blocks")  # the version before had none
            memory = None if blocks is None else MemoryPending.assemble(dumped, blocks)
            store = memory
            if self._folder is not None:
                moved = dumped if memory is None else memory.dump()
                store = from_memory(moved, self._disk(partition, former.changes))
        return JoinShard.load(state, monitors, store, self.held)

    def take_apart(self, core: JoinShard) -> tuple[dict[str, Any], Drafted]:
        """What waits in memory is a piece of its own, in blocks."""
        state, blocks = core.parts()
        return state, {} if blocks is None else {_PENDING: blocks}

    def put_together(self, state: dict[str, Any], pieces: Pieces, manifest: Manifest) -> None:
        """Puts together what `take_apart` took apart."""
        if _PENDING in pieces:
            chunks = next(piece.chunks for piece in manifest.pieces if piece.name == _PENDING)
            state["pending"]["blocks"] = blocks_of(pieces[_PENDING], chunks)

    def _disk(self, partition: int, runs: list[Run]) -> PartitionDisk:
        folder = None if self._folder is None else self._folder / str(partition)
        return PartitionDisk(partition, folder, self._changes, Writer(list(runs)))

    def arrival(self, session: Session) -> int | None:
        """The arrival below which this shard has emitted everything."""
        passed: int | None = session.core.passed
        return passed

    def sources(self) -> Mapping[str, int]:
        """Every shard."""
        return {self.topics[0]: self.inputs}

    async def step(self, session: Session, batch: Batch) -> None:
        """Applies each message and emits what they released, caused by each message's offset."""
        await self._ready(session)
        out: list[Frame] = []
        try:
            for offset, frames in session.core.releases(self.messages(session, batch)):
                session.position = offset + 1
                out += frames
                # Now or after the next release: what is emitted says how far the shard is.
                if sum(8 * len(frame.column_names) * frame.n for frame in out) > EMIT_BYTES:
                    await self._emit_by_model(session, out)
                    out = []
        except DiskError as error:
            raise RestartNeededError("disk", str(error)) from error
        session.position = batch.next_offset
        self.count_forced(session)
        await self._emit_by_model(session, out)

    async def _emit_by_model(self, session: Session, frames: list[Frame]) -> None:
        """Sends all that offsets below the session's position have led to."""
        out: dict[int, list[Frame]] = {}
        for frame in frames:
            self._count_full(session, frame)
            model = frame.subject.partition("@")[0]
            out.setdefault(model_partition(model, self.destinations), []).append(frame)
        for destination in sorted(out):
            await self.emit(session, destination, out[destination])

    def _count_full(self, session: Session, frame: Frame) -> None:
        """Entries dropped for want of room: join's counts say so, and the watch must know."""
        if frame.kind != "count":
            return
        for name, n in zip(frame.columns["name"].texts(), frame.ints("value"), strict=True):
            if name == "pending_full":
                self.telemetry.pending_full(self.name, int(n), log_name(session.tp))

    # -- the disk --------------------------------------------------------------------------------

    async def _ready(self, session: Session) -> None:
        """The partition's folder is this session's, and holds its history."""
        store = session.core.pending
        if not isinstance(store, RocksPending) or not isinstance(store.disk, PartitionDisk):
            return
        disk, partition = store.disk, session.tp.partition
        if disk.ready:
            return
        former = self._disks.pop(partition, None)
        if former is not None:
            await asyncio.to_thread(former.close)
        self._disks[partition] = disk
        await disk.prepare(store, lambda: session.closed)

    def due(self, session: Session, now: float) -> bool:
        """As every stage; sooner where memory holds too much that is not on the disk yet."""
        store = session.core.pending
        full = isinstance(store, RocksPending) and store.changed > MAX_CHANGED
        return super().due(session, now) or (full and session.position > session.saved)

    async def before_manifest(self, session: Session) -> list[Run]:
        """The changes since the last checkpoint are in the changes topic."""
        store = session.core.pending
        if not isinstance(store, RocksPending) or not isinstance(store.disk, PartitionDisk):
            return []
        writer = store.disk.writer
        store.disk.taken = store.changes(writer.end)
        try:
            await self._changes.append(session.tp.partition, writer, store.disk.taken)
        except Exception as error:  # the producer raises library errors of several trees here
            raise RestartNeededError("checkpoint", str(error)) from error
        writer.trim(store.since)
        return writer.runs

    async def after_manifest(self, session: Session) -> None:
        """The changes are on the disk, too."""
        store = session.core.pending
        if isinstance(store, RocksPending) and isinstance(store.disk, PartitionDisk):
            await self._ready(session)
            await store.disk.save(store.live)
            store.saved()

    def facts(self, core: JoinShard) -> dict[str, int]:
        """What `driftline state` shows of a shard."""
        store = core.pending
        return {
            "pending": getattr(store, "entries", 0),
            "slices": len(store.live) if isinstance(store, RocksPending) else 0,
            "held_bytes": core.sequencer.nbytes,
        }

    def closed(self, session: Session) -> None:
        """The partition leaves: its folder is free as soon as no step is under way."""
        task = asyncio.get_running_loop().create_task(self._let_go(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _let_go(self, session: Session) -> None:
        async with session.lock:
            store = session.core.pending
            if session.closed and isinstance(store, RocksPending):
                disk = store.disk
                if isinstance(disk, PartitionDisk):
                    await asyncio.to_thread(disk.close)
