"""All features of one subject under watch: the bank, and ADWIN on the reference rank of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.banked.rows import BankedRows
from detectors.configured.rows import ConfiguredRows
from detectors.feed import RankFeed
from detectors.findings import Finding
from detectors.frame import Frame
from detectors.plan import feature_signal, plan_of
from detectors.ranked import MEMORY, About, Ranked, Ranking, finding
from detectors.reference.profile import (
    CHANGED,
    Codes,
    FeatureProfile,
    ReferenceProfile,
    UnsupportedProfile,
)
from detectors.ring import Ring
from detectors.served import Said
from detectors.signals import Measure, Measures, Observed
from detectors.spec import MonitorSpec
from detectors.watch import Watch
from detectors.windows.windows import Detection
from driftline.alerts import DetectorRef

Ints: TypeAlias = NDArray[np.int64]


@dataclass(slots=True)
class FeatureWatch:
    """One feature: its detector and where it stands."""

    name: str
    measure: Measure
    feed: RankFeed
    watch: Watch
    ranking: Ranking

    @property
    def about(self) -> About:
        """What its findings are about."""
        adwin = self.feed.adwin
        detector = DetectorRef(adwin.name, {**adwin.params, "mean_of": self.feed.size})
        return About(self.name, feature_signal(self.name), "feature_drift", detector)

    def fired(self, codes: Codes, *, whole: bool) -> list[int]:
        """The rows at which ADWIN fired; `whole`: all of them have a rank."""
        measure = self.measure
        if whole:
            return self.feed.of_codes(codes, measure.ticks, measure.ranks)
        rows = (codes < CHANGED).nonzero()[0]
        fired = self.feed.of_codes(codes.take(rows), measure.ticks, measure.ranks)
        return [int(rows[index]) for index in fired]


class Features:
    """The features of a subject that have a reference, in the order of its roster."""

    def __init__(self, names: Sequence[str], profile: ReferenceProfile, spec: MonitorSpec) -> None:
        self.plan = plan_of(profile, list(names), spec)
        self.banked = BankedRows(self.plan, names)
        self.opens = "adwin" in spec.detectors
        self.measures = Measures(names, profile.features)
        self.watched = [
            (at, _feature_watch(at, name, profile.features[name], self.measures[at]))
            for at, name in enumerate(names)
            if not isinstance(profile.features[name], UnsupportedProfile)
        ]
        self.ring = Ring(MEMORY)
        self.in_name_order = sorted(self.watched, key=lambda item: item[1].name)
        self.configured = ConfiguredRows(spec, self._rankings())

    def _rankings(self) -> dict[str, Ranking]:
        """What configured detectors may run on, by signal."""
        found = {feature_signal(f.name): f.ranking for _, f in self.watched}
        for name, bins in self.banked.outputs.bins.items():
            found[name] = Ranking(self.banked.at[name], bins, bins.profile.phi)
        return found

    def prime(self, observed: Observed) -> None:
        """Shows the detectors the rows the reference was learned from, as a past without news."""
        for at, feature in self.watched:
            feature.feed.update(_ticks(observed, at))
        self.configured.prime(observed.codes)

    def step(
        self,
        frame: Frame,
        observed: Observed,
        said: Said,
        detections: list[Detection],
    ) -> Iterator[Finding]:
        """Takes prediction rows in key order; adds to `detections`, and yields what was found.

        `said`: what the model said in these rows.
        """
        begin = self.ring.total
        codes = np.concatenate([observed.codes, self.banked.outputs.codes(said)])
        history = self.ring.extend({"codes": codes, "ts": frame.ints("ts")})
        yield from self.banked.step(frame, history, begin, detections)
        arrival, ts = frame.ints("arrival"), frame.ints("ts")
        whole = (observed.codes.max(axis=1, initial=0) < CHANGED).tolist()
        for at, feature in self.in_name_order:
            fired = feature.fired(observed.codes[at], whole=whole[at])
            if not fired and feature.watch.idle:
                continue
            for row in fired:
                signal = feature_signal(feature.name)
                detections.append(Detection(int(arrival[row]), int(ts[row]), signal, "adwin"))
            if not self.opens and feature_signal(feature.name) in self.banked.signals:
                continue  # the bank alone opens alerts
            ranks = Ranked(history, feature.ranking)
            changes = [begin + row for row in fired]
            for verdict in feature.watch.follow(ranks, begin, begin + frame.n, changes):
                yield finding(ranks, verdict, feature.about, frame, verdict.row - begin)
        yield from self.configured.step(frame, history, begin, detections)

    @property
    def cold_starts(self) -> int:
        """Detectors that could not go on where they stood."""
        adwins = sum(feature.feed.adwin.cold for _, feature in self.watched)
        return adwins + self.configured.cold_starts

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> mean rank of the detector's window."""
        return {
            (feature_signal(feature.name), "adwin"): feature.feed.adwin.statistic
            for _, feature in self.watched
        } | (self.banked.levels() | self.configured.statistics())

    def dump(self) -> dict[str, Any]:
        """As builtins; the profile is stored apart."""
        return {
            "ring": self.ring.dump(),
            "banked": self.banked.dump(),
            "feeds": [feature.feed.dump() for _, feature in self.watched],
            "watches": [feature.watch.dump() for _, feature in self.watched],
            "configured": self.configured.dump(),
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
        features.configured.restore(dumped.get("configured", []))
        return features


def _feature_watch(at: int, name: str, profile: FeatureProfile, measure: Measure) -> FeatureWatch:
    assert not isinstance(profile, UnsupportedProfile)
    assert measure.bins is not None
    ranking = Ranking(at, measure.bins, profile.phi)
    return FeatureWatch(name, measure, RankFeed(profile.phi), Watch(), ranking)


def _ticks(observed: Observed, at: int) -> Ints:
    """The ranks of one feature's rows that have one."""
    codes = observed.codes[at]
    ticks: Ints = observed.ticks_of[at][codes[codes < CHANGED]]
    return ticks
