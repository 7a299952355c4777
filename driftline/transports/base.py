"""What the client asks of a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Message(Struct, frozen=True):
    """One message on its way.

    `done` is to be called once, from any thread: with None when the message has arrived, or with
    the reason why it has not and will not.
    """

    topic: str
    value: bytes
    key: bytes | None
    done: Callable[[str | None], None]


class Transport(Protocol):
    """Carries messages away. The client calls it from one thread of its own, after a fork anew."""

    def send(self, message: Message) -> None:
        """Takes the message on without waiting for it to arrive.

        Raises:
            BufferError: no room now; the client asks again after a `poll`.
        """

    def poll(self, timeout_s: float) -> None:
        """Lets messages that have arrived, or failed, say so; waits for one as long at most."""

    def close(self, timeout_s: float) -> None:
        """Waits so long at most for what is under way, then gives it up: each has its `done`."""
