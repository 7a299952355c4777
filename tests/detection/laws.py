"""Streams to calibrate on: laws without change, and the same laws moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter

PER_DAY = 24_000
"""Events a day of the seasonal law: a thousand an hour."""


@dataclass
class Stream:
    """An endless stream of one law, `draw(n)` values at a time; seeded."""

    make: Callable[[np.random.Generator, int, int, dict], np.ndarray]
    seed: tuple[int, ...]
    at: int = 0
    memory: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def draw(self, n: int) -> np.ndarray:
        values = self.make(self.rng, self.at, n, self.memory)
        self.at += n
        return values


def normal(rng, at, n, memory):
    return rng.normal(size=n)


def scaled(rng, at, n, memory):
    return 100 * rng.normal(size=n)


def lognormal(rng, at, n, memory):
    return rng.lognormal(size=n)


def tied(rng, at, n, memory):
    return rng.poisson(2.0, size=n).astype(float)


def autocorrelated(rho: float):
    """AR(1) of variance 1."""

    def make(rng, at, n, memory):
        noise = rng.normal(size=n) * np.sqrt(1 - rho * rho)
        state = memory.get("zi", np.array([rho * rng.normal()]))
        values, memory["zi"] = lfilter([1.0], [1.0, -rho], noise, zi=state)
        return values

    return make


def seasonal(amplitude: float):
    """A daily cycle of the mean, in standard deviations of the noise."""

    def make(rng, at, n, memory):
        time = (at + np.arange(n)) / PER_DAY
        return rng.normal(size=n) + amplitude * np.sin(2 * np.pi * time)

    return make


def hours(at: int, n: int) -> np.ndarray:
    """Hour of day of the seasonal law's events."""
    return (at + np.arange(n)) % PER_DAY * 24 // PER_DAY
