"""Reference profiles from files of predictions, outcomes, or tables of either.

Predictions and labels meet in the same join as live ones; `detectors.reference_builder` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import orjson
from msgspec.structs import replace

from detectors import reference_builder
from detectors.frame import Frame
from detectors.reference.profile import ReferenceProfile, weak
from driftline.errors import UsageError
from driftline.subject import Subject
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.offline.files import EventFile
from streams.offline.sources import Counts, PredictionTimes, Source, merged
from streams.pipeline.join_shard import JoinShard
from streams.plugins import catalog

CHUNK_ROWS = 10_000
NO_PREDICTION = "-"
"""Stands for the prediction of a table that has none, until the frames are made."""
NO_TIME_MS = 946_684_800_000
"""The first row of a table without times; the next are a second apart, so their order is kept."""
SECOND_MS = 1_000


def build_profile(
    files: Sequence[EventFile],
    monitors: Monitors,
    *,
    model: str | None = None,
    version: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[ReferenceProfile, Counts]:
    """The profile (and what was read) of the one model version that the files are about.

    Args:
        files: predictions, outcomes, labels; or tables, whose rows may lack id, time, prediction,
            model and version.
        monitors: what users said about the model: its task, positive class and features count.
        model: only this model; also that of tables without a column for it.
        version: likewise.
        progress: called with the bytes read so far.

    Raises:
        UsageError: there is no usable row, or rows of several model versions, or nothing says
            whether a table without predictions is about classes or numbers.
    """
    counts, tables = Counts(), _Tables(model, version)
    times = PredictionTimes(files)
    sources = [
        Source(f"files/{i}", tables.completed(file) if file.is_table else file, counts, times=times)
        for i, file in enumerate(files)
    ]
    join, frames = JoinShard(monitors), list[Frame]()
    for message in merged(sources, CHUNK_ROWS):
        frames += join.step(message)
        progress(sum(file.read_bytes for file in files))
    reached = [source.reached for source in sources if source.reached is not None]
    end = {source.log: max(reached, default=0) + 1 for source in sources}
    clock = max(reached, default=0)
    while join.passed is None or join.passed <= clock:
        frames += join.step(Message(sources[0].header(), end))
        if not reached:
            break
    subject = _only_subject(frames, counts, model, version)
    rows = [tables.stripped(frame) for frame in frames if frame.subject == str(subject)]
    spec = monitors.spec(subject.model)
    if tables.without_prediction and spec.task is None:
        raise UsageError("the table has no predictions; say `task:` in a monitor file (--config)")
    profile = reference_builder.build(subject, rows, spec, origin="build", catalog=catalog())
    if tables.without_time:
        profile = replace(profile, start=None, end=None, hourly={}).sealed()
    return profile, counts


def describe(profile: ReferenceProfile) -> dict[str, Any]:  # Any: a JSON object
    """What a person wants to know of a profile that was just built."""
    return {
        "model": profile.model,
        "version": profile.version,
        "n": profile.n,
        "task": profile.task,
        "positive": profile.positive,
        "features": len(profile.features),
        "latency": profile.latency is not None,
        "attributions": len(profile.attributions),
        "attributions_beyond": profile.attributions_beyond,
        "hourly": bool(profile.hourly),
        "error": None if profile.error is None else profile.error.mean,
        "weak": dict(weak(profile)),
        "hash": profile.hash,
    }


class _Tables:
    """Fills in what the rows of a table lack, and takes it out of the frames again."""

    def __init__(self, model: str | None, version: str | None) -> None:
        self.model = model
        self.version = version
        self.without_time = False
        self.without_prediction = False

    def completed(self, file: EventFile) -> Iterator[bytes]:
        """The file's events with id, time, prediction, model and version."""
        numbers = count()
        for value in file:
            event: dict[str, Any] = orjson.loads(value)  # Any: the decoder judges it
            number = next(numbers)
            event.setdefault("prediction_id", f"{file.path.name}:{number}")
            if "ts" not in event and "arrival" not in event:
                self.without_time = True
                event["ts"] = NO_TIME_MS + number * SECOND_MS
            if "prediction" not in event and "features" in event:
                self.without_prediction = True
                event["prediction"] = NO_PREDICTION
                event.pop("label", None)
            for name, given in (("model", self.model), ("version", self.version)):
                if given is not None:
                    event.setdefault(name, given)
            yield orjson.dumps(event)

    def stripped(self, frame: Frame) -> Frame:
        """The frame without the predictions that nobody made."""
        if self.without_prediction:
            frame.columns.pop("prediction", None)
        return frame


def _only_subject(
    frames: Sequence[Frame], counts: Counts, model: str | None, version: str | None
) -> Subject:
    texts = dict.fromkeys(frame.subject for frame in frames if frame.kind == "prediction")
    found = [
        subject
        for subject in map(Subject.parse, texts)
        if model in (None, subject.model) and version in (None, subject.version)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(str, found[:10]))
        raise UsageError(f"rows of several model versions: {listed}; choose by --model, --version")
    if texts:
        raise UsageError(f"no rows of that model and version; there are {', '.join(texts)}")
    raise UsageError(f"no usable predictions; {refused(counts) or 'the files are empty'}")


def refused(counts: Counts) -> str:
    """What was refused, in one line, with the first detail of each reason; empty if nothing was."""
    return "; ".join(
        f"refused {n} rows as {reason}: {counts.details[reason]}"
        for reason, n in sorted(counts.rejected.items())
    )
