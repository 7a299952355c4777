"""Signals for tests of the bank."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.bank import Signal, signal_of
from detectors.reference import profiling


def numbers(name: str = "x", at: int = 0, *, n: int = 5_000, missing: int = 0, **options: Any):
    """A normal signal; its codes are those of `Bins` of the same profile."""
    values = np.random.default_rng(at + 1).normal(size=n)
    signal = signal_of(name, profiling.numeric(values, missing), at, **options)
    assert signal is not None
    return signal


def categories(counts: dict[str, int], name: str = "c", at: int = 0) -> Signal:
    """A text signal whose reference had these values."""
    values = list(counts)
    codes = np.repeat(np.arange(len(values)), list(counts.values()))
    shuffled = np.random.default_rng(2).permutation(codes)
    signal = signal_of(name, profiling.categorical(values, shuffled, "text"), at)
    assert signal is not None
    return signal
