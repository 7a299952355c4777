"""Configured detectors of prediction rows: ranks of features, prediction and score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.banked.moved import kind_of
from detectors.configured.feeds import FEATURE, Configured, chosen, restore
from detectors.findings import Finding
from detectors.frame import Frame
from detectors.ranked import About, Ranked, Ranking, finding
from detectors.reference.profile import CHANGED, Codes
from detectors.ring import History
from detectors.spec import MonitorSpec
from detectors.windows.windows import Detection

Ints: TypeAlias = NDArray[np.int64]

SHAPE: Final = "shape"


class ConfiguredRows:
    """The configured detectors of one subject's predictions, by signal and name."""

    def __init__(self, spec: MonitorSpec, rankings: Mapping[str, Ranking]) -> None:
        self.detectors = [
            (ranking, Configured(each, name, phi=r.phi, center=r.mean, scale=r.sd))
            for name, ranking in sorted(rankings.items())
            for r in (ranking,)
            for each in chosen(spec.configured, name)
        ]

    def prime(self, codes: Codes) -> None:
        """Shows them the features of the warm-up, shape (F, n), as a past without news."""
        for ranking, detector in self.detectors:
            if ranking.at < len(codes):
                _feed(detector, ranking, codes[ranking.at])

    def step(
        self, frame: Frame, history: History, begin: int, detections: list[Detection]
    ) -> Iterator[Finding]:
        """Takes the rows of a frame, the last of `history`, whose first is number `begin`.

        It adds to `detections`, and yields what was found by those that open alerts.
        """
        if not self.detectors:
            return
        held: Codes = history.columns["codes"]
        fresh = held[:, held.shape[1] - frame.n :]
        arrival, ts = frame.ints("arrival"), frame.ints("ts")
        for ranking, detector in self.detectors:
            fired = _feed(detector, ranking, fresh[ranking.at])
            signal, label = detector.signal, detector.label
            detections += [Detection(int(arrival[at]), int(ts[at]), signal, label) for at in fired]
            ranked = Ranked(history, ranking, shape=detector.detector.takes == SHAPE)
            changes = [begin + at for at in fired]
            for verdict in detector.follow(ranked, begin, begin + frame.n, changes):
                about = About(
                    signal.removeprefix(FEATURE), signal, kind_of(signal), detector.reference
                )
                found = finding(ranked, verdict, about, frame, verdict.row - begin)
                yield replace(found, configured=True)

    @property
    def cold_starts(self) -> int:
        """Detectors that could not go on where they stood."""
        return sum(detector.detector.cold for _, detector in self.detectors)

    def statistics(self) -> dict[tuple[str, str], float]:
        """(signal, detector) -> the detector's statistic."""
        return {(d.signal, d.label): d.detector.statistic for _, d in self.detectors}

    def dump(self) -> list[dict[str, Any]]:
        """As builtins."""
        return [detector.dump() for _, detector in self.detectors]

    def restore(self, dumped: list[dict[str, Any]]) -> None:
        """Each goes on where the same one stood."""
        restore([detector for _, detector in self.detectors], dumped)


def _feed(detector: Configured, ranking: Ranking, codes: Codes) -> list[int]:
    """The positions at which it fired; rows without a value are left out."""
    rows = np.flatnonzero(codes < CHANGED)
    return [int(rows[at]) for at in detector.update(ranking.ticks[codes[rows]])]
