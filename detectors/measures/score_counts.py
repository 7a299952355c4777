"""Labels by score in bounded memory, and the areas under the curves that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from detectors.arrays import dump_array, load_array
from detectors.measures.estimate import UNIT, Estimate, around, undefined

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_HALF: Final = int(np.float64(0.5).view(np.int64))
CAP: Final = 1024


def score_keys(scores: Floats) -> Ints:
    """Scores in [0, 1] as integers: the same order, one key per float, twice as fine at both ends.

    Below 0.5 the bits of the score, above it those of 1 - score (exact there), mirrored: cut off
    at the same bit, they are cells of equal relative width around 0 and around 1, as on a log-odds
    scale.
    """
    low = scores <= 0.5  # noqa: PLR2004  # the middle of the scale
    folded = np.where(low, scores, 1.0 - scores) + 0.0  # + 0.0: no negative zero
    bits = folded.view(np.int64)
    return np.where(low, bits, 2 * _HALF - bits)


def _no_keys() -> Ints:
    return np.zeros(0, np.int64)


def _no_counts() -> Ints:
    return np.zeros((0, 2), np.int64)


@dataclass(slots=True)
class ScoreCounts:
    """How often each score came with a positive label and with another one.

    Every distinct score has its bin while there are at most `cap`. Then the keys lose their last
    bit, again and again, until the bins fit. `level`, the bits lost, follows from the set of scores
    ever seen alone, so neither order, batching nor merging changes anything. (A score whose labels
    were all taken out keeps its empty bin, for this reason.)

    Memory: 24 bytes a bin; 24 KiB at most with the default cap.
    """

    cap: int = CAP
    level: int = 0
    keys: Ints = field(default_factory=_no_keys)
    counts: Ints = field(default_factory=_no_counts)
    """Shape (bins, 2): other labels, positive labels."""

    def add(self, scores: Floats, positive: NDArray[np.bool_], sign: Ints) -> None:
        """Counts rows (sign 1) or takes them out (sign -1).

        Args:
            scores: in [0, 1], shape (n,).
            positive: whether the label is the positive class.
            sign: 1 or -1.
        """
        if not len(scores):
            return
        found = score_keys(scores) >> self.level
        if int(sign.min()) == 1:
            self._take(*_counted(found, positive))
            return
        keys, where = np.unique(found, return_inverse=True)
        flat = np.bincount(where * 2 + positive, weights=sign, minlength=2 * len(keys))
        self._take(keys, flat.astype(np.int64).reshape(-1, 2))

    def _take(self, keys: Ints, counts: Ints) -> None:
        if not len(self.keys):
            self.keys, self.counts = keys, counts
            self._fit()
            return
        at = self.keys.searchsorted(keys)
        known = self.keys.take(at, mode="clip") == keys
        if known.all():
            self.counts[at] += counts
            return
        self.counts[at[known]] += counts[known]
        new = ~known
        merged = np.concatenate([self.keys, keys[new]])
        order = merged.argsort(kind="stable")  # two rising runs: no more than a merge
        self.keys = merged[order]
        self.counts = np.concatenate([self.counts, counts[new]])[order]
        self._fit()

    def _fit(self) -> None:
        if len(self.keys) <= self.cap:
            return
        # Two neighbours share a bin once all bits they differ in are lost: as many as it takes.
        apart = self.keys[1:] ^ self.keys[:-1]
        first_over = int(np.partition(apart, -self.cap)[-self.cap])
        self._coarsen(self.level + first_over.bit_length())

    def _coarsen(self, level: int) -> None:
        keys = self.keys >> (level - self.level)
        self.level = level
        if len(keys):
            first = _runs(keys)
            self.keys, self.counts = keys[first], np.add.reduceat(self.counts, first, axis=0)

    def merge(self, other: ScoreCounts) -> None:
        """Adds the counts of another with the same cap."""
        if other.level > self.level:
            self._coarsen(other.level)
        if not len(other.keys):
            return
        keys = other.keys >> (self.level - other.level)
        first = _runs(keys)
        self._take(keys[first], np.add.reduceat(other.counts, first, axis=0))

    @property
    def exact(self) -> bool:
        """Every distinct score still has its own bin."""
        return self.level == 0

    @property
    def others(self) -> Ints:
        """Labels of other classes per bin, from the lowest score."""
        return self.counts[:, 0]

    @property
    def positives(self) -> Ints:
        """Labels of the positive class per bin, from the lowest score."""
        return self.counts[:, 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreCounts) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "cap": self.cap,
            "level": self.level,
            "keys": dump_array(self.keys),
            "counts": dump_array(self.counts),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Goes on from `dump`."""
        keys, counts = load_array(dumped["keys"]), load_array(dumped["counts"])
        return cls(dumped["cap"], dumped["level"], keys, counts)


def _counted(keys: Ints, positive: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """(keys, rising; their counts, shape (k, 2)): sorting once is faster than `np.unique`."""
    packed = keys.view(np.uint64) << np.uint64(1) | positive
    packed.sort()
    hits = (packed & np.uint64(1)).astype(np.int64)
    found = (packed >> np.uint64(1)).view(np.int64)
    first = _runs(found)
    counts = np.empty((len(first), 2), np.int64)
    counts[:, 1] = np.add.reduceat(hits, first)
    counts[:-1, 0] = first[1:] - first[:-1]
    counts[-1, 0] = len(found) - first[-1]
    counts[:, 0] -= counts[:, 1]
    return found[first], counts


def _runs(keys: Ints) -> Ints:
    """Where each run of equal keys begins, of at least one key."""
    begins = np.empty(len(keys), bool)
    begins[0] = True
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    return begins.nonzero()[0]


def _why_undefined(positives: int, others: int) -> str:
    if not positives and not others:
        return "no scores"
    return "no positive labels" if not positives else "no negative labels"


def roc_auc(scores: ScoreCounts) -> Estimate:
    """Area under the ROC curve: how often a positive scores above another, ties half.

    `error` is 0 while bins hold one score each; then half the share of pairs within bins, whose
    order is not known.

    Source of the standard error: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837.
    """
    pos, neg = scores.positives, scores.others
    p, n = int(pos.sum()), int(neg.sum())
    if not p or not n:
        return undefined(_why_undefined(p, n))
    below = np.cumsum(neg) - neg
    above = p - np.cumsum(pos)
    area = int((pos * (2 * below + neg)).sum()) / (2 * p * n)
    beats = (below + neg / 2) / n
    beaten = (above + pos / 2) / p
    of_positives = float((pos * (beats - area) ** 2).sum()) / max(p - 1, 1) / p
    of_others = float((neg * (beaten - area) ** 2).sum()) / max(n - 1, 1) / n
    unknown = 0.0 if scores.exact else int((pos * neg).sum()) / (2 * p * n)
    return around(area, sqrt(of_positives + of_others), p + n, UNIT, unknown)


def pr_auc(scores: ScoreCounts) -> Estimate:
    """Average precision: mean over positives of the precision at their score.

    While bins hold one score each it is exact (error 0) and ties share one threshold. Then scores
    are taken as spread evenly within a bin, and `error` reaches to the least and the greatest value
    that any order within the bins could give.

    Source: Boyd, Eng & Page 2013, "Area under the Precision-Recall Curve" (the interpolation, and
    the binomial standard error).
    """
    pos, neg = scores.positives[::-1], scores.others[::-1]
    p, n = int(pos.sum()), int(neg.sum())
    if not p:
        return undefined(_why_undefined(p, n))
    held = pos > 0
    in_bin, others = pos[held], neg[held]
    tp = np.cumsum(pos)[held] - in_bin
    fp = np.cumsum(neg)[held] - others
    if scores.exact:
        area = float((in_bin * ((tp + in_bin) / (tp + in_bin + fp + others))).sum()) / p
        return around(area, sqrt(max(area * (1 - area), 0.0) / p), p, UNIT)
    low, area, high = _areas_of_bins(in_bin, others, tp, fp)
    low, area, high = low / p, area / p, high / p
    unknown = max(area - low, high - area, 0.0)
    return around(area, sqrt(max(area * (1 - area), 0.0) / p), p, UNIT, unknown)


def _areas_of_bins(pos: Ints, neg: Ints, tp: Ints, fp: Ints) -> tuple[float, float, float]:
    """Least, even and greatest sum of precisions of the positives in each bin, `tp` before it."""
    worst = fp + neg
    least = pos - worst * (digamma(tp + pos + worst + 1.0) - digamma(tp + worst + 1.0))
    slope = 1.0 + neg / pos
    before = np.maximum(tp + fp, 1e-9)  # at 0 the logarithm's factor is 0, too
    rise = np.log1p(slope * pos / before)
    even = pos / slope + (tp - (tp + fp) / slope) / slope * rise
    best = pos * ((tp + pos) / (tp + pos + fp))
    return float(least.sum()), float(np.clip(even, least, best).sum()), float(best.sum())
