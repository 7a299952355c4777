"""MonitorState: everything a monitor knows about one subject, and its snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import msgspec

from detectors.api import Value
from detectors.baseline import Baseline
from detectors.classes import ClassTable, Decision, Key, aliases_of
from detectors.drift.page_hinkley import PageHinkley
from detectors.errors.concept import Concept
from detectors.features import Features
from detectors.findings import Finding
from detectors.flow.thinning import Thinning
from detectors.frame import Frame
from detectors.frame_codec import decode_frame, encode_frame
from detectors.guess import Guess
from detectors.labels.aged_errors import AgedErrors
from detectors.labels.label_bank import LabelBank
from detectors.labels.label_times import LabelTimes
from detectors.measures.estimate import Estimate
from detectors.policy import PolicyState
from detectors.reference.profile import ReferenceProfile
from detectors.registry import METRICS, AnyMetric, every_metric, metrics_of
from detectors.served import ATTRIBUTION_COLUMN, SCORE
from detectors.signals import Roster
from detectors.spec import MonitorSpec, config_hash
from detectors.thresholds import Thresholds
from detectors.volume.watch import Volume
from detectors.windows.expectation import Expectation
from detectors.windows.measured import measure
from detectors.windows.recent import Recent
from detectors.windows.summary import estimates, numbers
from detectors.windows.tallies import Tally, load_tally
from detectors.windows.windows import NO_WINDOWS, Windows
from driftline.alerts import WindowSummary
from driftline.errors import UnknownVersion
from driftline.subject import Subject

SCHEMA: Final = 1
COUNTERS: Final = ("predictions", "joined", "late_predictions", "late_outcomes", "unknown_class")


@dataclass(slots=True)
class Learning:
    """The warm-up: rows of the reference to be, and outcomes that wait for the task's decision."""

    rows: list[Frame] = field(default_factory=list)
    outcomes: list[Frame] = field(default_factory=list)
    last: Key = ()
    """Order key of the last row."""
    attributions: Roster = field(default_factory=partial(Roster, None, (ATTRIBUTION_COLUMN,)))
    """Features with attributions, as they were met: no more are kept than features are."""

    @property
    def n(self) -> int:
        """Prediction rows held."""
        return sum(frame.n for frame in self.rows)

    @property
    def waiting(self) -> int:
        """Outcome rows held."""
        return sum(frame.n for frame in self.outcomes)


@dataclass(slots=True)
class MonitorState:
    """The monitor of one subject. `engine.step` owns the one it gets and returns the one to keep.

    Attributes:
        counters: exact counts since the subject began; see `COUNTERS`, and those of count frames.
        decision: task, positive class and classes; None while they are being learned.
        settled: the decision that a rebase keeps while it learns a new reference.
        last_row: arrival of the last prediction or outcome, ms; 0: there was none.
        decided: order key of the row that decided the task; outcomes take effect after it.
        guess: the task while it is learned, and what scores are probabilities of.
        expectation: estimated performance; None without scores, and in the warm-up.
        recent: the last labels.
        baseline: performance in the reference period.
        catalog: metrics by name that there are; whoever built the state may have added to them.
        total: all outcomes since the subject began, those of late predictions included.
        detections: (signal, detector) -> changes it found since the subject began.
        summaries: windows to publish; `take_windows` empties it.
        volume: the traffic of predictions.
        label_times: when labels come, and how many.
        labels: what they say, and by how much predictions miss them.
        aged: errors by age of the label.
        thinning: which outcomes were left out while they waited for the decision.
        found: what published windows told; the step that published them empties it.
    """

    subject: Subject
    spec: MonitorSpec
    windows: Windows
    table: ClassTable
    roster: Roster
    concept: Concept
    policy: PolicyState
    thresholds: Thresholds
    label_times: LabelTimes
    labels: LabelBank
    aged: AgedErrors
    thinning: Thinning = field(default_factory=Thinning)
    learning: Learning | None = field(default_factory=Learning)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    decision: Decision | None = None
    settled: Decision | None = None
    last_row: int = 0
    decided: Key = ()
    profile: ReferenceProfile | None = None
    features: Features | None = None
    score: PageHinkley | None = None
    total: Tally | None = None
    guess: Guess = field(default_factory=Guess)
    expectation: Expectation | None = None
    recent: Recent = field(default_factory=Recent)
    baseline: Baseline = field(default_factory=lambda: Baseline(0))
    catalog: Mapping[str, AnyMetric] = field(default_factory=lambda: METRICS)
    detections: dict[tuple[str, str], int] = field(default_factory=dict)
    summaries: list[WindowSummary] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    volume: Volume = field(default_factory=Volume)

    @property
    def next_due(self) -> int | None:
        """An arrival before which the clock alone makes nothing happen; None: it never does."""
        due = (self.windows.next_due, self.volume.next_due, self.label_times.next_due)
        return min((at for at in due if at is not None), default=None)

    @property
    def log_c(self) -> Mapping[str, float]:
        """Thresholds by signal; empty while there is no reference."""
        return {} if self.features is None else self.features.plan.log_c

    def take_windows(self) -> list[WindowSummary]:
        """The windows closed or revised since the last call, in the order they were."""
        taken, self.summaries = self.summaries, []
        return taken

    def take_found(self) -> list[Finding]:
        """What windows told since the last call."""
        taken, self.found = self.found, []
        return taken

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a counter."""
        if n:
            self.counters[name] = self.counters.get(name, 0) + n

    # -- what others show ----------------------------------------------------------------------

    @property
    def task(self) -> str | None:
        """The task, None until it is decided."""
        return None if self.decision is None else self.decision.task

    def values(self, over: Literal["all", "last_1000"] = "all") -> dict[str, Value]:
        """Every metric with its value or why it has none, over all outcomes or the last 1,000.

        The last 1,000 leave out outcomes of late predictions, and do not follow revisions.
        """
        if self.decision is None:
            return {}
        tally = self.total if over == "all" else self.recent.tally()
        metrics = metrics_of(self.spec, self.decision.task, self.catalog)
        return measure(tally, self.decision, self.table, metrics, self.guess.positive)

    def every_metric(self, tally: Tally) -> dict[str, float]:
        """All that can be computed of a tally, whatever the specification asks for."""
        assert self.decision is not None
        metrics = every_metric(self.spec, self.decision.task, self.catalog)
        return numbers(measure(tally, self.decision, self.table, metrics, self.guess.positive))

    def estimated(self) -> dict[str, Estimate]:
        """Performance that is expected of the last 1,000 predictions; empty where none can be."""
        known = self.expectation
        if known is None or known.calibration is None or self.decision is None:
            return {}
        return estimates(known.calibration, known.latest(), self.guess.positive)

    def decided_at(self, arrival: int) -> Decision | None:
        """The task as far as rows before this arrival told it."""
        if self.profile is not None or self.settled is not None:
            return self.decision
        return self.guess.decision(self.spec, arrival) if self.guess.known(arrival) else None

    def metrics(self, over: Literal["all", "last_1000"] = "all") -> dict[str, float]:
        """The metrics that have a value."""
        return numbers(self.values(over))

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> the detector's statistic, for display."""
        shown = {} if self.features is None else self.features.statistics()
        shown |= self.concept.statistics()
        if self.score is not None:
            shown[SCORE, self.score.name] = self.score.statistic
        return shown | self.volume.statistics() | self.labels.statistics()

    @property
    def warmup_left(self) -> int:
        """Prediction rows until the reference is complete; 0 where there is one."""
        return 0 if self.learning is None else self.spec.warmup - self.learning.n

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As builtins: numbers and bytes; only River's own objects are pickles. Call between steps.

        `profile` is the part that never changes once it is there.
        """
        return {
            "schema": SCHEMA,
            "subject": str(self.subject),
            "config_hash": config_hash(self.spec),
            "window_ms": self.spec.window_ms,
            "profile": None if self.profile is None else msgspec.to_builtins(self.profile),
            "counters": self.counters,
            "decision": None if self.decision is None else _dump_decision(self.decision),
            "last_row": self.last_row,
            "settled": None if self.settled is None else _dump_decision(self.settled),
            "decided": list(self.decided),
            "windows": self.windows.dump(),
            "table": self.table.dump(),
            "roster": self.roster.dump(),
            "concept": self.concept.dump(),
            "policy": self.policy.dump(),
            "thresholds": self.thresholds.dump(),
            "learning": None if self.learning is None else _dump_learning(self.learning),
            "features": None if self.features is None else self.features.dump(),
            "score": None if self.score is None else self.score.dump(),
            "total": None if self.total is None else self.total.dump(),
            "guess": self.guess.dump(),
            "expectation": None if self.expectation is None else self.expectation.dump(),
            "recent": self.recent.dump(),
            "baseline": self.baseline.dump(),
            "volume": self.volume.dump(),
            "label_times": self.label_times.dump(),
            "labels": self.labels.dump(),
            "aged": self.aged.dump(),
            "thinning": self.thinning.dump(),
            "detections": [[*key, n] for key, n in self.detections.items()],
            "summaries": [msgspec.to_builtins(summary) for summary in self.summaries],
        }


def load(dumped: Mapping[str, Any], spec: MonitorSpec) -> MonitorState:
    """The state that was dumped, going on under `spec`, which may be a newer one.

    Raises: UnknownVersion for the snapshot of a newer Driftline.
    """
    if dumped["schema"] != SCHEMA:
        raise UnknownVersion(dumped["schema"], "monitor snapshot")
    subject = Subject.parse(dumped["subject"])
    aliases = aliases_of(spec.classes)
    roster = Roster(spec.features)
    roster.restore(dumped["roster"])
    windows = dumped["windows"] if dumped["window_ms"] == spec.window_ms else NO_WINDOWS
    concept = Concept.load(dumped["concept"], spec.warmup)
    state = MonitorState(
        subject,
        spec,
        windows=Windows.load(windows, spec),
        table=ClassTable.load(dumped["table"], aliases),
        roster=roster,
        concept=concept,
        policy=PolicyState.load(dumped["policy"], subject, spec),
        thresholds=Thresholds.load(dumped["thresholds"], spec),
        label_times=_label_times(dumped, spec),
        labels=LabelBank(spec.warmup),
        aged=AgedErrors(spec.warmup, spec.horizon_ms),
        learning=None if dumped["learning"] is None else _load_learning(dumped["learning"]),
        counters=dict(dumped["counters"]),
        decided=tuple(dumped["decided"]),
        total=load_tally(dumped["total"]),
        guess=Guess.load(dumped["guess"]),
        recent=Recent.load(dumped["recent"]),
        baseline=Baseline.load(dumped.get("baseline"), spec.warmup),
        volume=Volume.load(dumped["volume"]) if "volume" in dumped else Volume(),
    )
    if dumped["decision"] is not None:
        state.decision = Decision(**dumped["decision"])
    state.last_row = dumped.get("last_row", 0)
    state.thinning = Thinning.load(dumped.get("thinning"))
    if dumped.get("settled") is not None:
        state.settled = Decision(**dumped["settled"])
    if dumped["expectation"] is not None:
        state.expectation = Expectation.load(dumped["expectation"])
    if dumped["profile"] is not None:
        state.profile = msgspec.convert(dumped["profile"], ReferenceProfile)
        state.features = Features.load(dumped["features"], roster.names, state.profile, spec)
        state.label_times.retune(state.log_c)
        concept.go_on_with(state.features.plan, spec, dumped["concept"])
    if dumped.get("aged") is not None:
        state.aged.restore(dumped["aged"])
        state.aged.retune(state.log_c)
    if dumped.get("labels") is not None:
        plan = None if state.features is None else state.features.plan
        state.labels = LabelBank.load(dumped["labels"], spec.warmup, plan)
    if dumped["score"] is not None:
        state.score = PageHinkley.load(dumped["score"])
    state.detections = {(signal, detector): n for signal, detector, n in dumped["detections"]}
    state.summaries = [msgspec.convert(s, WindowSummary) for s in dumped["summaries"]]
    state.count("cold_starts", _cold_starts(state))
    return state


def _label_times(dumped: Mapping[str, Any], spec: MonitorSpec) -> LabelTimes:
    found = dumped.get("label_times")
    return LabelTimes(spec) if found is None else LabelTimes.load(found, spec)


def _cold_starts(state: MonitorState) -> int:
    features = 0 if state.features is None else state.features.cold_starts
    return features + state.concept.cold_starts + (state.score is not None and state.score.cold)


def _dump_decision(decision: Decision) -> dict[str, Any]:
    return {
        "task": decision.task,
        "positive": decision.positive,
        "classes": decision.classes,
    }


def _dump_learning(learning: Learning) -> dict[str, Any]:
    return {
        "rows": [encode_frame(frame) for frame in learning.rows],
        "outcomes": [encode_frame(frame) for frame in learning.outcomes],
        "last": list(learning.last),
        "attributions": learning.attributions.dump(),
    }


def _load_learning(dumped: Mapping[str, Any]) -> Learning:
    learning = Learning(
        [decode_frame(frame) for frame in dumped["rows"]],
        [decode_frame(frame) for frame in dumped["outcomes"]],
        tuple(dumped["last"]),
    )
    if "attributions" in dumped:
        learning.attributions.restore(dumped["attributions"])
    return learning
