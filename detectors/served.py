"""What is served with a prediction beside its features, as bin codes: output, score, latency, SHAP.

An attribution says how much a feature moved one prediction. Its distribution tells of a model that
began to listen to something else, which features alone do not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats, finite
from detectors.classes import NONE, Decision, local_classes
from detectors.frame import Column, Frame
from detectors.reference.profile import (
    MISSING,
    AttributionProfile,
    BinnedProfile,
    Bins,
    Codes,
    NumericProfile,
    ReferenceProfile,
    TextProfile,
)
from detectors.reference.profiling import numeric
from detectors.signals import PREFIXES, score
from detectors.texts import LENGTH, TOKENS, known_tokens, length_column, token_column

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

SCORE: Final = "score"
PREDICTION: Final = "prediction"
LATENCY: Final = "latency"
LATENCY_COLUMN: Final = "latency_ms"
NEW_FEATURES: Final = "new_features"
"""Rate of rows with a feature that no row of the reference had."""
ATTRIBUTION: Final = "attribution:"
ATTRIBUTION_COLUMN: Final = "a:"
NEW: Final = 1
_PER_FEATURE: Final = (ATTRIBUTION, LENGTH, TOKENS)
MAX_ATTRIBUTIONS: Final = 50
"""Features whose attributions are watched: those that weigh most in the reference."""


def served_profiles(profile: ReferenceProfile) -> dict[str, BinnedProfile]:
    """Signal -> its profile, of all that the reference's predictions came with."""
    whole = {PREDICTION: profile.prediction, SCORE: profile.score, LATENCY: profile.latency}
    served: dict[str, BinnedProfile] = {n: p for n, p in whole.items() if p is not None}
    for feature, attribution in profile.attributions.items():
        served[f"{ATTRIBUTION}{feature}"] = attribution.values
    for feature, text in profile.texts.items():
        served[f"{LENGTH}{feature}"] = text.length
        if text.tokens is not None:
            served[f"{TOKENS}{feature}"] = text.tokens
    return served


def influences(profile: ReferenceProfile) -> dict[str, float]:
    """Feature -> its share of all attribution in the reference, 0 to 1; empty where none was."""
    weights = {name: each.weight for name, each in profile.attributions.items()}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()} if whole > 0 else {}


def latency_profile(rows: Frame) -> NumericProfile | None:
    """Profile of latencies, None where no row has one."""
    return _profile(rows.columns.get(LATENCY_COLUMN), rows.n)


def attribution_profiles(rows: Frame) -> tuple[dict[str, AttributionProfile], int]:
    """Profiles of the attributions that weigh most, by feature name; and how many were left out."""
    weights: dict[str, float] = {}
    for name, column in rows.names(ATTRIBUTION_COLUMN):
        values = np.abs(column.data[column.mask])
        usable = values[finite(values)]
        if len(usable):
            weights[name] = float(usable.sum()) / rows.n
    chosen = sorted(weights, key=lambda name: (-weights[name], name))[:MAX_ATTRIBUTIONS]
    profiles = {}
    for name in sorted(chosen):
        profile = _profile(rows.columns[f"{ATTRIBUTION_COLUMN}{name}"], rows.n)
        assert profile is not None  # what weighs has values
        profiles[name] = AttributionProfile(values=profile, weight=weights[name])
    return profiles, len(weights) - len(chosen)


def _profile(column: Column | None, rows: int) -> NumericProfile | None:
    if column is None:
        return None
    values = column.data[column.mask]
    return numeric(values, rows - len(values)) if len(values) else None


class Said:
    """What the model said in some rows; each part is looked up once, whoever asks."""

    def __init__(self, rows: Frame, decision: Decision, aliases: Mapping[str, str]) -> None:
        """Takes prediction rows, what predictions are, and texts that mean another class."""
        self.rows, self.decision, self.aliases = rows, decision, aliases

    @cached_property
    def scores(self) -> Floats:
        """The score signal of each row; see `detectors.signals.score`."""
        return score(self.rows, self.decision.positive, self.aliases)

    @cached_property
    def classes(self) -> tuple[Ints, list[str]]:
        """(index into the texts or -1, texts) of the rows' classes; see `local_classes`."""
        return local_classes(self.rows, PREDICTION, self.aliases)


class Outputs:
    """What the model says, and what came with it, as bin codes."""

    def __init__(
        self,
        binned: Mapping[str, BinnedProfile],
        features: Sequence[str] = (),
        texts: Mapping[str, TextProfile] = MappingProxyType({}),
    ) -> None:
        """Takes the profiles of these signals, the features that are known, and free texts."""
        self._known = {prefix + name for name in features for prefix in PREFIXES}
        self.bins = {
            name: Bins(profile)
            for name, profile in binned.items()
            if name in (PREDICTION, SCORE, LATENCY) or name.startswith(_PER_FEATURE)
        }
        self._columns = {LATENCY: LATENCY_COLUMN, PREDICTION: "prediction_value"} | {
            name: ATTRIBUTION_COLUMN + name.removeprefix(ATTRIBUTION)
            for name in self.bins
            if name.startswith(ATTRIBUTION)
        }

        self._tokens = {
            name: known_tokens(texts[name.removeprefix(TOKENS)])
            for name in self.bins
            if name.startswith(TOKENS)
        }

    def unknown(self, rows: Frame) -> dict[str, Mask]:
        """Features that are not known, and which rows have them."""
        rest = [key for key in rows.columns if key not in self._known and key[:2] in PREFIXES]
        return {key[2:]: rows.columns[key].mask for key in rest}

    def codes(self, said: Said) -> Codes:
        """Codes of each signal, in the order of `bins`; shape (k + 1, n).

        The last row is `NEW` where a row has a feature that is not known, else 0.
        """
        rows = said.rows
        codes = np.full((len(self.bins) + 1, rows.n), MISSING, dtype=np.uint8)
        codes[-1] = 0
        for mask in self.unknown(rows).values():
            codes[-1, mask] = NEW
        for at, (name, bins) in enumerate(self.bins.items()):
            if name == SCORE:
                _whole_or_known(codes[at], bins, said.scores)
            elif isinstance(bins.profile, NumericProfile):
                _numbers(codes[at], bins, self._column(rows, name))
            else:
                classes, texts = said.classes
                codes[at] = bins.of_texts(texts, classes)
                codes[at, classes == NONE] = MISSING
        return codes

    def _column(self, rows: Frame, name: str) -> Column | None:
        """The numbers of a signal."""
        if name in self._tokens:
            return token_column(rows, name.removeprefix(TOKENS), self._tokens[name])
        if name.startswith(LENGTH):
            return length_column(rows, name.removeprefix(LENGTH))
        return rows.columns.get(self._columns[name])


def _whole_or_known(codes: Codes, bins: Bins, values: Floats) -> None:
    """Writes the codes of numbers, NaN where absent."""
    codes[:] = bins.of_numbers(values)
    codes[np.isnan(values)] = MISSING


def _numbers(codes: Codes, bins: Bins, column: Column | None) -> None:
    if column is None:
        return
    if column.valid is None:
        codes[:] = bins.of_numbers(column.data)
    else:
        codes[column.valid] = bins.of_numbers(column.data[column.valid])
