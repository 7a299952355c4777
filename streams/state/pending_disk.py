"""The slices of one partition's pending store on disk: a RocksDB database each, dropped whole.

    FOLDER/LOCK        held by the worker that has the partition
    FOLDER/HEAD        which changes all databases have; absent: nothing here can be trusted
    FOLDER/NUMBER/     the database of one slice: id -> what it holds (`streams.state.pending_rows`)

Changes are written after the manifest that names them, database by database and then HEAD, each
with fsync. A crash in between leaves an older HEAD, and the changes since then are put once more;
every put replaces the whole value of its id, so that is harmless. HEAD says beforehand how far the
puts go: a worker may learn after the crash that the history went on without them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from driftline.errors import DriftlineError
from streams.state.rocks_pending import Changes

log = logging.getLogger(__name__)

CACHE_BYTES: Final = 64 << 20
"""Blocks, indexes and bloom filters of all databases of this process in memory, together."""
WRITE_BYTES: Final = 32 << 20
"""Write buffers of all databases of this process, together."""
_BUFFER_BYTES = 4 << 20
_BITS_PER_ID = 10  # of the bloom filter: one miss in a hundred reads a block in vain
_BLOCK_BYTES = 4 << 10
_OPEN_FILES = 64
_LOCK_WAIT_S = 5.0

_HEAD = "HEAD"
_LOCK = "LOCK"


class DiskError(DriftlineError):
    """The state folder cannot be read or written; its content can be had again from Kafka."""


class Head(msgspec.Struct, frozen=True):
    """The last record of the changes topic that all databases of a folder have."""

    writer: bytes
    """Whose record it is: `streams.state.changes`."""
    end: int
    """Offset behind it."""
    v: int = 1
    ahead: tuple[bytes, int] | None = None
    """(writer, end) up to which some of the databases may have more; None: none has."""


class SliceDisk:
    """The databases of one partition. One session at a time may use it."""

    def __init__(self, folder: Path) -> None:
        """Opens a folder, making it if need be, and takes its lock.

        Raises:
            DiskError: it cannot be written, or another process holds its lock for too long.
        """
        self.folder = folder
        self._databases: dict[int, Rdict] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / _LOCK)
        except OSError as error:
            raise DiskError(f"state folder {folder}: {error}") from error

    def get(self, number: int, ids: Sequence[bytes]) -> list[bytes | None]:
        """What a slice holds of each id.

        Raises:
            DiskError: the disk failed.
        """
        database = self._database(number)
        try:
            # The stub knows the answer to one key only.
            values: list[bytes | None] = database.get(list(ids))  # type: ignore[assignment]
        except Exception as error:  # RocksDB's errors are plain ones of Exception
            raise self._failed(error) from error
        return values

    def head(self) -> Head | None:
        """Up to where the folder is; None: it is new, or was left in the middle of a rebuild."""
        try:
            return msgspec.msgpack.decode((self.folder / _HEAD).read_bytes(), type=Head)
        except (OSError, msgspec.MsgspecError):
            return None

    def wipe(self) -> None:
        """Nothing here any more: what is there belongs to another state.

        Raises:
            DiskError: the disk failed.
        """
        try:
            (self.folder / _HEAD).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error
        self.keep_only(())

    def expect(self, writer: bytes, end: int) -> None:
        """Changes up to there are put next; any of them may be in until `advance` says all are.

        Raises:
            DiskError: the disk is full or failed.
        """
        head = self.head()
        if head is not None:
            self._write(msgspec.structs.replace(head, ahead=(writer, end)))

    def put(self, changes: Changes, *, durable: bool = True) -> None:
        """Puts changes into their databases; they count only once `advance` says so.

        Raises:
            DiskError: the disk is full or failed.
        """
        options = WriteOptions()
        options.sync = durable
        # The stub takes the property for a method.
        options.disable_wal = not durable  # type: ignore[method-assign,assignment]
        try:
            for number, values in changes.items():
                batch = WriteBatch(raw_mode=True)
                for row_id, value in values:
                    if value:
                        batch.put(row_id, value)
                    else:
                        batch.delete(row_id)
                self._database(number).write(batch, options)
        except Exception as error:  # RocksDB's errors are plain ones of Exception
            raise self._failed(error) from error

    def flush(self) -> None:
        """Makes what was put without `durable` safe."""
        try:
            for database in self._databases.values():
                database.flush(wait=True)
        except Exception as error:  # RocksDB's errors are plain ones of Exception
            raise self._failed(error) from error

    def advance(self, head: Head, live: Iterable[int]) -> None:
        """All changes up to `head` are in; the slices that live no more are dropped.

        Raises:
            DiskError: the disk is full or failed.
        """
        self._write(head)
        self.keep_only(live)

    def _write(self, head: Head) -> None:
        try:
            _replace(self.folder / _HEAD, msgspec.msgpack.encode(head))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DiskError:
        return DiskError(f"state folder {self.folder}: {error}")

    def keep_only(self, live: Iterable[int]) -> None:
        """Drops the databases of all other slices, files and all.

        Raises:
            DiskError: the disk failed.
        """
        wanted = set(live)
        for number in [n for n in self._databases if n not in wanted]:
            self._close(number)
        try:
            for path in self.folder.iterdir():
                if path.is_dir() and not (path.name.isdecimal() and int(path.name) in wanted):
                    shutil.rmtree(path, ignore_errors=True)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Lets go of databases and lock, whatever the disk says."""
        for number in list(self._databases):
            self._close(number)
        os.close(self._lock)

    def _close(self, number: int) -> None:
        try:
            self._databases.pop(number).close()
        except Exception as error:  # RocksDB's errors are plain ones of Exception
            log.warning("state folder %s, slice %d: %s", self.folder, number, error)

    def _database(self, number: int) -> Rdict:
        database = self._databases.get(number)
        if database is None:
            try:
                database = Rdict(str(self.folder / str(number)), _shared.options())
            except Exception as error:  # RocksDB's errors are plain ones of Exception
                raise self._failed(error) from error
            self._databases[number] = database
        return database


class _Shared:
    """What all databases of the process share, so that their number costs no memory."""

    def __init__(self) -> None:
        self._cache: Cache | None = None
        self._buffers: WriteBufferManager | None = None

    def options(self) -> Options:
        """Options of one database. Filters and indexes live in the cache, which is bounded."""
        if self._cache is None or self._buffers is None:
            self._cache = Cache.new_hyper_clock_cache(CACHE_BYTES, 0)
            self._buffers = WriteBufferManager(WRITE_BYTES, False)
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_block_size(_BLOCK_BYTES)
        table.set_bloom_filter(_BITS_PER_ID, block_based=False)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_memtable_prefix_bloom_ratio(0.1)
        options.set_memtable_whole_key_filtering(True)
        options.set_max_open_files(_OPEN_FILES)
        options.set_keep_log_file_num(1)
        options.set_max_log_file_size(1 << 20)
        options.set_stats_dump_period_sec(0)
        return options


_shared = _Shared()


def _locked(path: Path) -> int:
    """An open, locked file. Whoever had it before may need a moment to let go."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    give_up = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(file)
                raise
            time.sleep(0.1)
        else:
            return file


def _replace(path: Path, content: bytes) -> None:
    """The file has this content, or its former one if the machine stops now."""
    new = path.with_suffix(".new")
    with new.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
