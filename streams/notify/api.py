"""What a notifier is, and what the delivery engine needs to know of a destination."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, get_args

from driftline.alerts import Alert, Severity
from driftline.errors import DeliveryError

__all__ = ["Clock", "DeliveryError", "Destination", "Notifier", "Retry"]

SEVERITIES: tuple[str, ...] = get_args(Severity)


class Notifier(Protocol):
    """Sends alerts to one place. Sending the same alert twice must be harmless there."""

    @property
    def name(self) -> str:
        """The destination's name: what logs and series say. Never an address, those are secret."""

    async def send(self, alert: Alert, raw: bytes) -> None:
        """Returns when the destination has taken the alert.

        Args:
            alert: the alert event.
            raw: its bytes as published, for notifiers that pass it on as it is.

        Raises:
            DeliveryError: it was not taken; `retriable` says whether another try can help.
        """

    async def close(self) -> None:
        """Lets go of connections."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks and the sleep of delivery, so that tests need not wait."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Retry:
    """How long a destination is tried, and how the waits between tries grow.

    Full jitter: each wait is uniform in [0, bound], the bound doubling from `first_s` to `most_s`,
    so that many waiting senders do not come back at once.

    Source: Brooker 2015, "Exponential Backoff And Jitter", AWS Architecture Blog.
    """

    attempts: int = 12
    give_up_s: float = 3600.0
    """No try begins later than this after the first."""
    first_s: float = 2.0
    most_s: float = 300.0

    def bound_s(self, failures: int) -> float:
        """The longest wait after so many failures, which are at least 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 60))


@dataclass(frozen=True, slots=True)
class Destination:
    """A notifier and what it is to hear of."""

    notifier: Notifier
    severities: frozenset[str] = frozenset(SEVERITIES)
    retry: Retry = Retry()
    timeout_s: float = 10.0
    """A try that takes longer has failed."""

    @property
    def name(self) -> str:
        """The notifier's name."""
        return self.notifier.name

    def wants(self, alert: Alert) -> bool:
        """Whether the alert concerns this destination."""
        return alert.severity in self.severities
