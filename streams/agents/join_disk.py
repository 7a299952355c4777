"""The disk behind one session's pending store: opened, checked, and had again from Kafka.

A session's history is its manifest's runs in the changes topic. Whatever the folder holds is
brought to the end of that history before the first step: by reading on where it is an earlier state
of the same history, from the start where it is new, lost or of another one.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka.errors import KafkaError

from streams.session import RestartNeededError
from streams.state.changes import ChangeLog, Writer
from streams.state.manifest import Run
from streams.state.pending_disk import DiskError, Head, SliceDisk
from streams.state.rocks_pending import Changes, RocksPending

log = logging.getLogger(__name__)

PROGRESS_S = 5.0
SAFE_RECORDS = 100
"""After so many records, of up to 2 MiB each, a rebuild is made safe so far."""


class PartitionDisk:
    """One session's view of its partition's folder. Implements `streams.state.rocks_pending.Disk`.

    Args:
        partition: of the stage's input.
        folder: where the databases lie; None: in a folder that goes when the session does.
        changes: the changes topic.
        writer: the session's history.
    """

    def __init__(
        self, partition: int, folder: Path | None, changes: ChangeLog, writer: Writer
    ) -> None:
        self.partition = partition
        self.writer = writer
        self.taken: Changes = {}
        """What the checkpoint under way takes from memory to the changes topic, and then here."""
        self.ready = False
        """Whether it holds the end of the session's history."""
        self._folder = folder
        self._changes = changes
        self._disk: SliceDisk | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def get(self, number: int, ids: Sequence[bytes]) -> list[bytes | None]:
        """What a slice holds of each id."""
        assert self._disk is not None
        return self._disk.get(number, ids)

    async def prepare(self, pending: RocksPending, stopped: Callable[[], bool]) -> None:
        """Opens the folder and brings it to the end of the history; minutes for a lost one.

        Raises:
            RestartNeededError: the disk or the reading failed, or `stopped()` became true.
        """
        try:
            self._disk = await asyncio.to_thread(self._open)
            await self._catch_up(self._disk, pending, stopped)
        except BaseException as error:
            await asyncio.to_thread(self.close)
            if isinstance(error, DiskError):
                raise RestartNeededError("disk", str(error)) from error
            if isinstance(
                error, KafkaError
            ):  # a checkpoint may have come here, and must not end us
                raise RestartNeededError("changes", str(error)) from error
            raise
        self.ready = True

    def _open(self) -> SliceDisk:
        if self._folder is not None:
            try:
                return SliceDisk(self._folder)
            except DiskError as error:
                log.warning("%s; using a folder of its own until it is free", error)
        try:
            self._scratch = tempfile.TemporaryDirectory(
                prefix=f"driftline-join-{self.partition}-", ignore_cleanup_errors=True
            )
        except OSError as error:
            raise DiskError(f"no folder for temporary files: {error}") from error
        return SliceDisk(Path(self._scratch.name))

    async def _catch_up(
        self, disk: SliceDisk, pending: RocksPending, stopped: Callable[[], bool]
    ) -> None:
        runs, head, live = self.writer.runs, disk.head(), pending.live
        if head is not None and _lies_in(runs, head):
            if head.ahead is None and (head.writer, head.end) == (runs[-1].writer, runs[-1].end):
                return
            since = head.end
            await asyncio.to_thread(disk.expect, runs[-1].writer, runs[-1].end)
        else:
            await asyncio.to_thread(disk.wipe)
            since = pending.since or 0
        if not runs:
            return
        end = (runs[-1].writer, runs[-1].end)
        progress = _Progress(self.partition, pending.entries, since, runs[-1].end)
        records = 0
        async for writer, offset, changes in self._changes.read(self.partition, runs, since):
            wanted = {number: puts for number, puts in changes.items() if number in live}
            await asyncio.to_thread(disk.put, wanted, durable=False)
            progress.at(offset, changes)
            records += 1
            if records % SAFE_RECORDS == 0:  # whoever goes on with it need not begin anew
                await asyncio.to_thread(disk.flush)
                await asyncio.to_thread(disk.advance, Head(writer, offset, ahead=end), live)
            if stopped():
                raise RestartNeededError("moved", "the partition left during a rebuild")
        await asyncio.to_thread(disk.flush)
        await asyncio.to_thread(disk.advance, Head(*end), live)
        progress.done()

    async def save(self, live: frozenset[int]) -> None:
        """Puts what was taken on the disk, now that a manifest names it.

        Raises:
            RestartNeededError: the disk is full or failed; the next session reads it from Kafka.
        """
        disk, runs = self._disk, self.writer.runs
        if disk is None or not runs:
            return
        end = (runs[-1].writer, runs[-1].end)
        try:
            if not self.taken:  # HEAD is there already
                await asyncio.to_thread(disk.keep_only, live)
                return
            await asyncio.to_thread(disk.expect, *end)
            await asyncio.to_thread(disk.put, self.taken)
            await asyncio.to_thread(disk.advance, Head(*end), live)
            self.taken = {}
        except DiskError as error:
            raise RestartNeededError("disk", str(error)) from error

    def close(self) -> None:
        """Lets go of the folder, so that another session or worker may open it."""
        self.ready = False
        if self._disk is not None:
            self._disk.close()
            self._disk = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def _lies_in(runs: Sequence[Run], head: Head) -> bool:
    """Whether all that a folder holds is of a history, what it may hold beyond HEAD included."""
    places = [(head.writer, head.end), *([] if head.ahead is None else [head.ahead])]
    return all(
        any(writer == run.writer and run.start < end <= run.end for run in runs)
        for writer, end in places
    )


class _Progress:
    """Says how far a rebuild is, every few seconds and at its end."""

    def __init__(self, partition: int, entries: int, start: int, end: int) -> None:
        self._partition, self._entries = partition, entries
        self._start, self._end = start, end
        self._ids = 0
        self._began = self._told = time.monotonic()

    def at(self, offset: int, changes: Changes) -> None:
        """So far it is."""
        self._ids += sum(map(len, changes.values()))
        now = time.monotonic()
        if now - self._told >= PROGRESS_S:
            self._told = now
            share = (offset - self._start) / max(1, self._end - self._start)
            log.info(
                "join %d: rebuilding %d pending entries from Kafka, %d %% (%d ids)",
                *(self._partition, self._entries, round(100 * share), self._ids),
            )

    def done(self) -> None:
        """It is over."""
        log.info(
            "join %d: %d pending entries rebuilt from Kafka in %.1f s (%d ids)",
            *(self._partition, self._entries, time.monotonic() - self._began, self._ids),
        )
