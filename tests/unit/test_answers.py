"""Hostile commands crash nothing; a pager hears who took an incident, once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.alerts import Command, decode_command, encode
from driftline.errors import ContractError, DeliveryError
from streams.agents.commands import Commands
from streams.agents.ingest import Ingest
from streams.kafka.batches import Batch
from streams.kafka.frames import unpack
from streams.monitors.load import Monitors
from streams.notify.policy import NotifyState
from streams.notify.rules import Destination
from streams.pipeline.detect_shard import DetectShard
from streams.pipeline.join_shard import JoinShard
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics
from tests.examples import examples
from tests.notifying import NOW, Bench, MemoryLedger, Scripted, make_alert, resolved

NAMES = (
    *("acknowledge", "silence", "unsilence", "comment", "close", "rebase", "approve", "reject"),
)
LONG = "long"


def as_json(fields: dict[str, Any]) -> bytes:
    """With lone surrogates and endless integers, as other libraries write them."""
    return json.dumps(fields).encode()


HOSTILE = st.one_of(
    st.sampled_from(
        [
            *("a\r\nBcc: all@example.org", "<!channel>", "$(reboot)", "`id`", "\u202egnp.exe"),
            *(LONG, "", "\0", "m@1", "_driftline@join", "2026-11-01T00:00:00.000Z"),
            make_alert().fingerprint,
        ]
    ).map(lambda text: "x" * 100_000 if text == LONG else text),
    st.text(max_size=20),
)
FIELDS = ("id", "fingerprint", "subject", "who", "when", "why", "until", "action")
COMMANDS = st.one_of(
    st.binary(max_size=30),
    st.fixed_dictionaries(
        {"command": st.sampled_from(NAMES)},
        optional={name: st.one_of(HOSTILE, st.none(), st.integers()) for name in FIELDS},
    ).map(as_json),
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("id", "who", "when", "why", "fingerprint", "action"), HOSTILE),
            "command": st.sampled_from(NAMES),
            "subject": st.sampled_from(["m@1", "_driftline@join", "fraud@v1"]),
            "until": st.just("2026-11-02T00:00:00.000Z"),
        }
    ).map(as_json),
)


class Record:
    """A record of the commands topic."""

    def __init__(self, value: bytes, offset: int) -> None:
        self.value, self.offset, self.timestamp, self.key = value, offset, 1_000 + offset, None


class Sent:
    """An outbox that keeps what it was given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []

    async def send(self, topic: str, _partition: Any, value: bytes, *_: Any) -> Any:
        self.records.append((topic, value))
        return asyncio.sleep(0)


async def ingested(values: list[bytes], *, from_records: bool) -> tuple[Topics, Sent]:
    topics, sent = Topics(), Sent()
    stage = Commands(
        sent,
        Telemetry(),
        topics,
        clock_from_records=from_records,
        now_ms=lambda: 10_000,
        end_of=lambda _: None,
        partitions_of=lambda _: 1,
    )
    committed: list[tuple[Any, ...]] = []
    stage.commit = lambda *given: committed.append(given)
    tp = TP(topics.commands, 0)
    session = (await stage.open({tp: (0, "")}))[tp]
    records = [Record(value, at) for at, value in enumerate(values)]
    await stage.step(session, Batch(tp, records, 0, len(values), 0))
    await stage.checkpoint(session)
    assert committed[0][:2] == (tp, len(values))
    return topics, sent


@settings(max_examples=examples(60), deadline=None)
@given(values=st.lists(COMMANDS, max_size=8), from_records=st.booleans())
def test_hostile_commands_crash_neither_ingest_nor_join_nor_detect(
    values: list[bytes], from_records: bool
):
    topics, sent = asyncio.run(ingested(values, from_records=from_records))
    dead = [value for topic, value in sent.records if topic == topics.deadletters]
    refused = [value for value in values if not readable(value)]
    assert dead == refused
    join, detect = JoinShard(Monitors()), DetectShard(Monitors())
    for topic, value in sent.records:
        if topic == topics.rows:
            message = unpack(value)
            message.arrivals.clear()
            message.sources.clear()
            for frame in join.step(message):
                message.frames = [frame]
                detect.step(message)
    assert len(detect.counts) <= 3, "a subject is a name, or the command is refused"


@pytest.mark.parametrize("from_records", [True, False])
def test_the_clock_waits_for_the_commands_only_where_brokers_tell_the_time(from_records: bool):
    topics, sent = asyncio.run(ingested([encode(taken())], from_records=from_records))
    (message,) = [unpack(value) for topic, value in sent.records if topic == topics.rows][:1]
    assert message.arrivals == ({} if from_records else {f"{topics.commands}/0": 1_000})
    given = {"clock_from_records": from_records, "now_ms": int, "end_of": id}
    ingest = Ingest(sent, Telemetry(), topics, partitions_of=lambda _: 3, **given)
    assert (topics.commands in ingest.sources()) is not from_records
    assert topics.commands not in ingest.topics


def readable(value: bytes) -> Command | None:
    try:
        return decode_command(value)
    except ContractError:
        return None


@settings(max_examples=examples(60), deadline=None)
@given(values=st.lists(COMMANDS, max_size=8))
def test_hostile_commands_crash_no_notifier_and_only_silences_keep_it_silent(values: list[bytes]):
    state = NotifyState([Destination(Scripted("chat"), repeat_s=60.0)])
    commands = [command for value in values if (command := readable(value))]
    for command in commands:
        state.command(command, NOW)
    alert = make_alert()
    (record,) = state.receive(alert, encode(alert), 0, NOW)
    silences = [c for c in commands if c.command == "silence"]
    assert record.result == "waiting" or (record.result == "silenced" and silences)
    state.next("chat", NOW)
    state.next("chat", NOW + 3 * 86_400)


class Pager(Scripted):
    """A pager that can be told who took an incident."""

    def __init__(self, answers: list[DeliveryError | None]) -> None:
        super().__init__("pager")
        self.answers = answers
        self.taken: list[str] = []

    async def acknowledge(self, reference: str) -> None:
        self.taken.append(reference)
        if (error := self.answers.pop(0)) is not None:
            raise error


def taken(n: int = 1) -> Command:
    return Command(
        id=f"c{n}", command="acknowledge", fingerprint=make_alert(n).fingerprint,
        who="ada", when="now",
    )  # fmt: skip


def test_a_pager_is_told_who_took_an_incident_once_in_spite_of_failures_and_restarts():
    async def scenario() -> None:
        ledger = MemoryLedger()
        pager = Pager([DeliveryError("HTTP 503", retriable=True), None])
        async with Bench(pager, ledger=ledger) as bench:
            bench.engine.command(taken(2), NOW)  # of an incident that nobody told it of
            await bench.deliver(make_alert())
            bench.engine.command(taken(), NOW + 1)
            await bench.until(lambda: "passed_on" in ledger.results("pager"))
        assert pager.taken == ["ref-1", "ref-1"]
        async with Bench(pager, ledger=ledger) as again:
            again.engine.command(taken(), NOW + 1)
            await again.deliver(resolved())
        assert len(pager.taken) == 2
        assert ledger.results("pager").count("passed_on") == 1

    asyncio.run(scenario())


def test_a_pager_that_will_not_hear_of_it_is_not_asked_again():
    async def scenario() -> None:
        pager = Pager([DeliveryError("HTTP 400", retriable=False)])
        async with Bench(pager) as bench:
            await bench.deliver(make_alert())
            bench.engine.command(taken(), NOW + 1)
            await bench.until(lambda: "passed_on" in bench.ledger.results("pager"))
            await bench.deliver(make_alert(revision=2))
        assert pager.taken == ["ref-1"]
        assert bench.ledger.records[2].detail == "not taken: HTTP 400"

    asyncio.run(scenario())
