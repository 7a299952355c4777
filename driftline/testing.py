"""Ready-made events and a clock, for Driftline's tests and for yours."""

from __future__ import annotations

from typing import Any, Final

from driftline.events import LabelEvent, PredictionEvent

START_MS: Final = 1_793_500_000_000
"""2026-11-01, the moment at which made-up events begin."""


def make_prediction(number: int = 0, **fields: Any) -> PredictionEvent:  # as PredictionEvent takes
    """A valid prediction: `number` gives its id and, in seconds after `START_MS`, its time.

    Args:
        number: 0, 1, 2, ...: different numbers are different predictions.
        **fields: fields of `PredictionEvent` that shall be otherwise.
    """
    event: dict[str, Any] = {
        "prediction_id": f"p-{number:06d}",
        "model": "fraud",
        "version": "2026-11-01",
        "ts": START_MS + 1000 * number,
        "features": {"amount": 12.5, "country": "DE", "device": None},
        "prediction": "legit",
        "scores": {"fraud": 0.02, "legit": 0.98},
        "segments": {"region": "eu"},
    }
    return PredictionEvent(**(event | fields))


def make_label(number: int = 0, **fields: Any) -> LabelEvent:  # as LabelEvent takes
    """The label for `make_prediction(number)`, given an hour after it."""
    event: dict[str, Any] = {
        "prediction_id": f"p-{number:06d}",
        "model": "fraud",
        "label": "legit",
        "ts": START_MS + 1000 * number + 3_600_000,
        "source": "review",
    }
    return LabelEvent(**(event | fields))


class FakeClock:
    """A clock that stands still until told: call it for the time in ms since the epoch."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time now, ms since the epoch."""
        return self.now_ms

    def advance(self, ms: int) -> None:
        """Let `ms` pass; negative for the clock that was set back."""
        self.now_ms += ms
