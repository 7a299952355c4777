"""The reference: what each signal looked like when all was well, frozen, as readable JSON.

A feature's values become *bin codes* of its profile, and codes become ranks in [0, 1] by a lookup
table. Everything downstream (ADWIN, histograms, windows) works on codes and ranks, so it needs no
unit, and a value of any size is one of at most 254 codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from math import inf, nextafter
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from detectors.spec import Task
from driftline.errors import CheckpointError, UnknownVersion

FORMAT: Final = 2
_READ: Final = (1, 2)
_SINCE_2: Final = (
    *("attributions", "attributions_beyond", "hourly", "label", "latency", "metrics"),
    *("residual", "texts"),
)
"""Parts that profiles of format 1 do not have, nor their hashes."""
MISSING: Final = 255
"""Code of a row without the feature."""
CHANGED: Final = 254
"""Code of a row where the feature has another type than its frozen one."""

Codes: TypeAlias = NDArray[np.uint8]


class NumericProfile(Struct, frozen=True, kw_only=True, tag_field="kind", tag="numeric"):
    """A numeric signal: bins (low, edges[0]], (edges[0], edges[1]], ...; the first holds low, too.

    `counts[k]` rows fell into bin k. Codes: 0 below `low`, then the bins, then above the last edge.
    """

    n: int
    missing: int
    low: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    sd: float
    phi: float = 1.0
    phi_block: int = 0


class CategoricalProfile(Struct, frozen=True, kw_only=True, tag_field="kind", tag="categorical"):
    """A signal of texts or booleans: values by falling frequency, then all others.

    `once`: rows whose value occurred only once, which says how usual new values are. Codes: the
    values, then `other`, then unseen.
    """

    n: int
    missing: int
    type: Literal["text", "boolean"]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    other: int = 0
    once: int = 0
    phi: float = 1.0
    phi_block: int = 0


class UnsupportedProfile(Struct, frozen=True, kw_only=True, tag_field="kind", tag="unsupported"):
    """A feature of arrays, objects or long texts: only whether it is there can be watched."""

    n: int
    missing: int


BinnedProfile: TypeAlias = NumericProfile | CategoricalProfile
FeatureProfile: TypeAlias = NumericProfile | CategoricalProfile | UnsupportedProfile


class ErrorReference(Struct, frozen=True, kw_only=True):
    """How wrong the model was: `mean` and `sd` of 0/1 errors, or of |prediction - label|.

    `absolute` (regression): bins of |prediction - label|; `bias`: mean of prediction - label.
    """

    n: int
    mean: float
    sd: float
    rmse: float | None = None
    bias: float | None = None
    bias_sd: float | None = None
    absolute: NumericProfile | None = None
    phi: float = 1.0
    phi_block: int = 0


class CalibrationProfile(Struct, frozen=True, kw_only=True):
    """Labels by cell of score and prediction: bins of `ReferenceProfile.score`, then no score.

    Two cells a bin, not predicted and predicted: `n` labels, of which `positive`; `order` per bin:
    how often a positive scores above another within it.
    """

    n: tuple[int, ...]
    positive: tuple[int, ...]
    order: tuple[float, ...]


class AttributionProfile(Struct, frozen=True, kw_only=True):
    """Attributions of one feature as served; `weight`: mean of their absolute values."""

    values: NumericProfile
    weight: float


class TextProfile(Struct, frozen=True, kw_only=True):
    """A feature of free text: its length, and the share of tokens that were known before.

    `known`: base64 of 65,536 bits, those of the hashes of known tokens.
    """

    length: NumericProfile
    tokens: NumericProfile | None = None
    known: str = ""


class HourlyProfile(Struct, frozen=True, kw_only=True):
    """A signal by hour of day (UTC), where the reference is long enough to have one.

    `counts`: 24 rows; in each, reference rows per code of `Bins`, then those without a value.
    `phi`: serial correlation that the hours do not explain.
    """

    counts: tuple[tuple[int, ...], ...]
    phi: float = 1.0
    phi_block: int = 0


class ReferenceProfile(Struct, frozen=True, kw_only=True):
    """Everything a monitor compares with. `hash` is over the rest; `start`/`end`: event time.

    `metrics`: of its outcomes, all that have a value; empty where it was built without labels.
    `label` and `residual` (prediction - label of a regression): of rows that had a label.
    `attributions`: by feature, of the 50 that weigh most; `attributions_beyond`: how many more had
    some. `texts`: features of free text. `hourly`: by signal, as alerts name it; empty where the
    reference is short.
    """

    format: int = FORMAT
    model: str
    version: str
    origin: Literal["warmup", "build"]
    n: int
    start: str | None = None
    end: str | None = None
    task: Task
    positive: str | None = None
    classes: dict[str, int] = {}
    features: dict[str, FeatureProfile] = {}
    prediction: BinnedProfile | None = None
    score: NumericProfile | None = None
    error: ErrorReference | None = None
    calibration: CalibrationProfile | None = None
    metrics: dict[str, float] = {}
    label: BinnedProfile | None = None
    residual: NumericProfile | None = None
    latency: NumericProfile | None = None
    attributions: dict[str, AttributionProfile] = {}
    attributions_beyond: int = 0
    texts: dict[str, TextProfile] = {}
    hourly: dict[str, HourlyProfile] = {}
    hash: str = ""

    def sealed(self) -> ReferenceProfile:
        """The profile with its hash."""
        bare = msgspec.to_builtins(msgspec.structs.replace(self, hash=""))
        if self.format == 1:
            bare = {name: part for name, part in bare.items() if name not in _SINCE_2}
        digest = sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
        return msgspec.structs.replace(self, hash=digest)

    def to_json(self) -> bytes:
        """The sealed profile as indented JSON with a line end."""
        return msgspec.json.format(msgspec.json.encode(self.sealed()), indent=1) + b"\n"


def from_json(content: bytes) -> ReferenceProfile:
    """The profile that `to_json` wrote.

    Raises: UnknownVersion for a newer format; CheckpointError for what is no profile, or one whose
        contents are not those that were hashed.
    """
    try:
        found = msgspec.json.decode(content)
        if isinstance(found, dict) and found.get("format", FORMAT) not in _READ:
            raise UnknownVersion(found["format"], "reference profile")
        profile = msgspec.convert(found, ReferenceProfile)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CheckpointError(f"this is no reference profile: {error}") from error
    if profile.hash != profile.sealed().hash:
        raise CheckpointError(
            "the reference profile was changed after it was built (its hash does not fit); "
            "build it anew with `driftline reference build`"
        )
    return profile


class Bins:
    """The codes and ranks of one profile; where new values are usual, they count as other."""

    EXPECTED_NEW: Final = 0.01

    def __init__(self, profile: BinnedProfile) -> None:
        self.profile = profile
        if isinstance(profile, NumericProfile):
            below = nextafter(profile.low, -inf)  # NumPy's warns at the end of float64
            self.bounds = np.array([below, *profile.edges])
            self.counts = np.array([0, *profile.counts, 0], dtype=np.int64)
        else:
            self._index = {value: code for code, value in enumerate(profile.values)}
            new = len(profile.values) + 1
            # Good-Turing: the share of once-seen values is the chance of one never seen before.
            if profile.n and profile.once / profile.n > self.EXPECTED_NEW:
                new -= 1
            self._new = new
            self.counts = np.array([*profile.counts, profile.other, 0], dtype=np.int64)

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """Mid-rank of each code, shape (256,): (F(x-) + F(x)) / 2; NaN for `MISSING`, `CHANGED`.

        Below the reference's least value is 0, above its greatest and never seen are 1.
        """
        total = max(int(self.counts.sum()), 1)
        cumulated = np.cumsum(self.counts)
        ranks = np.full(256, np.nan)
        ranks[: len(self.counts)] = (cumulated - self.counts / 2) / total
        ranks[len(self.counts) - 1] = 1.0
        return ranks

    def of_numbers(self, values: NDArray[np.float64]) -> Codes:
        """Codes of numbers."""
        return np.searchsorted(self.bounds, values, "left").astype(np.uint8)

    def of_texts(self, values: Sequence[str], codes: NDArray[Any]) -> Codes:
        """Codes of a text column: its dictionary and the index of each row into it."""
        lookup = [self._index.get(value, self._new) for value in values] or [self._new]
        found: Codes = np.array(lookup, dtype=np.uint8)[codes]
        return found

    def label(self, code: int) -> str:
        """What a code stands for, for people."""
        if isinstance(self.profile, CategoricalProfile):
            names = (*self.profile.values, "other values", "new values")
            return names[code]
        if code == 0:
            return f"below {self.profile.low:.4g}"
        edges = (self.profile.low, *self.profile.edges)
        if code == len(edges):
            return f"above {edges[-1]:.4g}"
        return f"{edges[code - 1]:.4g} to {edges[code]:.4g}"


def rank(profile: BinnedProfile, values: Sequence[float] | Sequence[str]) -> NDArray[np.float64]:
    """Mid-ranks in [0, 1] of values of the profile's type; NaN stays NaN."""
    bins = Bins(profile)
    if isinstance(profile, NumericProfile):
        numbers = np.asarray(values, dtype=np.float64)
        return np.where(np.isnan(numbers), np.nan, bins.ranks[bins.of_numbers(numbers)])
    texts = [str(value) for value in values]
    return bins.ranks[bins.of_texts(texts, np.arange(len(texts)))]


def missing_rate(profile: FeatureProfile) -> float:
    """Share of the reference's rows without the feature, 0 to 1."""
    return profile.missing / max(profile.n + profile.missing, 1)


def weak(profile: ReferenceProfile) -> Mapping[str, int]:
    """Signals whose reference is small (below 5,000 rows), with its size: worth a badge."""
    enough = 5_000
    sizes = {f"feature:{name}": feature.n for name, feature in profile.features.items()}
    if profile.error is not None:
        sizes["error"] = profile.error.n
    return {name: n for name, n in sizes.items() if n < enough}
