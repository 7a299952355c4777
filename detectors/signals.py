"""Frame columns as signals: each feature's bin codes and ranks, the score, what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.binning import MOST_BOUNDS, NumberBins
from detectors.feed import boxed, to_ticks
from detectors.frame import Column, Frame
from detectors.reference.profile import (
    CHANGED,
    MISSING,
    Bins,
    Codes,
    FeatureProfile,
    NumericProfile,
    UnsupportedProfile,
)

Ints: TypeAlias = NDArray[np.int64]

PREFIXES: Final = ("x:", "c:", "b:", "u:")
"""Columns of a feature by type: number, text, boolean, unsupported."""
MAX_FEATURES: Final = 500
OVER_CAP: Final = "features_over_cap"

_PREFIX_OF = {"number": "x:", "text": "c:", "boolean": "b:", "unsupported": "u:"}


@dataclass(frozen=True, slots=True)
class Observed:
    """Features of prediction rows. All but `present` concern features with a profile.

    Attributes:
        present: features by name order of the roster, rows: a value of any type; shape (F, n).
        codes: bin codes, `MISSING` or `CHANGED`; shape (F, n).
        ticks_of: reference rank of each code in 1/TICKS, 0 where there is none; shape (F, 256).
    """

    present: NDArray[np.bool_]
    codes: Codes
    ticks_of: Ints

    def by_code(self, which: slice | Ints) -> Ints:
        """Some rows by feature and code, shape (F, 256)."""
        codes = self.codes[:, which]
        features = len(codes)
        at = codes + np.arange(0, features * 256, 256)[:, None]
        return np.bincount(at.ravel(), minlength=features * 256).reshape(features, 256)


@dataclass(slots=True)
class Roster:
    """The features of a subject, numbered as they were met; over the cap only a counter grows.

    `since`: arrival of the first row that had the feature. Names met when `closed` are *new*:
    counted per name up to the cap, and beyond it in all.
    """

    wanted: Collection[str] | None = None
    prefixes: Collection[str] = PREFIXES
    names: list[str] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)
    over_cap: int = 0
    closed: bool = False
    _sorted: list[int] = field(default_factory=list)

    def meet(self, frame: Frame) -> None:
        """Takes note of the features of a frame's rows, in row order, then in name order."""
        unknown = self._unknown(frame)
        if not unknown:
            return
        firsts = [(int(np.argmax(mask)), name) for name, mask in unknown.items()]
        arrivals = frame.ints("arrival")
        for row, name in sorted(firsts):
            if self.closed:
                self._count_new(name, int(np.count_nonzero(unknown[name])))
            elif len(self.names) < MAX_FEATURES:
                self.add(name, int(arrivals[row]))
            else:
                self.over_cap += int(np.count_nonzero(unknown[name]))

    def add(self, name: str, since: int) -> None:
        """Watches a feature."""
        self.index[name] = len(self.names)
        self.names.append(name)
        self.since.append(since)

    def in_name_order(self) -> list[int]:
        """The numbers of the features, by name."""
        if len(self._sorted) != len(self.names):
            self._sorted = sorted(range(len(self.names)), key=lambda number: self.names[number])
        return self._sorted

    def _count_new(self, name: str, n: int) -> None:
        if name in self.new or len(self.new) < MAX_FEATURES:
            self.new[name] = self.new.get(name, 0) + n
        else:
            self.over_cap += n

    def _unknown(self, frame: Frame) -> dict[str, NDArray[np.bool_]]:
        """Features that are not on the roster and have a value here, with the rows that do."""
        found: dict[str, NDArray[np.bool_]] = {}
        for key, column in frame.columns.items():
            if key[:2] not in self.prefixes or key[2:] in self.index:
                continue
            name = key[2:]
            if self.wanted is not None and name not in self.wanted:
                continue
            mask = column.mask
            if mask.any():
                found[name] = found[name] | mask if name in found else mask
        return found

    def dump(self) -> dict[str, Any]:
        """As builtins."""
        return {
            "names": self.names,
            "since": self.since,
            "new": self.new,
            "over_cap": self.over_cap,
            "closed": self.closed,
        }

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Goes on from `dump`."""
        for name, since in zip(dumped["names"], dumped["since"], strict=True):
            self.add(name, since)
        self.new, self.over_cap = dict(dumped["new"]), dumped["over_cap"]
        self.closed = dumped["closed"]


def present(frame: Frame, roster: Roster) -> NDArray[np.bool_]:
    """Which rows have which feature of the roster, as a value of any type; shape (F, n)."""
    found = np.zeros((len(roster.names), frame.n), bool)
    for key, column in frame.columns.items():
        if key[:2] in PREFIXES and (at := roster.index.get(key[2:])) is not None:
            found[at] |= True if column.valid is None else column.valid
    return found


class Measure:
    """One feature's profile as a measure of its columns: codes and ranks."""

    __slots__ = ("bins", "key", "others", "ranks", "ticks")

    def __init__(self, name: str, profile: FeatureProfile) -> None:
        kind = kind_of(profile)
        prefix = _PREFIX_OF[kind]
        self.key = prefix + name
        self.others = tuple(other + name for other in PREFIXES if other != prefix)
        self.bins = None if isinstance(profile, UnsupportedProfile) else Bins(profile)
        self.ticks = np.zeros(256, np.int64) if self.bins is None else to_ticks(self.bins.ranks)
        self.ranks = boxed(self.ticks[: 1 if self.bins is None else len(self.bins.counts)])

    @property
    def bounds(self) -> Floats | None:
        """Of a number, those a value is compared with to find its code, where they are few."""
        if self.bins is None or not isinstance(self.bins.profile, NumericProfile):
            return None
        bounds = self.bins.bounds
        return bounds if len(bounds) <= MOST_BOUNDS else None

    def codes(self, columns: Mapping[str, Column], n: int) -> Codes:
        """The code of each of n rows, shape (n,)."""
        column = columns.get(self.key)
        if column is not None and column.valid is None:
            return self._of(column)
        codes = np.full(n, MISSING, dtype=np.uint8)
        for other in self.others:
            if other in columns:
                codes[columns[other].mask] = CHANGED
        if column is not None:
            rows = column.mask
            codes[rows] = self._of(column.take(rows))
        return codes

    def _of(self, column: Column) -> Codes:
        if self.bins is None:
            return np.zeros(len(column), np.uint8)
        if column.values is not None:
            return self.bins.of_texts(column.values, column.data)
        if column.data.dtype == np.bool_:
            return self.bins.of_texts(["false", "true"], column.data.astype(np.intp))
        return self.bins.of_numbers(column.data)


def kind_of(profile: FeatureProfile) -> str:
    """The JSON type of a feature: number, text, boolean or unsupported."""
    if isinstance(profile, NumericProfile):
        return "number"
    if isinstance(profile, UnsupportedProfile):
        return "unsupported"
    return profile.type


class Measures:
    """The measures of all features of a subject, in the order of its roster."""

    def __init__(self, names: Sequence[str], profiles: Mapping[str, FeatureProfile]) -> None:
        self.each = [Measure(name, profiles[name]) for name in names]
        bounds = [measure.bounds for measure in self.each]
        numeric = [at for at, found in enumerate(bounds) if found is not None]
        self._place = {at: place for place, at in enumerate(numeric)}
        self._bins = NumberBins([found for found in bounds if found is not None])
        self._others = {key for measure in self.each for key in measure.others}
        self.ticks_of = np.zeros((len(self.each), 256), np.int64)
        for at, measure in enumerate(self.each):
            self.ticks_of[at] = measure.ticks

    def __getitem__(self, at: int) -> Measure:
        return self.each[at]

    def codes(self, frame: Frame) -> Codes:
        """The code of each row and feature, shape (F, n)."""
        codes = np.empty((len(self.each), frame.n), dtype=np.uint8)
        columns = frame.columns
        of_one_type = self._others.isdisjoint(columns)
        numbers, data = [], []
        gaps = []
        for at, measure in enumerate(self.each):
            column = columns.get(measure.key)
            if column is None or at not in self._place or not of_one_type:
                codes[at] = measure.codes(columns, frame.n)
                continue
            numbers.append(at)
            data.append(column.data)
            if column.valid is not None:
                gaps.append((at, column.valid))
        self._bins.fill(codes, numbers, [self._place[at] for at in numbers], data)
        if gaps:
            rows, valid = zip(*gaps, strict=True)
            absent = np.stack(valid).view(np.uint8) - np.uint8(1)  # 0 where valid, else 255
            codes[list(rows)] |= absent  # any code becomes MISSING
        return codes


def observe(frame: Frame, measures: Measures) -> Observed:
    """The features of prediction rows; `measures` in the order of the roster."""
    codes = measures.codes(frame)
    return Observed(codes != MISSING, codes, measures.ticks_of)


def score(frame: Frame, positive: str | None, aliases: Mapping[str, str]) -> Floats:
    """The score signal: probability of the positive class, else of the likeliest; NaN if absent."""
    column = frame.columns.get("score")
    if column is not None and column.valid is None:
        return column.data
    scores = np.full(frame.n, np.nan)
    for name, of_class in frame.names("s:"):
        if positive is None:
            scores = np.fmax(scores, np.where(of_class.mask, of_class.data, np.nan))
        elif aliases.get(name, name) == positive:
            known = of_class.valid
            scores = of_class.data if known is None else np.where(known, of_class.data, scores)
    if column is not None:
        scores = np.where(column.mask, column.data, scores)
    return scores
