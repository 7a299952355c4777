"""Single events by the thousand: records of one source partition straight to frames.

Most records hold one plain event, and those of a model look alike. They are read into structs whose
type was learnt (`driftline.shapes`) and turned into columns here, without a call per row. What is
not such an event is named to the caller, who reads it one by one; the frames are what he would have
made of it (a property test holds the two together).

A batch is read in pieces, so that the objects of one piece are still in the processor's cache when
they become columns: that halves what the columns cost.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import numpy as np

from detectors.blocks import Blocks
from detectors.frame import ID, SOURCE_SHIFT, Array, Column, Frame
from driftline.rules import MAX_AHEAD_MS, MAX_MESSAGE_BYTES, iso_ms
from driftline.shapes import DOUBTS, Shapes
from streams.rows.batches import Batches, is_columnar
from streams.rows.cells import packer
from streams.rows.shards import id_hashes
from streams.rows.single_kinds import Event, Group, LabelKind, PredictionKind

PIECE = 512
"""Records read at once, where models are few: their objects take about a megabyte."""

OF_A_MODEL = 64
"""Records for each model in a piece: with fewer of one, the columns cost more than the cache."""


@dataclass(slots=True)
class Records:
    """Records of one source partition as columns, in offset order."""

    rank: int
    """Of the source topic: predictions 0, labels 1."""
    partition: int
    values: Sequence[bytes | None]
    offsets: Array
    arrivals: Array
    """Of each record in ms, never falling."""
    stamps: Array
    """Event time of rows that name none, in ms."""

    @property
    def source(self) -> int:
        """Of the order key."""
        return self.rank << SOURCE_SHIFT | self.partition


@dataclass(slots=True)
class Read:
    """What was read: frames by subject and kind, and the places of the records that were not."""

    arrivals: Array
    """Of each record, as they were given."""
    frames: list[Frame] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows the frames have."""
        return sum(frame.n for frame in self.frames)


class Singles:
    """Reads plain single events. What it has learnt of their shape changes speed, not results."""

    def __init__(self) -> None:
        self._shapes = Shapes()
        self._batches = Batches()

    def read(self, records: Records) -> Read:
        """The frames of all plain events among the records, and the places of all others."""
        read = Read(records.arrivals)
        if any(value is not None and len(value) > MAX_MESSAGE_BYTES for value in records.values):
            values = [
                v if v is None or len(v) <= MAX_MESSAGE_BYTES else None for v in records.values
            ]
            records = replace(records, values=values)  # the codec says what is wrong with them
        kind = LabelKind() if records.rank == 1 else PredictionKind(self._shapes)
        read.frames += _Pieces(records, kind, read.odd).frames()
        read.odd = sorted(place for place in read.odd if not self._is_batch(records, place, read))
        return read

    def _is_batch(self, records: Records, place: int, read: Read) -> bool:
        """Whether a record is a columnar batch beyond doubt; its frame is added."""
        value = records.values[place]
        if value is None or not is_columnar(value):
            return False
        frame = self._batches.frame(
            value,
            source=records.source,
            offset=int(records.offsets[place]),
            arrival=int(records.arrivals[place]),
            stamp=int(records.stamps[place]),
        )
        if frame is not None:
            read.frames.append(frame)
        return frame is not None


class _Pieces:
    """The plain events of a batch, read piece by piece; what is odd goes to `odd`."""

    def __init__(self, records: Records, kind: LabelKind | PredictionKind, odd: list[int]) -> None:
        self.records, self.kind, self.odd = records, kind, odd
        self.ids = np.empty(len(records.values), ID)
        self.ts = np.empty(len(records.values), np.int64)
        self.latest = records.arrivals + MAX_AHEAD_MS
        self.groups: dict[Hashable, Group | None] = {}

    def frames(self) -> list[Frame]:
        """A frame of each subject, or several where its events differ."""
        piece = max(PIECE, OF_A_MODEL * self.kind.models)
        for start in range(0, len(self.records.values), piece):
            events, places = self._decoded(start, start + piece)
            if events:
                events, places = self._dated(events, places)
            if events:
                self._group(events, places)
        return [self._frame(group) for group in self.groups.values() if group is not None]

    def _decoded(self, start: int, stop: int) -> tuple[list[Event], list[int]]:
        """The plain events from `start` to before `stop`, and their places."""
        events: list[Event] = []
        places: list[int] = []
        decode = self.kind.decode
        for place, value in enumerate(self.records.values[start:stop], start):
            try:
                event = decode(value)  # type: ignore[arg-type]  # None raises
            except (*DOUBTS, TypeError):
                event = self.kind.again(value)
                if event is None:
                    self.odd.append(place)
                    continue
                decode = self.kind.decode
            events.append(event)
            places.append(place)
        return events, places

    def _dated(self, events: list[Event], places: list[int]) -> tuple[list[Event], list[int]]:
        """Notes each event's time and id; without those whose time is in doubt."""
        at = _index(places)
        ts, sure = _times([event.ts for event in events], self.records.stamps[at])
        sure &= ts <= self.latest[at]
        if not sure.all():
            self.odd += compress(places, (~sure).tolist())
            events, places = list(compress(events, sure)), list(compress(places, sure))
            at, ts = _index(places), ts[sure]
        self.ts[at] = ts
        self.ids[at] = id_hashes([event.prediction_id for event in events])
        return events, places

    def _group(self, events: list[Event], places: list[int]) -> None:
        """Hands the events to their groups."""
        parts: dict[Hashable, tuple[list[Event], list[int]]] = {}
        keys = list(self.kind.keys(events))
        if len(set(keys)) == 1:
            parts[keys[0]] = events, places
        else:
            for key, event, place in zip(keys, events, places, strict=True):
                part = parts.get(key)
                if part is None:
                    part = parts[key] = ([], [])
                part[0].append(event)
                part[1].append(place)
        for key, (own, there) in parts.items():
            if key not in self.groups:
                self.groups[key] = self.kind.group(own[0])
            group = self.groups[key]
            if group is None:
                self.odd += there
            else:
                group.gather.add(own)
                group.places += there

    def _frame(self, group: Group) -> Frame:
        n, at, records = len(group.places), np.array(group.places, np.intp), self.records
        columns = {
            "id": Column(self.ids[at]),
            "ts": Column(self.ts[at]),
            "arrival": Column(records.arrivals[at]),
            "source": Column(np.full(n, records.source, np.int64)),
            "offset": Column(records.offsets[at]),
            "index": Column(np.zeros(n, np.int64)),
        }
        columns |= group.gather.columns()
        blocks = Blocks.of(columns, n, group.gather.packed())
        return Frame(group.subject, self.kind.name, n, blocks)


def _index(places: list[int]) -> Array | slice:
    """The places as an index of arrays; nearly always they are one run."""
    if places and places[-1] - places[0] == len(places) - 1:
        return slice(places[0], places[-1] + 1)
    return np.array(places, np.intp)


def _times(cells: list[Any], stamps: Array) -> tuple[Array, Array]:
    """(event times in ms, which of them are beyond doubt); rows without one have their stamp's."""
    sure = np.ones(len(cells), bool)
    with suppress(struct.error):  # the usual case: all are integers
        return np.frombuffer(packer("q", len(cells))(*cells), np.int64), sure
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            ms = iso_ms(cell)
            sure[row] = ms is not None and ms >= 0
            cells[row] = ms if sure[row] else 0
        elif cell is None:
            cells[row] = int(stamps[row])
    return np.array(cells, np.int64), sure
