"""What join has to know of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JoinSpec:
    """Horizons and segments by model; models without an entry have the defaults."""

    default_horizon_ms: int = 86_400_000
    """How long a prediction waits for its label, and a label for its prediction."""
    horizons_ms: Mapping[str, int] = field(default_factory=dict)
    default_segments: Sequence[str] = ()
    segments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Model -> names of the segments (or categorical features) that its outcomes carry."""

    def horizon_ms(self, model: str) -> int:
        """The horizon of a model; of no model (empty), the longest of all."""
        if not model:
            return max(self.default_horizon_ms, *self.horizons_ms.values(), 0)
        return self.horizons_ms.get(model, self.default_horizon_ms)

    @property
    def shortest_horizon_ms(self) -> int:
        """The shortest horizon of any model."""
        return min(self.default_horizon_ms, *self.horizons_ms.values(), self.default_horizon_ms)

    def segment_columns(self, model: str) -> frozenset[str]:
        """The columns of prediction frames that are kept for outcomes."""
        names = self.segments.get(model, self.default_segments)
        return frozenset(f"{prefix}:{name}" for name in names for prefix in "gc")
