"""detect: the monitors of the models whose observations lie in one partition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from detectors import engine, policy
from detectors.flow.clock import ArrivalClock
from detectors.flow.sequencer import Sequencer
from detectors.frame import Frame
from detectors.operators import commands, silence
from detectors.operators.commands import between
from detectors.operators.orders import carry_out
from detectors.spec import MonitorSpec
from detectors.state import MonitorState
from detectors.state import load as load_state
from detectors.volume.versions import ModelTraffic
from driftline.actions import Action
from driftline.alerts import Alert, WindowSummary
from driftline.subject import Subject
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.operators.remediation import Remediation
from streams.pipeline.reading import reading_of
from streams.plugins import catalog
from streams.state.held_rows import HeldRows
from streams.telemetry.readings import Reading

NO_MODEL = "@"
"""The subject of what names no model."""

MONITORED = ("prediction", "outcome")
"""Kinds of rows that are a reason to have a monitor."""

UNWATCHED = ("prediction_id", "label_ts", "label_source")
"""Columns for people and for join; texts of ids cost as much to hold as all features."""

MAX_SUBJECTS = 1_000
"""Monitors of one detect partition; the rows of further subjects are counted `over_cap`."""


@dataclass(slots=True)
class Decided:
    """What a message made detect say."""

    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowSummary] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


class DetectShard:
    """The monitors of the models whose observations lie in one partition."""

    def __init__(self, monitors: Monitors, held: HeldRows | None = None) -> None:
        self.monitors = monitors
        self.clock = ArrivalClock()
        self.sequencer = Sequencer()
        self.held = held or HeldRows()
        self.subjects: dict[str, MonitorState] = {}
        self.counts: dict[str, dict[str, int]] = {}
        """Counters of subjects without a monitor; `model@`: of labels that met no prediction."""
        self.until: int | None = None
        """Arrival at which predictions end because their file does: what follows is no silence."""
        self.ends: int | None = None
        """The same of all rows: nobody knows which labels would have come."""
        self.remediation = Remediation()
        self.traffic: dict[str, ModelTraffic] = {}
        """What each model had of all its versions."""
        self.changed: set[str] = set()
        """Subjects that were stepped or counted; for who reads them to clear."""

    @property
    def passed(self) -> int | None:
        """The arrival below which every row was stepped; None before all shards were heard."""
        return self.clock.now

    def step(self, message: Message) -> Decided:
        """The alerts and window summaries that this message's rows and clock lead to."""
        return self.run([message])

    def run(self, messages: Iterable[Message]) -> Decided:
        """Those of several messages, as if stepped one after the other."""
        decided = Decided()
        counts: dict[str, list[Frame]] = {}
        waiting = False
        for message in messages:
            frames = [_watched(frame) for frame in message.frames]
            sizes = [frame.nbytes for frame in frames]
            if waiting and self.sequencer.nbytes + sum(sizes) > self.held.limit_bytes:
                self._decide(counts, decided)
                counts = {}
            for frame, size in zip(frames, sizes, strict=True):
                if frame.kind == "count":  # exact whenever they come: they have no place in order
                    counts.setdefault(frame.subject, []).append(frame)
                else:
                    self.sequencer.hold(frame, size)
            self.clock.advance(message.arrivals, message.sources)
            waiting = True
        if waiting:
            self._decide(counts, decided)
        return decided

    def _decide(self, due: dict[str, list[Frame]], decided: Decided) -> None:
        """Steps every subject that has counts, or rows that the clock has passed."""
        released = self.held.force(self.sequencer)
        clock = self.clock.now or 0
        for frame in released + self.sequencer.release(clock):
            due.setdefault(frame.subject, []).append(frame)
        before = len(decided.alerts)
        self._count_traffic(due)
        for subject in sorted({*due, *self.subjects}):
            self._run(subject, due.get(subject, []), clock, decided)
        for traffic in self.traffic.values():
            traffic.forget(clock)
        alerts = decided.alerts[before:]
        decided.actions += self.remediation.step(self.monitors, due, alerts, clock)

    def _count_traffic(self, due: dict[str, list[Frame]]) -> None:
        """Counts predictions by model, before any version is asked where its own have gone."""
        for subject, frames in due.items():
            if subject in self.subjects or len(self.subjects) < MAX_SUBJECTS:
                model, _, _ = subject.partition("@")
                for frame in frames:
                    if frame.kind == "prediction":
                        traffic = self.traffic.setdefault(model, ModelTraffic())
                        traffic.take(frame.ints("arrival"))

    def _run(self, subject: str, frames: list[Frame], clock: int, decided: Decided) -> None:
        """Steps one subject, or lets its windows close; a new one gets its monitor here."""
        state = self.subjects.get(subject)
        if state is None:
            state = self._new(subject, frames)
            if state is None:
                self._count(subject, frames)
                return
        elif not frames and not _is_due(state, clock):
            return
        self.changed.add(subject)
        state.volume.until = self.until
        state.label_times.cohorts.until = self.ends
        gone = silence.expiries(frames, state.last_row, clock)
        state.last_row = silence.last_arrival(frames, state.last_row)
        orders = sorted([*commands.told(frames), *gone], key=lambda order: order.key)
        for rows, told in between(frames, orders):
            state, findings = engine.step(state, rows, clock if told is None else told.at)
            if state.subject.model in self.traffic:
                findings = self.traffic[state.subject.model].news(findings)
            state.policy, alerts = policy.step(state.policy, findings)
            decided.alerts += alerts
            if told is not None:
                decided.alerts += carry_out(state, told)
        self.subjects[subject] = state
        decided.windows += state.take_windows()

    def _new(self, subject: str, frames: list[Frame]) -> MonitorState | None:
        """A monitor for a subject with rows; None: it has none yet, or there are too many."""
        if len(self.subjects) >= MAX_SUBJECTS or not any(
            frame.kind in MONITORED for frame in frames
        ):
            return None
        name = Subject.parse(subject)
        spec, reference = self.monitors.spec(name.model), self.monitors.reference(name.model)
        state = engine.new(name, spec, reference)
        state.catalog = catalog()
        for counter, n in self.counts.pop(subject, {}).items():
            state.count(counter, n)
        return state

    def _count(self, subject: str, frames: list[Frame]) -> None:
        """Counters of what has no monitor, so that nothing disappears without a trace."""
        if subject not in self.counts and len(self.counts) >= 2 * MAX_SUBJECTS:
            subject = NO_MODEL  # names in labels are anybody's to make up
        self.changed.add(subject)
        held = self.counts.setdefault(subject, {})
        for frame in frames:
            if frame.kind == "count":
                names = frame.columns["name"].texts()
                values = frame.ints("value").tolist()
            elif frame.kind == "command":
                names, values = ["commands_without_monitor"], [frame.n]
            else:
                names, values = ["over_cap"], [frame.n]
            for name, value in zip(names, values, strict=True):
                held[str(name)] = held.get(str(name), 0) + value

    def names(self) -> list[str]:
        """All that has readings: the subjects, and `model@` of what met no prediction."""
        return sorted({*self.subjects, *self.counts})

    def reading(self, subject: str) -> Reading:
        """A subject's numbers for /metrics."""
        state = self.subjects.get(subject)
        return self.counted(subject) if state is None else reading_of(state)

    def counted(self, subject: str) -> Reading:
        """Those of its numbers that are counters, which cost little."""
        state = self.subjects.get(subject)
        if state is None:
            return Reading(counters=dict(self.counts.get(subject, {})))
        return Reading(
            counters=dict(state.counters),
            detections=dict(state.detections),
            transitions=dict(state.policy.transitions),
        )

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Every subject's numbers."""
        return ((subject, self.reading(subject)) for subject in self.names())

    def configure(self, monitors: Monitors) -> None:
        """Another configuration from now on; subjects whose own did not change keep theirs."""
        for subject, state in self.subjects.items():
            spec = monitors.spec(state.subject.model)
            if spec != state.spec:
                name = state.subject
                self.remediation.configured(state.spec, spec, name.version, self.clock.now or 0)
                self.subjects[subject] = _load(state.dump(), spec)
        self.monitors = monitors

    def conclude(self) -> None:
        """No rows will come any more: decides the tasks that are open from those there are."""
        for state in self.subjects.values():
            engine.conclude(state)

    def dump(self) -> dict[str, Any]:
        """The shard as builtins, for the checkpoint."""
        return {
            "clock": self.clock.dump(),
            "sequencer": self.sequencer.dump(),
            "subjects": {name: state.dump() for name, state in self.subjects.items()},
            "counts": self.counts,
            "remediation": self.remediation.dump(),
            "traffic": {model: traffic.dump() for model, traffic in self.traffic.items()},
        }

    @classmethod
    def load(
        cls, dumped: dict[str, Any], monitors: Monitors, held: HeldRows | None = None
    ) -> DetectShard:
        """The shard that `dump` described."""
        shard = cls(monitors, held)
        shard.clock = ArrivalClock.load(dumped["clock"])
        shard.sequencer = Sequencer.load(dumped["sequencer"])
        shard.subjects = {
            name: _load(state, monitors.spec(Subject.parse(name).model))
            for name, state in dumped["subjects"].items()
        }
        shard.counts = {name: dict(counts) for name, counts in dumped["counts"].items()}
        shard.remediation = Remediation.load(dumped.get("remediation", {}))
        shard.traffic = {
            model: ModelTraffic.load(traffic)
            for model, traffic in dumped.get("traffic", {}).items()
        }
        return shard


def _watched(frame: Frame) -> Frame:
    """The frame without the columns that no monitor looks at."""
    return frame.without(UNWATCHED)


def _is_due(state: MonitorState, clock: int) -> bool:
    """Whether the clock alone makes something happen: a window closes, or incidents expire."""
    due = state.next_due
    gone = bool(state.policy.incidents) and clock >= state.last_row + silence.SILENT_MS
    return gone or (due is not None and clock >= due)


def _load(dumped: dict[str, Any], spec: MonitorSpec) -> MonitorState:
    state = load_state(dumped, spec)
    state.catalog = catalog()
    return state
