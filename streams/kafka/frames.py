"""Messages between the stages: frames in msgpack, behind the marks and clocks they travel with.

    {v, header: {log, start, to}, arrivals: {log: ms}, sources: {topic: partitions}, frames: [...]}

`detectors.frame_codec` says what a frame looks like inside. Readers take what is in
`READABLE`; any other version stops the worker (upgrade it) and is never a dead letter. Unknown
fields and columns are passed over or passed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from detectors.frame import Frame
from detectors.frame_codec import decode_frame, encode_frame
from driftline.errors import UnknownVersion
from streams.kafka.channel import Header

VERSION = 1
"""What is written. It moves on only where an old reader would misread; a new field, which readers
pass over, leaves it where it is, so that during a rolling restart old and new workers read each
other (ADR-0023)."""
READABLE = frozenset({1, 2})
"""2 was written for a while: as 1, whose headers may have a topic id, too."""


@dataclass(slots=True)
class Message:
    """One message of a channel. Without frames it only moves marks and clocks on."""

    header: Header
    arrivals: dict[str, int] = field(default_factory=dict)
    """Source log -> arrival it has reached, in ms: no later row of it arrives before that."""
    sources: dict[str, int] = field(default_factory=dict)
    """Topic -> partitions: the logs a receiver must hear from before its clock may move."""
    frames: list[Frame] = field(default_factory=list)


class _Version(msgspec.Struct):
    v: int


class _Wire(msgspec.Struct):
    v: int
    header: Header
    arrivals: dict[str, int]
    sources: dict[str, int]
    frames: list[dict[str, Any]]  # Any: columns of kinds this reader need not know


_encoder = msgspec.msgpack.Encoder()
_version = msgspec.msgpack.Decoder(_Version)
_wire = msgspec.msgpack.Decoder(_Wire)


def pack(message: Message) -> bytes:
    """The message as bytes of the current version; the same message gives the same bytes."""
    frames = [encode_frame(frame) for frame in message.frames]
    return _encoder.encode(
        _Wire(VERSION, message.header, message.arrivals, message.sources, frames)
    )


def unpack(data: bytes) -> Message:
    """The message that `pack` made; its arrays are read-only views of `data`'s copy in memory.

    Raises:
        UnknownVersion: written by a Driftline whose messages this one cannot read.
        msgspec.DecodeError: not a message of ours.
        ValueError: a column does not hold what it says.
    """
    try:
        wire = _wire.decode(data)
    except msgspec.ValidationError:
        if (version := _version.decode(data).v) not in READABLE:
            raise UnknownVersion(version) from None
        raise
    if wire.v not in READABLE:
        raise UnknownVersion(wire.v)
    frames = [decode_frame(frame) for frame in wire.frames]
    return Message(wire.header, wire.arrivals, wire.sources, frames)
