"""Errors of labels that are equally old: what quick labels say is compared with quick labels.

Where frauds are known after a day and the rest after weeks, the labels of a young cohort err far
more often than all labels ever will. So where ages differ, each band of age has a test of its own,
against the first labels of that band that came once labels of all its ages had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.arrays import dump_array, load_array
from detectors.bank import MIN_REFERENCE, Rate, Rates, Turn
from detectors.classes import Key
from detectors.error_signal import LEAST_TOLERANCE, SEVERE, SIGNAL, TOLERANCE
from detectors.findings import Finding, clock_text, short
from detectors.measures.cohorts import AGES, BANDS
from detectors.plan import ERROR
from detectors.reference.serial import phi
from driftline.alerts import DetectorRef, Statistic

Ints: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.bool_]

_MARK_EVERY: Final = 32
_MARKS: Final = 512


def _no_bits() -> Bits:
    return np.zeros(0, np.bool_)


@dataclass(slots=True)
class _Band:
    """One band of age.

    `marks`: event time of every 32nd row, the last ones; `since`: of an open change, ms.
    """

    learning: Bits = field(default_factory=_no_bits)
    rate: Rate | None = None
    tests: Rates | None = None
    marks: list[int] = field(default_factory=list)
    since: int | None = None
    told: bool = False


class AgedErrors:
    """The 0/1 errors of one subject by age of the label."""

    def __init__(self, warmup: int, horizon_ms: int) -> None:
        self.warmup = max(warmup, MIN_REFERENCE)
        self.limits = [min(limit, horizon_ms) for limit in (*AGES, horizon_ms)]
        self.bands = [_Band() for _ in BANDS]

    def step(
        self,
        rows: tuple[Ints, Ints, Floats],
        first: int,
        log_c: Mapping[str, float],
        key_of: Callable[[int], Key],
        in_force: Callable[[Key], bool],
    ) -> Iterator[Finding]:
        """Takes first labels of on-time predictions, in key order, and yields what they tell.

        Args:
            rows: `ts` of the prediction, arrival of the label, error 0 or 1; shape (n,) each.
            first: arrival of the subject's first prediction, ms.
            log_c: thresholds by signal; of the error's the bands share equally.
            key_of: order key of row i.
            in_force: whether age matters at a key, so that these tests are the ones to hear.
        """
        ts, arrival, error = rows
        band_of = np.searchsorted(AGES, arrival - ts, "right")
        found: list[tuple[int, int, Turn]] = []
        for at in np.bincount(band_of).nonzero()[0].tolist():
            band = self.bands[at]
            which = np.flatnonzero((band_of == at) & (arrival >= first + self.limits[at]))
            if len(which):
                taken = self._learn(band, error[which] > 0, log_c)
                which = which[taken:]
            if band.tests is None or not len(which):
                continue
            begin = band.tests.rows
            fresh = ts[which][-begin % _MARK_EVERY :: _MARK_EVERY].tolist()
            band.marks = [*band.marks, *fresh][-_MARKS:]
            turns = band.tests.step((error[which] > 0)[None, :])
            found += [(int(which[turn.row - begin]), at, turn) for turn in turns]
        for row, at, turn in sorted(found, key=lambda each: each[:2]):
            said = _turn(self.bands[at], turn, key_of(row), in_force)
            if said is not None:
                yield self._finding(at, turn, said, (key_of(row), int(arrival[row]), int(ts[row])))

    def _learn(self, band: _Band, errors: Bits, log_c: Mapping[str, float]) -> int:
        """The first labels make the reference; returns how many of these did."""
        if band.tests is not None or ERROR not in log_c:
            return 0 if band.tests is not None else len(errors)
        taken = min(self.warmup - len(band.learning), len(errors))
        band.learning = np.concatenate([band.learning, errors[:taken]])
        if len(band.learning) == self.warmup:
            factor, _ = phi(band.learning[:, None].astype(np.float64))
            hits = int(np.count_nonzero(band.learning))
            band.rate = _rate(hits, self.warmup, factor)
            band.tests = Rates([band.rate], {ERROR: log_c[ERROR] + log(len(self.bands))})
            band.learning = _no_bits()
        return taken

    def _finding(self, at: int, turn: Turn, since: int, place: tuple[Key, int, int]) -> Finding:
        key, arrival, ts = place
        rate = self.bands[at].rate
        assert rate is not None
        before, over = rate.hits / rate.n, turn.state == "closed"
        what = (
            f"labels aged {BANDS[at]}: error rate {turn.effect:.1%}, such labels had {before:.1%}"
        )
        summary = f"worse since about {clock_text(since)}: {what}"
        if over:
            summary = f"as good again: {what}"
        grave = turn.effect >= SEVERE * before
        return Finding(
            state="recovered" if over else "changed",
            kind="concept_drift",
            signal=SIGNAL,
            key=key,
            arrival=arrival,
            ts=ts,
            change_point=since,
            severity="info" if over else "critical" if grave else "warning",
            detector=DetectorRef(
                f"srbinary_age_{BANDS[at]}", {"log_threshold": round(turn.log_threshold, 6)}
            ),
            statistic=Statistic(
                name="error_rate",
                value=turn.effect,
                threshold=rate.limits[1],
                baseline=before,
                effect_size=turn.effect - before,
                sample_size=turn.events,
            ),
            summary=short(summary, 200),
        )

    # -- snapshots -----------------------------------------------------------------------------

    def dump(self) -> list[dict[str, Any]]:
        """As builtins."""
        return [
            {
                "learning": dump_array(band.learning.view(np.uint8)),
                "rate": None if (r := band.rate) is None else [r.hits, r.n, r.phi],
                "tests": None if band.tests is None else band.tests.dump(),
                "log_c": None if band.tests is None else float(band.tests.evidence.log_c[0]),
                "marks": band.marks,
                "since": band.since,
                "told": band.told,
            }
            for band in self.bands
        ]

    def restore(self, dumped: list[dict[str, Any]]) -> None:
        """Goes on from `dump`."""
        for band, each in zip(self.bands, dumped, strict=True):
            band.learning = load_array(each["learning"]).astype(np.bool_)
            band.marks, band.since, band.told = each["marks"], each["since"], each["told"]
            if each["rate"] is not None:
                band.rate = _rate(*each["rate"])
                band.tests = Rates([band.rate], {ERROR: each["log_c"]})
                band.tests.restore(each["tests"])

    def retune(self, log_c: Mapping[str, float]) -> None:
        """Sets new thresholds, such as for another budget."""
        for band in self.bands:
            if band.tests is not None and ERROR in log_c:
                band.tests.retune({ERROR: log_c[ERROR] + log(len(self.bands))})


def _turn(band: _Band, turn: Turn, key: Key, in_force: Callable[[Key], bool]) -> int | None:
    """Since when, ms, where there is something to say."""
    if turn.state == "opened":
        assert band.tests is not None
        first = (band.tests.rows + _MARK_EVERY - 1) // _MARK_EVERY - len(band.marks)
        mark = min(max(turn.since // _MARK_EVERY - first, 0), len(band.marks) - 1)
        band.since, band.told = band.marks[mark], in_force(key)
        return band.since if band.told else None
    if turn.state == "closed" and band.since is not None:
        since, told = band.since, band.told
        band.since, band.told = None, False
        return since if told else None
    return None


def _rate(hits: int, n: int, factor: float) -> Rate:
    return Rate(ERROR, hits, n, factor, relative=TOLERANCE, absolute=LEAST_TOLERANCE)
