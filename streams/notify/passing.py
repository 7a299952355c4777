"""Telling a pager that somebody took an incident, so that it stops calling others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from driftline.errors import DeliveryError
from streams.notify.ledger import Notification
from streams.notify.policy import NotifyState
from streams.notify.rules import Destination
from streams.notify.waking import passed_on, to_pass_on

Try: TypeAlias = Callable[
    [Awaitable[str | None]], Awaitable[tuple[DeliveryError | None, str | None]]
]


class Passing:
    """The acknowledgements that one destination is owed; of most kinds none, ever."""

    def __init__(self, destination: Destination, state: NotifyState) -> None:
        self._destination = destination
        self._state = state
        notifier: Any = destination.notifier  # only some kinds can be told
        self._acknowledge: Callable[[str], Awaitable[None]] | None = getattr(
            notifier, "acknowledge", None
        )
        self._failures = 0
        self._not_before = 0.0

    def sooner(self, due: float | None) -> float | None:
        """The time to look again, if that comes before `due`."""
        if not self._failures:
            return due
        return self._not_before if due is None else min(due, self._not_before)

    async def tell(self, now: float, attempt: Try) -> list[Notification]:
        """Tells what is owed now; returns the records. What fails for the moment is owed still."""
        if self._acknowledge is None or now < self._not_before:
            return []
        lane = self._state.lanes[self._destination.name]
        records = []
        while (owed := to_pass_on(lane, self._state.answers, now)) is not None:
            fingerprint, told, _ = owed
            error, _ = await attempt(self._say(told.reference or ""))
            if error is not None and error.retriable:
                self._failures += 1
                wait_s = self._destination.retry.bound_s(self._failures)
                self._not_before = now + max(wait_s, error.retry_after_s or 0.0)
                break
            self._failures = 0
            if lane.lines.get(fingerprint) is None:
                continue  # its partition went to another worker meanwhile
            problem = f"not taken: {error}"[:200] if error is not None else ""
            records.append(passed_on(lane, owed, now, problem=problem))
        return records

    async def _say(self, reference: str) -> None:
        assert self._acknowledge is not None
        await self._acknowledge(reference)
