"""Carrying actions out: what is tried, how often, and what the topic makes of it at a restart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from importlib.metadata import EntryPoint
from typing import Any

import msgspec
import pytest
from faust.types import TP
from msgspec.structs import replace

from detectors.remedy_spec import Remedy
from detectors.spec import MonitorSpec
from driftline.actions import Action, decode_action
from driftline.errors import DeliveryError, UsageError
from streams.agents.execute import Execute, Known
from streams.kafka.batches import Batch
from streams.monitors.load import Monitors
from streams.notify.rules import Destination, Retry
from streams.notify.secrets import PlainText
from streams.notify.webhook import Webhook
from streams.operators import execution
from streams.operators.execution import Executor, executor
from streams.operators.hooks import Hook, load
from streams.session import Session
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics
from tests.notifying import FakeClock
from tests.receiver import KEY, SECRET, Receiver, verified

DUE = Action(
    id="a1", revision=2, action="hook", mode="auto", status="due", why="for: worse", policy="p",
    model="m", version="1", at="2026-11-01T00:00:00.000Z", params={"name": "page"},
)  # fmt: skip
POST = replace(DUE, action="rollback", to_version="0", params={"destination": "deploys"})


def always() -> bool:
    return True


def run(
    action: Action, *, hooks: dict[str, Hook] | None = None, url: str = "", attempts: int = 1000
) -> execution.Outcome | None:
    async def go() -> execution.Outcome | None:
        webhook = Webhook("deploys", PlainText(url), PlainText(SECRET))
        destination = Destination(webhook, retry=Retry(attempts=attempts, first_s=4.0))
        made = Executor([destination], hooks or {}, clock=FakeClock().clock(), jitter=lambda: 1.0)
        try:
            return await made.carry_out(action, always)
        finally:
            await webhook.close()

    return asyncio.run(go())


def test_a_webhook_is_posted_signed_under_the_actions_id_until_it_is_taken():
    async def go() -> tuple[execution.Outcome | None, Receiver]:
        async with Receiver([503, (429, {"Retry-After": "9"}), 200]) as receiver:
            outcome = await asyncio.to_thread(run, POST, url=receiver.url)
            return outcome, receiver

    outcome, receiver = asyncio.run(go())
    assert outcome == ("done", "taken by deploys")
    assert receiver.ids() == ["a1"] * 3
    assert decode_action(receiver.seen[0][1]) == POST
    assert verified(*receiver.seen[2], [KEY]) == [True]


@pytest.mark.parametrize(("answer", "tries"), [(400, 1), (503, 3)])
def test_a_webhook_that_is_refused_for_good_or_too_often_has_failed(answer: int, tries: int):
    async def go() -> tuple[execution.Outcome | None, int]:
        async with Receiver([answer]) as receiver:
            outcome = await asyncio.to_thread(run, POST, url=receiver.url, attempts=3)
            return outcome, len(receiver.seen)

    assert asyncio.run(go()) == (("failed", f"HTTP {answer}"), tries)


def test_a_hook_is_called_with_the_action_in_a_thread():
    called: list[tuple[Action, str]] = []
    outcome = run(
        DUE, hooks={"page": lambda a: called.append((a, threading.current_thread().name))}
    )
    assert outcome == ("done", "hook page ran")
    assert called == [(DUE, "hook a1")]


def test_a_hook_may_ask_to_be_called_again_and_what_else_it_raises_is_its_end():
    raised: list[Exception] = [DeliveryError("busy", retriable=True), ValueError("secret")]

    def hook(_: Action) -> None:
        raise raised.pop(0)

    assert run(DUE, hooks={"page": hook}) == ("failed", "ValueError was raised")
    assert not raised


def test_a_hook_that_hangs_has_failed_and_is_not_called_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(execution, "HOOK_S", 0.05)
    calls, free = [], threading.Event()

    def hang(action: Action) -> None:
        calls.append(action)
        free.wait(10)

    assert run(DUE, hooks={"page": hang}) == ("failed", "no end within 0.05 s")
    free.set()
    assert len(calls) == 1


@pytest.mark.parametrize(
    "action",
    [
        replace(DUE, mode="dry-run"),
        replace(DUE, status="would_run"),
        replace(DUE, status="waiting"),
        replace(DUE, action="rollback", params={}),
    ],
)
def test_what_is_no_business_of_ours_is_not_to_do(action: Action):
    known = Known()
    known.take(action)
    assert not known.todo


def test_an_id_with_a_result_or_a_verdict_is_not_to_do_whatever_is_repeated_after_it():
    for status, revision in (("done", 3), ("failed", 3), ("did_not_help", 4)):
        known = Known()
        for action in (DUE, DUE, replace(DUE, status=status, revision=revision), DUE):
            known.take(action)
        assert not known.todo


class Log:
    """The actions topic of one partition: what is sent to it, and its end."""

    def __init__(self, *actions: Action) -> None:
        self.actions = list(actions)

    async def send(
        self, topic: str, partition: int | None, value: bytes, *_: Any
    ) -> Awaitable[None]:
        assert (topic, partition) == ("driftline.actions", 1)
        self.actions.append(decode_action(value))
        return asyncio.sleep(0)


@pytest.mark.parametrize("read", [1, 2])
def test_nothing_is_carried_out_before_the_end_of_the_topic_is_read(read: int):
    done = replace(DUE, revision=3, status="done")
    log, calls = Log(DUE, done), []
    stage = Execute(
        log, Telemetry(), Topics(), Executor([], {"page": calls.append}), end_of=lambda _: 2
    )  # fmt: skip
    record = msgspec.defstruct("Record", [("value", bytes), ("offset", int)])

    async def go() -> None:
        tp = TP("driftline.actions", 1)
        session = Session(tp, 0, core=Known())
        records = [record(msgspec.json.encode(a), i) for i, a in enumerate(log.actions[:read])]
        await stage.step(session, Batch(tp, records, 0, read, 0))
        await stage.idle(session)
        await asyncio.sleep(0.05)
        await stage.stop()

    asyncio.run(go())
    assert not calls
    assert len(log.actions) == 2


def test_the_result_is_the_next_revision_and_the_action_runs_once():
    log, calls = Log(DUE), []
    stage = Execute(
        log, Telemetry(), Topics(), Executor([], {"page": calls.append}), end_of=lambda _: 1
    )  # fmt: skip

    async def go() -> None:
        session = Session(TP("driftline.actions", 1), 1, core=Known())
        session.core.take(DUE)
        for _ in range(3):
            await stage.idle(session)
            await asyncio.sleep(0.02)
        await stage.stop()

    asyncio.run(go())
    assert calls == [DUE]
    assert [(a.status, a.revision) for a in log.actions] == [("due", 2), ("done", 3)]


def test_a_policy_that_names_what_is_not_there_stops_the_start():
    def policy(**params: str) -> Monitors:
        action = "hook" if "name" in params else "rollback"
        remedy = Remedy(name="p", action=action, params=params)
        return Monitors({"m": MonitorSpec(model="m", remediation=(remedy,))})

    with pytest.raises(UsageError, match="'deploys' is no destination of kind webhook"):
        executor(policy(destination="deploys"), [])
    with pytest.raises(UsageError, match="no hook 'page' is installed"):
        executor(policy(name="page"), [])


def test_hooks_are_entry_points():
    found = [EntryPoint("page", "json:dumps", "driftline.hooks")]
    assert load(["page"], found)["page"] is __import__("json").dumps
    with pytest.raises(UsageError, match="does not load"):
        load(["page"], [EntryPoint("page", "json:nothing", "driftline.hooks")])
    with pytest.raises(UsageError, match="must be a callable"):
        load(["page"], [EntryPoint("page", "json:__doc__", "driftline.hooks")])
