"""What a notifier is, what it is given to send, and the clocks of delivery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

from driftline.alerts import Alert, Kind, Severity
from driftline.errors import DeliveryError

__all__ = ["Clock", "DeliveryError", "Message", "Notifier", "Part", "Picture", "Traits"]

SEVERITIES: tuple[str, ...] = get_args(Severity)
"""From the least to the most severe."""
KINDS: tuple[str, ...] = get_args(Kind)

Cause: TypeAlias = Literal["alert", "repeat", "digest", "test"]
"""Why a message goes out: a change, a reminder that it still fires, several at once, a test."""

Picture: TypeAlias = Callable[[], Awaitable[bytes | None]]
"""Draws the message's PNG when a sender asks; None: there is nothing to draw."""


async def no_picture() -> bytes | None:
    """The picture of a message that has none."""
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """One alert of a message, and what this destination knows of its incident already."""

    alert: Alert
    raw: bytes
    """The alert's bytes as published."""
    partition: int = 0
    """Of the alerts topic, where it came from."""
    root: str | None = None
    """Id of the message that first told of the incident here; None: this one does."""
    reference: str | None = None
    """The destination's own handle of that message, where it gave one."""
    severity: str | None = None
    """Severity last told of the incident here while it fired."""
    key: str = ""
    """What a pager keeps the incident under: its fingerprint, or the id of a digest it was in."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a destination is told in one send; every try, also after a restart, has the same id."""

    id: str
    parts: tuple[Part, ...]
    cause: Cause = "alert"
    picture: Picture = field(default=no_picture, compare=False)

    @property
    def alert(self) -> Alert:
        """The alert of a message about one, the most severe one of a digest."""
        return self.leading.alert

    @property
    def leading(self) -> Part:
        """The part that a subject line is about: firing before resolved, most severe, first."""
        return max(self.parts, key=_rank)

    @property
    def is_digest(self) -> bool:
        """Whether it is about more than one incident."""
        return len(self.parts) > 1

    @property
    def firing(self) -> bool:
        """Whether anything in it fires."""
        return any(part.alert.status == "firing" for part in self.parts)


def _rank(part: Part) -> tuple[bool, int]:
    return part.alert.status == "firing", SEVERITIES.index(part.alert.severity)


class Notifier(Protocol):
    """Sends messages to one place. The same message twice must be told apart there by its id."""

    @property
    def name(self) -> str:
        """The destination's name: what logs and series say. Never an address, those are secret."""

    async def send(self, message: Message) -> str | None:
        """Returns when the destination has taken the message, with its handle of it if any.

        Raises:
            DeliveryError: it was not taken; `retriable` says whether another try can help.
        """

    async def close(self) -> None:
        """Lets go of connections."""


class Refreshing(Protocol):
    """A notifier whose receiver forgets what it is not told again."""

    refresh_s: float
    """Seconds between two tellings."""

    async def refresh(self, alerts: Sequence[Alert]) -> None:
        """Tells again of all alerts that fire. Raises: DeliveryError."""


class Drawer(Protocol):
    """Draws the picture of a message."""

    def note(self, alert: Alert) -> None:
        """Told of each alert that comes in, so that a metric's course can be drawn."""

    async def of(self, message: Message) -> bytes | None:
        """A PNG, or None where there is nothing to draw."""


def picture_of(drawer: Drawer, message: Message) -> Picture:
    """The message's picture, drawn when it is asked for."""

    async def draw() -> bytes | None:
        with suppress(Exception):  # a message without its picture is better than none
            return await drawer.of(message)
        return None

    return draw


@dataclass(frozen=True, slots=True)
class Traits:
    """What a kind of destination is by nature; the destinations file may say otherwise."""

    digests: bool = True
    """Can say several alerts in one message. Machines want each by itself."""
    groups: bool = True
    """Gathers the alerts of a model version for a while before it tells people."""
    storm: bool = True
    """Tells of a storm of alerts in one digest."""
    attaches: bool = False
    """May carry a picture."""
    give_up_s: float = 3600.0
    """How long a message is tried: an hour for chat and mail, a day for pagers."""
    attempts: int = 1000
    """Most tries of one message."""
    pace_s: float = 0.0
    """Least time between two sends."""
    repeats: bool = True
    """People are reminded of what still fires."""
    pager: bool = False
    """Keeps an incident open until it is told of its end, under one key each."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks and the sleep of delivery, so that tests need not wait."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
