"""Replay: the worker's own steps over files, without Kafka, in one process with one shard.

Each file is a source partition, read in order. The clock moves with the rows and, at the end, on to
where the last window has closed. Nothing here reads a clock or draws a random number, so the same
files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from detectors.frame import Frame
from driftline.alerts import Alert, WindowSummary
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.offline.files import EventFile
from streams.offline.sources import Counts, PredictionTimes, Source, merged
from streams.pipeline.detect_shard import DetectShard
from streams.pipeline.join_shard import JoinShard

CHUNK_ROWS = 2_000
"""Rows read from one file before the stages are stepped; decides only how the lines of several
subjects interleave."""

PREDICTIONS, LABELS = 0, 1
"""Ranks of the source topics in the order key."""
SHARD = "rows/0"
"""What join's only shard is called in marks and clocks."""


class Sink(Protocol):
    """Where a replay's results go, in the order in which they are decided."""

    def alert(self, alert: Alert) -> None:
        """Takes an alert event."""

    def window(self, window: WindowSummary) -> None:
        """Takes a window summary."""


class Feed:
    """Files as messages to join, read on the way; with `keep`, once for several runs.

    Args: as of `Replay`.
    """

    def __init__(
        self,
        predictions: Sequence[EventFile],
        labels: Sequence[EventFile],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.counts = Counts()
        self._progress = progress
        self._files = [*predictions, *labels]
        self._kept: list[Message] | None = None
        events = chain.from_iterable(predictions)
        self._sources = [Source("predictions/0", events, self.counts, rank=PREDICTIONS)]
        if labels:
            truth = chain.from_iterable(labels)
            times = PredictionTimes(predictions)
            self._sources.append(Source("labels/0", truth, self.counts, rank=LABELS, times=times))

    @property
    def logs(self) -> list[str]:
        """The names of its source partitions."""
        return [source.log for source in self._sources]

    @property
    def predicted_until(self) -> int | None:
        """The last arrival of a prediction, known once their files are read to the end."""
        source = self._sources[0]
        return source.reached if source.ended else None

    def __iter__(self) -> Iterator[Message]:
        """Yields the messages; a second time only after `keep`."""
        if self._kept is not None:
            yield from self._kept
            return
        for message in merged(self._sources, CHUNK_ROWS):
            yield message
            self._progress(sum(file.read_bytes for file in self._files))

    def keep(self) -> list[Message]:
        """Reads everything into memory, about 250 bytes a row, and returns it."""
        if self._kept is None:
            self._kept = list(self)
        return self._kept


class Replay:
    """One run over files. `run` it once; then `counts`, `join` and `detect` say what came of it.

    Args:
        predictions: files of predictions or outcomes, as one partition in this order.
        labels: files of labels, likewise; may be empty.
        monitors: what each model is watched by.
        sink: where alerts and windows go.
        progress: called with the bytes read so far after each chunk.
    """

    def __init__(
        self,
        predictions: Sequence[EventFile],
        labels: Sequence[EventFile],
        monitors: Monitors,
        sink: Sink,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._begin(Feed(predictions, labels, progress), monitors, sink)

    @classmethod
    def over(cls, feed: Feed, monitors: Monitors, sink: Sink) -> Replay:
        """A run over a feed, which others may have run over before if it is kept."""
        run = cls.__new__(cls)
        run._begin(feed, monitors, sink)  # noqa: SLF001  its own class
        return run

    def _begin(self, feed: Feed, monitors: Monitors, sink: Sink) -> None:
        self.counts = feed.counts
        self.join = JoinShard(monitors)
        self.detect = DetectShard(monitors)
        self._monitors = monitors
        self._sink = sink
        self._feed = feed
        self._told = 0  # of the first source
        self._joined = 0

    def run(self) -> None:
        """Reads all files, then lets the clock run on until every window has closed."""
        reached: list[int] = []
        for message in self._feed:
            self.detect.until = self._feed.predicted_until
            if message.header.log == self._feed.logs[0]:
                self._told = message.header.to
            self._step(message)
            reached = list(message.arrivals.values())
        if reached:
            models = {subject.partition("@")[0] for subject in self.detect.subjects}
            end = max(reached) + self._monitors.settle_ms(sorted(models))
            self.detect.conclude()
            self.detect.ends = max(reached)
            self._step(Message(self._nothing(), dict.fromkeys(self._feed.logs, end)))

    def _nothing(self) -> Header:
        """The header of a message without rows."""
        return Header(self._feed.logs[0], self._told, self._told)

    def _step(self, message: Message) -> None:
        """One message through join and detect, and what join left for later."""
        self._detect(self.join.step(message))
        clock = self.join.clock.now
        while clock is not None and (self.join.passed is None or self.join.passed < clock):
            self._detect(self.join.step(Message(self._nothing())))

    def _detect(self, frames: list[Frame]) -> None:
        for frame in frames:
            frame.cause = self._joined
        header = Header(SHARD, self._joined, self._joined + 1)
        self._joined += 1
        passed = self.join.passed
        arrivals = {} if passed is None else {SHARD: passed}
        topic, _, _ = SHARD.partition("/")
        decided = self.detect.step(Message(header, arrivals, {topic: 1}, frames))
        for alert in decided.alerts:
            self._sink.alert(alert)
        for window in decided.windows:
            self._sink.window(window)
