"""Files as source partitions: rows in order, arrivals made monotone, several files merged.

A row's arrival is its `arrival` field, else its `ts`, else (labels) that of its prediction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from detectors.frame import Frame
from driftline.codec import decode
from driftline.events import Decoded, LabelEvent
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.offline.files import EventFile
from streams.rows.builder import RowBuilder


@dataclass(slots=True)
class Counts:
    """What was read, before any stage saw it."""

    predictions: int = 0
    labels: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> rows, or messages where nothing could be read."""
    details: dict[str, str] = field(default_factory=dict)
    """Reason -> what was wrong with the first of them."""


class PredictionTimes:
    """Arrivals for labels without a time: right after their prediction.

    The predictions are read once more, and kept by id, only if there is such a label.
    """

    def __init__(self, files: Sequence[EventFile]) -> None:
        self._files = files
        self._arrivals: dict[str, int] | None = None

    def fill(self, labels: Sequence[LabelEvent], reached: int | None) -> None:
        """Gives each label without a time the arrival of its prediction.

        One that nobody predicted takes the arrival `reached` by the labels before it.
        """
        for label in labels:
            if label.ts is None and label.arrival is None:
                if self._arrivals is None:
                    self._arrivals = dict(self._read())
                label.arrival = self._arrivals.get(label.prediction_id, reached)

    def _read(self) -> Iterator[tuple[str, int]]:
        """(id, arrival) of each prediction; of an id that several versions have, the last."""
        reached: int | None = None
        for file in self._files:
            for event in file.again():
                for prediction_id, ts, own in _times_of(decode(event)):
                    arrival = ts if own is None else own
                    if arrival is not None:
                        reached = arrival if reached is None else max(reached, arrival)
                        yield prediction_id, reached


def _times_of(decoded: Decoded) -> Iterator[tuple[str, int | None, int | None]]:
    for event in decoded.predictions:
        yield event.prediction_id, event.ts, event.arrival
    for batch in decoded.columns:
        own = batch.arrival or [None] * batch.n
        yield from zip(batch.prediction_id, batch.ts, own, strict=True)


class Source:
    """Events read as one source partition.

    Args:
        log: its name, "topic/partition".
        events: the events' bytes, in order.
        counts: where what was read is counted.
        rank: of its topic in the order key.
        times: arrivals for labels that name none; None: they are refused.
    """

    def __init__(
        self,
        log: str,
        events: Iterable[bytes],
        counts: Counts,
        *,
        rank: int = 0,
        times: PredictionTimes | None = None,
    ) -> None:
        self.log = log
        self.ended = False
        self._offset = 0
        self._told = 0
        partition = int(log.rpartition("/")[2])
        self._builder = RowBuilder(rank, partition, 1)
        self._events = iter(events)
        self._counts = counts
        self._times = times

    @property
    def reached(self) -> int | None:
        """The greatest arrival so far; None before the first row."""
        return self._builder.reached

    def read(self, rows: int) -> list[Frame]:
        """About the next so many rows, as frames; sets `ended` where there are no more."""
        while self._builder.rows < rows:
            event = next(self._events, None)
            if event is None:
                self.ended = True
                break
            self._take(decode(event))
        return self._builder.frames().get(0, [])

    def header(self) -> Header:
        """The header of the message that tells what was read since the last one."""
        header = Header(self.log, self._told, self._offset)
        self._told = self._offset
        return header

    def _take(self, decoded: Decoded) -> None:
        counts, before = self._counts, self._builder.rows
        if self._times is not None:
            self._times.fill(decoded.labels, self.reached)
        late = self._builder.add(decoded, offset=self._offset, arrival=None)
        labels = len(decoded.labels)
        if late:
            refused = {reject.index for reject in late}
            labels = sum(index not in refused for index in decoded.label_index)
        counts.labels += labels
        counts.predictions += self._builder.rows - before - labels
        for reject in (*decoded.rejects, *late):
            counts.rejected[str(reject.reason)] += 1
            counts.details.setdefault(str(reject.reason), reject.detail)
        self._offset += 1


def merged(sources: Sequence[Source], chunk_rows: int) -> Iterator[Message]:
    """Everything that the sources hold, as messages to join; the one furthest behind comes next.

    A source that is read to its end holds no clock but the others'. The last message moves the
    clock to the greatest arrival, so rows that arrived just then are still held.
    """
    topics = Counter(source.log.rpartition("/")[0] for source in sources)
    while reading := [source for source in sources if not source.ended]:
        source = min(reading, key=lambda s: (s.reached is not None, s.reached or 0))
        frames = source.read(chunk_rows)
        yield Message(source.header(), _arrivals(sources), dict(topics), frames)


def _arrivals(sources: Sequence[Source]) -> dict[str, int]:
    """The arrival reached, by log."""
    reached = {s.log: s.reached for s in sources if s.reached is not None}
    reading = [s for s in sources if not s.ended]
    if any(s.reached is None for s in reading):
        return reached  # the clock waits for its first row
    slowest = min((reached[s.log] for s in reading), default=max(reached.values(), default=0))
    return reached | {s.log: max(slowest, reached.get(s.log, 0)) for s in sources if s.ended}
