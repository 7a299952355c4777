"""The manifest of a partition: what it starts again from, and where the pieces of it lie.

Version 2 names its pieces (the state, each subject, each reference, the configuration), so that
what did not change is not written again. Readers take version 1, too, whose state is one piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import msgspec

from detectors.flow.saved_blocks import Block, split
from driftline.errors import CheckpointError

VERSION = 2
READABLE = frozenset({1, 2})
STATE = "state"
CONFIG = "config"


class Chunk(msgspec.Struct, frozen=True):
    """Where some bytes lie in the chunk topic's partition, and the hash they must have."""

    offset: int
    digest: bytes
    size: int = 0
    generation: int = 0
    """In which generation it was written; 0: by version 1."""


class Piece(msgspec.Struct, frozen=True):
    """One piece of a state, as chunks in order."""

    name: str
    chunks: list[Chunk]


class Run(msgspec.Struct, frozen=True):
    """The records [start, end) of the changes topic that one session wrote; others lie between."""

    writer: bytes
    start: int
    end: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition starts again from."""

    v: int = VERSION
    position: int
    """Offset of the next input record to step."""
    generation: int
    chunks: list[Chunk] = []
    """Version 1: of the state."""
    config: bytes = b""
    """Version 1: the monitor configuration in force, as `streams.monitors.load` encodes it."""
    pieces: list[Piece] = []
    stale: list[bytes] = []
    """Digests of the former generation that this one does without: gone with the next."""
    changes: list[Run] = []
    """Where join's pending store can be had again from, oldest first."""
    input: str = ""
    """Id of the input topic that `position` belongs to; empty: the broker gave none."""
    partitions: int = 0
    """Partitions of the input topic, fixed for ever; 0: not known."""
    config_hash: str = ""
    facts: dict[str, int] = {}
    """What people may want to know of the state: pending entries, slices, subjects."""

    def all_chunks(self) -> Iterator[Chunk]:
        """Every chunk that a reader needs."""
        yield from self.chunks
        for piece in self.pieces:
            yield from piece.chunks

    @property
    def size(self) -> int:
        """Bytes of the state in chunks; 0: written by version 1, which did not say."""
        return sum(chunk.size for chunk in self.all_chunks())


Drafted: TypeAlias = Mapping[str, bytes | Sequence[Block]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint to be written."""

    position: int
    pieces: Drafted
    """Bytes, or blocks of them whose `keys` are the digests of their chunks."""
    changes: list[Run] = field(default_factory=list)
    input: str = ""
    partitions: int = 0
    facts: dict[str, int] = field(default_factory=dict)


def decode(value: bytes, where: str) -> Manifest:
    """The manifest in a record.

    Raises:
        CheckpointError: of a version that this program does not know.
    """
    manifest = msgspec.msgpack.decode(value, type=Manifest)
    if manifest.v not in READABLE:
        raise CheckpointError(
            f"{where}: checkpoint version {manifest.v}, this program reads {max(READABLE)}. "
            "Run the Driftline version that wrote it, or a newer one."
        )
    return manifest


def digest(data: bytes) -> bytes:
    """BLAKE2b-128: the key of a chunk, and how a reader knows it."""
    return hashlib.blake2b(data, digest_size=16).digest()


def blocks_of(data: bytes, chunks: Sequence[Chunk]) -> list[Block]:
    """The blocks in a piece that was written as blocks; these are the chunks of the piece."""
    blocks = []
    left = iter(chunks)
    for part in split(data):
        keys: list[bytes] = []
        size = 0
        while size < len(part):
            chunk = next(left)
            keys.append(chunk.digest)
            size += chunk.size
        blocks.append(Block(partial(bytes, part), tuple(keys), size))
    return blocks


def encode(manifest: Manifest) -> bytes:
    """The manifest as a record's value."""
    return msgspec.msgpack.encode(manifest)
