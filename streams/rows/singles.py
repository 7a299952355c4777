"""Single events by the thousand: records of one source partition straight to frames.

Most records hold one plain event, and those of a model look alike. They are read into structs whose
type was learnt (`driftline.shapes`) and turned into columns here, without a Python object per value
or a call per row. What is not such an event is named to the caller, who reads it one by one; the
frames are what he would have made of it (a property test holds the two together).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import numpy as np

from detectors.frame import SOURCE_SHIFT, Array, Column, Frame
from driftline.rules import MAX_AHEAD_MS, MAX_MESSAGE_BYTES, is_name, iso_ms
from driftline.shapes import DOUBTS, Shape, Shapes, label_decoder
from streams.rows.batches import Batches, is_columnar
from streams.rows.shards import id_hashes
from streams.rows.single_columns import label_columns, prediction_columns

LESSONS_PER_BATCH = 4
"""Events of one model and batch that may teach; a stream of odd ones must not cost twice."""

_MODEL = b'"model":"'

Event = Any
"""A struct of a shape's own type."""

_Way = tuple[Callable[[bytes], Event], Callable[[Event], None], Callable[[int], None]]
"""How an event of a model is read, and where it and its place go, in one batch."""


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


@dataclass(slots=True)
class _Group:
    """Events of one type, and their places among the records."""

    shape: Shape | None = None
    events: list[Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def by(self, key: Callable[[Event], object]) -> list[_Group]:
        """The group in parts of equal key."""
        keys = list(map(key, self.events))
        if len(set(keys)) == 1:
            return [self]
        parts: dict[object, _Group] = {}
        for own, event, place in zip(keys, self.events, self.places, strict=True):
            part = parts.get(own)
            if part is None:
                part = parts[own] = _Group(self.shape)
            part.events.append(event)
            part.places.append(place)
        return list(parts.values())


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
        if records.rank == 1:
            for group in _labels(records, read.odd).by(attrgetter("model")):
                model = group.events[0].model if group.events else None
                if model is None or is_name(model):
                    _add(
                        read, records, group,
                        subject=f"{model or ''}@", kind="label", columns_of=label_columns,
                    )  # fmt: skip
                else:
                    read.odd += group.places
        else:
            for decoded in self._predictions(records.values, read.odd):
                for group in decoded.by(attrgetter("model", "version")):
                    model, version = group.events[0].model, group.events[0].version
                    if is_name(model) and is_name(version):
                        subject = f"{model}@{version}"
                        _add(
                            read, records, group,
                            subject=subject, kind="prediction", columns_of=prediction_columns,
                        )  # fmt: skip
                    else:
                        read.odd += group.places
        read.odd = sorted(place for place in read.odd if not self._is_batch(records, place, read))
        return read

    def _is_batch(self, records: Records, place: int, read: Read) -> bool:
        """Whether a record is a columnar batch beyond doubt; its frame is added."""
        value = records.values[place]
        if value is None or not is_columnar(value):
            return False
        frame = self._batches.frame(
            value,
            source=records.rank << SOURCE_SHIFT | records.partition,
            offset=int(records.offsets[place]),
            arrival=int(records.arrivals[place]),
            stamp=int(records.stamps[place]),
        )
        if frame is not None:
            read.frames.append(frame)
        return frame is not None

    def _predictions(self, values: Sequence[bytes | None], odd: list[int]) -> Iterable[_Group]:
        """The plain predictions by shape; the places of all other records go to `odd`."""
        groups: dict[int, _Group] = {}
        ways: dict[bytes, _Way] = {}
        taught = Counter[bytes]()
        for place, value in enumerate(values):
            hint = None
            try:
                begin = value.index(_MODEL) + len(_MODEL)  # type: ignore[union-attr]  # caught
                hint = value[begin : value.index(b'"', begin)]  # type: ignore[union-attr,index]
                decode, add_event, add_place = ways[hint]
                event = decode(value)  # type: ignore[arg-type]  # None has no index
            except (*DOUBTS, AttributeError, LookupError, ValueError):
                if hint is None or value is None or is_columnar(value):
                    odd.append(place)
                    continue
                shape, event = self._read(hint, value, taught, known=hint in ways)
                if shape is None:
                    odd.append(place)
                    continue
                group = groups.setdefault(id(shape), _Group(shape))
                _, add_event, add_place = ways[hint] = (
                    shape.decode, group.events.append, group.places.append
                )  # fmt: skip
            add_event(event)
            add_place(place)
        return groups.values()

    def _read(
        self, hint: bytes, value: bytes, taught: Counter[bytes], *, known: bool
    ) -> tuple[Shape | None, Event]:
        """The event by its model's shape, unless that is `known` not to fit, else by a new one.

        What does not fit teaches the shape, a few times a batch; now it may fit.
        """
        if not known:
            shape, event = self._by_shape(hint, value)
            if shape is not None:
                return shape, event
        if taught[hint] >= LESSONS_PER_BATCH:
            return None, None
        taught[hint] += 1
        self._shapes.learn(hint, value)
        return self._by_shape(hint, value)

    def _by_shape(self, hint: bytes, value: bytes) -> tuple[Shape | None, Event]:
        shape = self._shapes.get(hint)
        try:
            return shape, None if shape is None else shape.decode(value)
        except DOUBTS:
            return None, None


def _labels(records: Records, odd: list[int]) -> _Group:
    """The plain labels; the places of all other records go to `odd`."""
    group = _Group()
    decode = label_decoder.decode
    for place, value in enumerate(records.values):
        try:
            event = decode(value)  # type: ignore[arg-type]  # None raises
        except (*DOUBTS, TypeError):
            odd.append(place)
            continue
        group.events.append(event)
        group.places.append(place)
    return group


def _add(
    read: Read,
    records: Records,
    group: _Group,
    *,
    subject: str,
    kind: str,
    columns_of: Callable[[Sequence[Event], Shape | None], dict[str, Column]],
) -> None:
    """Adds the group's frame; events whose time is in doubt are odd."""
    places = np.array(group.places, np.intp)
    arrivals = records.arrivals[places]
    ts, sure = _times([event.ts for event in group.events], records.stamps[places])
    sure &= ts <= arrivals + MAX_AHEAD_MS
    if not sure.all():
        read.odd += places[~sure].tolist()
        rows = np.flatnonzero(sure)
        ts, places, arrivals = ts[rows], places[rows], arrivals[rows]
        group = _Group(group.shape, [group.events[row] for row in rows.tolist()], places.tolist())
    if not group.events:
        return
    ids = [event.prediction_id for event in group.events]
    n = len(ids)
    columns = {
        "id": Column(id_hashes(ids)),
        "ts": Column(ts),
        "arrival": Column(arrivals),
        "source": Column(np.full(n, records.rank << SOURCE_SHIFT | records.partition, np.int64)),
        "offset": Column(records.offsets[places]),
        "index": Column(np.zeros(n, np.int64)),
    }
    read.frames.append(Frame(subject, kind, n, columns | columns_of(group.events, group.shape)))


def _times(cells: list[Any], stamps: Array) -> tuple[Array, Array]:
    """(event times in ms, which of them are beyond doubt); rows without one have their stamp's."""
    sure = np.ones(len(cells), bool)
    if set(map(type, cells)) == {int}:
        return np.array(cells, np.int64), sure
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            ms = iso_ms(cell)
            sure[row] = ms is not None and ms >= 0
            cells[row] = ms if sure[row] else 0
        elif cell is None:
            cells[row] = int(stamps[row])
    return np.array(cells, np.int64), sure
