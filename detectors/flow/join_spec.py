"""What join has to know of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class JoinSpec:
    """Horizons and segments by model; models without an entry have the defaults."""

    default_horizon_ms: int = 86_400_000
    """How long a prediction waits for its label, and a label for its prediction."""
    horizons_ms: Mapping[str, int] = field(default_factory=dict)
    default_segments: Sequence[str] = ()
    segments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Model -> names of the segments (or categorical features) that its outcomes carry."""
    samples: Mapping[str, float] = field(default_factory=dict)
    """Model -> share of ids whose labels are taken, 0 to 1; models without an entry: all."""

    def horizon_ms(self, model: str) -> int:
        """The horizon of a model; of no model (empty), the longest of all."""
        if not model:
            return max(self.default_horizon_ms, *self.horizons_ms.values(), 0)
        return self.horizons_ms.get(model, self.default_horizon_ms)

    @property
    def shortest_horizon_ms(self) -> int:
        """The shortest horizon of any model."""
        return min(self.default_horizon_ms, *self.horizons_ms.values(), self.default_horizon_ms)

    def sample(self, model: str) -> float:
        """Share of ids whose labels are taken. Of no model (empty), all: others may need them."""
        return self.samples.get(model, 1.0)

    def segment_columns(self, model: str) -> frozenset[str]:
        """The columns of prediction frames that are kept for outcomes."""
        names = self.segments.get(model, self.default_segments)
        return frozenset(f"{prefix}:{name}" for name in names for prefix in "gc")


def sampled(ids: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Which ids are in a sample of so many: a property of the id alone, shape (n,).

    Args:
        ids: BLAKE2b-128 of the prediction ids, V16; the last 8 bytes decide, so that the sample is
            spread over all shards, which go by the first.
        share: 0 to 1.
    """
    if share >= 1:
        return np.ones(len(ids), bool)
    words = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)[:, 1]
    chosen: NDArray[np.bool_] = words < np.uint64(int(share * 2**64))
    return chosen
