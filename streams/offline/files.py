"""Files of events as a stream of wire bytes, in order: JSON Lines, gzip, CSV and Parquet.

A table's rows become the very events that serving code would have sent, so that one decoder and
one set of rules judges all of them.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from driftline.errors import UsageError
from streams.offline.tables import ColumnMap, csv_events, parquet_events

Role = Literal["predictions", "labels"]

JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
CSV_SUFFIXES = {".csv"}
PARQUET_SUFFIXES = {".parquet", ".pq"}


class EventFile:
    """One file; iterating gives each event's bytes in file order.

    Args:
        path: `.jsonl`, `.ndjson`, `.json` (one event or batch a line), `.csv`, each also `.gz`,
            or `.parquet`.
        columns: which column of a table holds which field.
        role: what a table's rows are; a labels table has no features.

    Raises:
        UsageError: the file is missing or of an unknown kind; while iterating, it is damaged.
    """

    def __init__(
        self, path: Path, *, columns: ColumnMap | None = None, role: Role = "predictions"
    ) -> None:
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
        if suffix.lower() not in JSON_SUFFIXES | CSV_SUFFIXES | PARQUET_SUFFIXES:
            kinds = ".jsonl, .csv (also with .gz) or .parquet"
            raise UsageError(f"{path}: cannot tell the format from the name; use {kinds}")
        self.path = path
        self.suffix = suffix.lower()
        self.columns = columns or ColumnMap()
        self.role = role
        self.size_bytes = path.stat().st_size
        self.read_bytes = 0
        """Bytes of the file consumed so far, of `size_bytes`; what a progress bar shows."""

    def again(self) -> EventFile:
        """The same file, to be read once more from its beginning."""
        return EventFile(self.path, columns=self.columns, role=self.role)

    @property
    def is_table(self) -> bool:
        """Whether it is CSV or Parquet, not JSON Lines."""
        return self.suffix not in JSON_SUFFIXES

    def __iter__(self) -> Iterator[bytes]:
        """Yields the events; blank lines are no events."""
        try:
            if self.suffix in PARQUET_SUFFIXES:
                yield from self._parquet()
            else:
                yield from self._text()
        except (EOFError, OSError, zlib.error) as error:
            raise UsageError(f"{self.path}: cannot be read to its end: {error}") from error
        self.read_bytes = self.size_bytes

    def _text(self) -> Iterator[bytes]:
        with self.path.open("rb") as raw:
            lines = gzip.GzipFile(fileobj=raw) if self.path.suffix == ".gz" else raw
            if self.suffix in JSON_SUFFIXES:
                for line in lines:
                    value = line.strip()
                    if value:
                        self.read_bytes = raw.tell()
                        yield value
            else:
                for value in csv_events(self._decoded(lines), self.columns, self.role):
                    self.read_bytes = raw.tell()
                    yield value

    def _decoded(self, lines: BinaryIO | gzip.GzipFile) -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(f"{self.path}:{number}: not UTF-8: {error.reason}") from error

    def _parquet(self) -> Iterator[bytes]:
        for value, share in parquet_events(self.path, self.columns, self.role):
            self.read_bytes = int(self.size_bytes * share)
            yield value


def total_bytes(files: list[EventFile]) -> int:
    """The size of all files on disk, in bytes."""
    return sum(file.size_bytes for file in files)


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file as a whole or not at all: a reader never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)  # noqa: PTH105  pathlib's replace is the same call
