"""Carrying actions out: a signed POST to a destination, or a call of a hook. No Kafka.

What is carried out here are webhooks, hooks, and any other action whose policy names a
`destination`. Everything else is for whoever reads `driftline.actions`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from driftline.actions import Action, ActionStatus
from driftline.errors import DeliveryError, UsageError
from streams.monitors.load import Monitors
from streams.notify.api import Clock
from streams.notify.rules import Destination, Retry
from streams.notify.webhook import Webhook
from streams.operators import hooks
from streams.operators.hooks import Hook

log = logging.getLogger(__name__)

HOOK_S = 60.0
"""A hook that takes longer has failed; its thread cannot be ended, so it is not called again."""

Outcome: TypeAlias = tuple[ActionStatus, str]
"""(`done` or `failed`, why)."""


class Executor:
    """What can be carried out, and how.

    Args:
        destinations: those of the destinations file; only webhooks can be posted to.
        found: hooks by name.
        clock, jitter: as delivery has them.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        found: Mapping[str, Hook],
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._webhooks = {d.name: (d, d.notifier) for d in destinations}
        self._hooks = found
        self.clock = clock or Clock()
        self._jitter = jitter

    @staticmethod
    def concerns(action: Action) -> bool:
        """Whether this action, in this state, is to be carried out here."""
        ours = action.action in ("webhook", "hook") or "destination" in action.params
        return action.status == "due" and action.mode != "dry-run" and ours

    async def carry_out(self, action: Action, going: Callable[[], bool]) -> Outcome | None:
        """Tries until it is done or has failed for good; None: `going` said to leave it."""
        if action.action == "hook":
            return await self._call(action, going)
        name = action.params.get("destination", "")
        destination, webhook = self._webhooks.get(name, (None, None))
        if destination is None or not isinstance(webhook, Webhook):
            return "failed", f"no webhook destination is called {name!r}"[:200]
        body = msgspec.json.encode(action)

        async def post() -> None:
            async with asyncio.timeout(destination.timeout_s):
                await webhook.post(action.id, body)

        error = await self._until(post, destination.retry, going)
        return _outcome(error, f"taken by {name}", going)

    async def _call(self, action: Action, going: Callable[[], bool]) -> Outcome | None:
        name = action.params.get("name", "")
        hook = self._hooks.get(name)
        if hook is None:
            return "failed", f"no hook is called {name!r}"[:200]

        async def call() -> None:
            try:
                async with asyncio.timeout(HOOK_S):
                    await in_thread(hook, action)
            except TimeoutError:
                raise DeliveryError(f"no end within {HOOK_S:g} s", retriable=False) from None

        return _outcome(await self._until(call, Retry(), going), f"hook {name} ran", going)

    async def _until(
        self, attempt: Callable[[], Awaitable[None]], retry: Retry, going: Callable[[], bool]
    ) -> DeliveryError | None:
        """Tries with waits of full jitter; returns the last error, None: it worked."""
        began, failures = self.clock.wall(), 0
        error = DeliveryError("it was not tried", retriable=True)
        while going():
            found = await _error_of(attempt)
            if found is None:
                return None
            error = found
            failures += 1
            wait_s = max(self._jitter() * retry.bound_s(failures), error.retry_after_s or 0.0)
            late = self.clock.wall() + wait_s > began + retry.give_up_s
            if not error.retriable or failures >= retry.attempts or late:
                return DeliveryError(str(error), retriable=False)
            log.info("an action is not carried out yet: %s; trying again", error)
            await self.clock.sleep(wait_s)
        return error


async def _error_of(attempt: Callable[[], Awaitable[None]]) -> DeliveryError | None:
    try:
        await attempt()
    except DeliveryError as error:
        return error
    except TimeoutError:
        return DeliveryError("no answer in time", retriable=True)
    except Exception as error:  # a hook is the user's code, and its text may hold a secret
        return DeliveryError(f"{type(error).__name__} was raised", retriable=False)
    return None


def _outcome(error: DeliveryError | None, done: str, going: Callable[[], bool]) -> Outcome | None:
    if error is None:
        return "done", done
    if error.retriable and not going():
        return None
    return "failed", str(error)[:200]


async def in_thread(hook: Hook, action: Action) -> None:
    """Calls a hook in a thread that keeps nobody from ending. Raises what the hook raises."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error is not None else ended.set_result(None)

    def run() -> None:
        error: BaseException | None = None
        try:
            hook(action)
        except Exception as raised:  # it is the user's code, which may raise anything
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name=f"hook {action.id}", daemon=True).start()
    await ended


def executor(monitors: Monitors, destinations: Sequence[Destination]) -> Executor:
    """What the policies of these monitors need.

    Raises: UsageError: a policy names a destination that is no webhook, or a hook not installed.
    """
    webhooks = {d.name for d in destinations if isinstance(d.notifier, Webhook)}
    named = set()
    for spec in monitors.specs.values():
        for remedy in spec.remediation:
            to = remedy.params.get("destination")
            if to is not None and to not in webhooks:
                raise UsageError(
                    f"remediation of {spec.model}: {to!r} is no destination of kind webhook; "
                    f"there are: {', '.join(sorted(webhooks)) or 'none'}"
                )
            if remedy.action == "hook":
                named.add(remedy.params.get("name", ""))
    return Executor(destinations, hooks.load(named))
