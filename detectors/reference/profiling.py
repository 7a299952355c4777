"""Profiles from columns: the statistics a reference is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import ndtri

from detectors.api import Floats, finite
from detectors.reference.profile import (
    Bins,
    CategoricalProfile,
    Codes,
    ErrorReference,
    NumericProfile,
)
from detectors.reference.serial import phi

P = TypeVar("P", NumericProfile, CategoricalProfile)

BINS = 20
CATEGORIES = 30
_LEAST_SHARE = 0.001
"""Bins rarer than this say nothing about serial correlation."""


def numeric(values: Floats, missing: int = 0) -> NumericProfile:
    """Profile of numbers in time order, which must be at least one and none of them NaN.

    Up to 20 equal-mass bins whose edges are the distinct inverted-CDF quantiles, so each edge is a
    value that occurred and a value repeated often does not smear over its neighbours.
    """
    last = (np.arange(1, BINS + 1) * len(values) + BINS - 1) // BINS - 1  # exact, unlike k / 20
    edges = np.unique(np.sort(values)[last])
    bins = np.searchsorted(edges, values, "left")
    usable = values[finite(values)]
    profile = NumericProfile(
        n=len(values),
        missing=missing,
        low=float(values.min()),
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(bins, minlength=len(edges)).tolist()),
        mean=float(usable.mean()) if len(usable) else 0.0,
        sd=float(usable.std()) if len(usable) else 0.0,
    )
    scale = Bins(profile)
    z = ndtri(scale.ranks[scale.of_numbers(values)])
    return _with_phi(profile, np.stack([z, z * z], axis=1))


def categorical(
    values: Sequence[str],
    codes: NDArray[np.integer],
    kind: Literal["text", "boolean"],
    missing: int = 0,
) -> CategoricalProfile:
    """Profile of texts in time order: `codes` index `values`; the 30 most frequent are kept."""
    counts = np.bincount(codes, minlength=len(values)).tolist()
    seen = [(value, n) for value, n in zip(values, counts, strict=True) if n]
    seen.sort(key=lambda item: (-item[1], item[0]))
    kept, rest = seen[:CATEGORIES], seen[CATEGORIES:]
    profile = CategoricalProfile(
        n=len(codes),
        missing=missing,
        type=kind,
        values=tuple(value for value, _ in kept),
        counts=tuple(n for _, n in kept),
        other=sum(n for _, n in rest),
        once=sum(1 for _, n in seen if n == 1),
    )
    scale = Bins(profile)
    return _with_phi(profile, indicators(scale.of_texts(values, codes), scale.counts))


def error_reference(errors: Floats, residuals: Floats | None = None) -> ErrorReference:
    """Reference of errors in the order their labels came: 0/1, or |residual| with `residuals`."""
    if residuals is None:
        factor, block = phi(errors[:, None])
        return ErrorReference(
            n=len(errors),
            mean=float(errors.mean()),
            sd=float(errors.std()),
            phi=factor,
            phi_block=block,
        )
    absolute = numeric(errors)
    return ErrorReference(
        n=len(errors),
        mean=float(errors.mean()),
        sd=float(errors.std()),
        rmse=float(np.sqrt(np.mean(residuals**2))),
        bias=float(residuals.mean()),
        bias_sd=float(residuals.std()),
        absolute=absolute,
        phi=absolute.phi,
        phi_block=absolute.phi_block,
    )


def _with_phi(profile: P, scores: Floats) -> P:
    factor, block = phi(scores)
    return replace(profile, phi=factor, phi_block=block)


def indicators(codes: Codes, counts: NDArray[np.int64]) -> Floats:
    """1 where a row has a code, else 0: a column per common code, shape (n, k)."""
    common = np.flatnonzero(counts >= _LEAST_SHARE * max(len(codes), 1))
    found: Floats = (codes[:, None] == common[None, :]).astype(np.float64)
    return found
