"""All features of one subject under watch: the bank, and ADWIN on the reference rank of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.banked import BankedRows
from detectors.classes import Decision, row_key
from detectors.feed import TICKS, RankFeed
from detectors.findings import (
    Z95,
    Finding,
    clock_text,
    histogram,
    severity_of_shift,
    shift_text,
    short,
)
from detectors.frame import Frame
from detectors.plan import feature_signal, plan_of
from detectors.reference import (
    CHANGED,
    Bins,
    Codes,
    FeatureProfile,
    ReferenceProfile,
    UnsupportedProfile,
)
from detectors.ring import History, Ring
from detectors.signals import Measure, Measures, Observed
from detectors.spec import MonitorSpec
from detectors.watch import Verdict, Watch, mean_and_error
from detectors.windows import Detection
from driftline.alerts import DetectorRef, Severity, Statistic

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

MEMORY: Final = 2_000
"""Rows that a recovery takes, and that evidence looks back over."""
TOLERANCE: Final = 0.05
"""How far a mean rank may be from the reference's; a shift by a fifth of a standard deviation."""


@dataclass(slots=True)
class FeatureWatch:
    """One feature: its detector and where it stands."""

    name: str
    measure: Measure
    bins: Bins
    phi: float
    feed: RankFeed
    watch: Watch

    @property
    def mean(self) -> float:
        """Mean rank of the reference."""
        counts, ranks = self.bins.counts, self.bins.ranks[: len(self.bins.counts)]
        return float(np.dot(counts, ranks) / max(int(counts.sum()), 1))


@dataclass(frozen=True, slots=True)
class _Ranks:
    """One feature's ranks in the rows held, for its watch."""

    history: History
    at: int
    feature: FeatureWatch
    memory: int = MEMORY

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bin codes of rows start to stop, reaching back at most `memory`."""
        held: NDArray[np.uint8] = self.history.of("codes", max(start, stop - MEMORY), stop)[self.at]
        return held

    def values(self, start: int, stop: int) -> tuple[Floats, Sequence[int]]:
        """Ranks and row numbers of the rows that have one."""
        codes = self.codes(start, stop)
        rows = np.flatnonzero(codes < CHANGED)
        first = self.history.held_from(max(start, stop - MEMORY))
        return self.feature.measure.ticks[codes[rows]] / TICKS, (rows + first).tolist()

    def deviates(self, values: Floats) -> bool:
        """Beyond the tolerance by at least one standard error."""
        mean, error = mean_and_error(values, self.feature.phi)
        return abs(mean - self.feature.mean) - error > TOLERANCE

    def is_back(self, values: Floats) -> bool:
        """Within the tolerance."""
        mean, _ = mean_and_error(values, self.feature.phi)
        return abs(mean - self.feature.mean) <= TOLERANCE


class Features:
    """The features of a subject that have a reference, in the order of its roster."""

    def __init__(self, names: Sequence[str], profile: ReferenceProfile, spec: MonitorSpec) -> None:
        self.plan = plan_of(profile, list(names), spec)
        self.banked = BankedRows(self.plan, names)
        self.opens = "adwin" in spec.detectors
        self.measures = Measures(names, profile.features)
        self.watched = [
            (at, _feature_watch(name, profile.features[name], self.measures[at]))
            for at, name in enumerate(names)
            if not isinstance(profile.features[name], UnsupportedProfile)
        ]
        self.ring = Ring(MEMORY)
        self.in_name_order = sorted(self.watched, key=lambda item: item[1].name)

    def prime(self, observed: Observed) -> None:
        """Shows the detectors the rows the reference was learned from, as a past without news."""
        for at, feature in self.watched:
            feature.feed.update(_ticks(observed, at))

    def step(
        self,
        frame: Frame,
        observed: Observed,
        said: tuple[Decision, Mapping[str, str]],
        detections: list[Detection],
    ) -> Iterator[Finding]:
        """Takes prediction rows in key order; adds to `detections`, and yields what was found.

        `said`: what predictions are, and which texts are other names of a class.
        """
        begin = self.ring.total
        codes = np.concatenate([observed.codes, self.banked.outputs.codes(frame, *said)])
        history = self.ring.extend({"codes": codes, "ts": frame.ints("ts")})
        yield from self.banked.step(frame, history, begin, detections)
        arrival, ts = frame.ints("arrival"), frame.ints("ts")
        ranked = observed.codes < CHANGED
        whole: Mask = ranked.all(axis=1)
        for at, feature in self.in_name_order:
            fired = _fired(feature, observed.codes[at], None if whole[at] else ranked[at])
            for row in fired:
                signal = feature_signal(feature.name)
                detections.append(Detection(int(arrival[row]), int(ts[row]), signal, "adwin"))
            if not self.opens and feature_signal(feature.name) in self.banked.signals:
                continue  # the bank alone opens alerts
            ranks = _Ranks(history, at, feature)
            changes = [begin + row for row in fired]
            for verdict in feature.watch.follow(ranks, begin, begin + frame.n, changes):
                yield _finding(ranks, verdict, frame, verdict.row - begin)

    @property
    def cold_starts(self) -> int:
        """Detectors that could not go on where they stood."""
        return sum(feature.feed.adwin.cold for _, feature in self.watched)

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> mean rank of the detector's window."""
        return {
            (feature_signal(feature.name), "adwin"): feature.feed.adwin.statistic
            for _, feature in self.watched
        } | self.banked.levels()

    def dump(self) -> dict[str, Any]:
        """As builtins; the profile is stored apart."""
        return {
            "ring": self.ring.dump(),
            "banked": self.banked.dump(),
            "feeds": [feature.feed.dump() for _, feature in self.watched],
            "watches": [feature.watch.dump() for _, feature in self.watched],
        }

    @classmethod
    def load(
        cls,
        dumped: Mapping[str, Any],
        names: Sequence[str],
        profile: ReferenceProfile,
        spec: MonitorSpec,
    ) -> Self:
        """Goes on from `dump`."""
        features = cls(names, profile, spec)
        features.banked.restore(dumped["banked"])
        features.ring = features.banked.fitted(Ring.load(dumped["ring"]))
        parts = zip(features.watched, dumped["feeds"], dumped["watches"], strict=True)
        for (_, feature), feed, watch in parts:
            feature.feed = RankFeed.load(feed)
            feature.watch = Watch.load(watch)
        return features


def _feature_watch(name: str, profile: FeatureProfile, measure: Measure) -> FeatureWatch:
    assert not isinstance(profile, UnsupportedProfile)
    assert measure.bins is not None
    return FeatureWatch(name, measure, measure.bins, profile.phi, RankFeed(profile.phi), Watch())


def _fired(feature: FeatureWatch, codes: Codes, ranked: Mask | None) -> list[int]:
    """The rows at which ADWIN fired; `ranked`: those with a rank, None where all have one."""
    measure = feature.measure
    if ranked is None:
        return feature.feed.of_codes(codes, measure.ticks, measure.ranks)
    rows = np.flatnonzero(ranked)
    fired = feature.feed.of_codes(codes[rows], measure.ticks, measure.ranks)
    return [int(rows[index]) for index in fired]


def _ticks(observed: Observed, at: int) -> Ints:
    """The ranks of one feature's rows that have one."""
    valid = observed.codes[at] < CHANGED
    ticks: Ints = observed.ticks[at]
    return ticks if valid.all() else ticks[valid]


def _finding(ranks: _Ranks, verdict: Verdict, frame: Frame, row: int) -> Finding:
    feature = ranks.feature
    stop = verdict.row + 1
    values, rows = ranks.values(verdict.split, stop)
    mean, error = mean_and_error(values, feature.phi)
    codes = ranks.codes(verdict.split, stop)
    current = np.bincount(codes[codes < CHANGED], minlength=len(feature.bins.counts))
    since = int(ranks.history.of("ts", rows[0], rows[0] + 1)[0])
    changed = verdict.state == "changed"
    severity: Severity = "info"
    if changed:
        severity = severity_of_shift(feature.bins.counts, current)
    interval = (max(0.0, mean - Z95 * error), min(1.0, mean + Z95 * error))
    name, moved = short(feature.name, 60), shift_text(feature.bins, current)
    how_sure = f"mean rank {mean:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
    told = f"reference {feature.mean:.2f}"
    summary = f"{name} is as in the reference again: {moved}; {how_sure}, {told}"
    if changed:
        summary = f"{name} changed about {clock_text(since)}: {moved}; {how_sure}, {told}"
    return Finding(
        state=verdict.state,
        kind="feature_drift",
        signal=feature_signal(feature.name),
        key=row_key(frame, row),
        arrival=int(frame.ints("arrival")[row]),
        ts=int(frame.ints("ts")[row]),
        change_point=since,
        severity=severity,
        detector=DetectorRef("adwin", {**feature.feed.adwin.params, "mean_of": feature.feed.size}),
        statistic=Statistic(
            name="mean_rank",
            value=mean,
            threshold=feature.mean + (TOLERANCE if mean >= feature.mean else -TOLERANCE),
            baseline=feature.mean,
            effect_size=(mean - feature.mean) * 12**0.5,  # ranks are uniform: sd 1 / sqrt(12)
            sample_size=len(values),
            interval=interval,
        ),
        histogram=histogram(feature.bins, current),
        summary=short(summary, 200),
    )
