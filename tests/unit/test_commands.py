"""Operator commands: what they change, at which row, and what they leave alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import pytest

from detectors.frame import Frame
from detectors.spec import MonitorSpec
from driftline.alerts import Alert, Command, CommandName, decode_command, encode
from driftline.errors import ContractError
from driftline.rules import Reason, rfc3339
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack, unpack
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.pipeline.join_shard import JoinShard
from streams.rows.command_rows import command_frame, shard_of_command
from streams.rows.shards import model_partition
from tests.detect_runs import Detect, command
from tests.monitored import START_MS, SUBJECT, classifier

SPEC = MonitorSpec(model="m", warmup=1_000)
ROWS = classifier(3, 6_000, hostile=False)
END = ROWS[-1].arrival + 1


def run(commands: Sequence[tuple[int, Frame]] = (), cuts: Sequence[int] = ()) -> Detect:
    return Detect.of(SPEC).run(ROWS, commands, cuts)


def opened(detect: Detect) -> list[Alert]:
    return [alert for alert in detect.alerts if alert.reason == "opened"]


UNDISTURBED = run()
FIRST = opened(UNDISTURBED)[0]


def at(minutes_later: float) -> int:
    """An arrival some time after the first alert was known."""
    detected = next(row.arrival for row in ROWS if rfc3339(row.arrival) >= FIRST.detected_at)
    return detected + int(minutes_later * 60_000)


def test_close_ends_the_alert_at_once_and_says_who_and_why() -> None:
    when = at(2)
    closed = run([(when, command("close", when, fingerprint=FIRST.fingerprint))])
    ended = next(a for a in closed.alerts if a.reason == "expired")
    assert (ended.fingerprint, ended.status) == (FIRST.fingerprint, "resolved")
    assert ended.detected_at == rfc3339(when)
    assert ended.summary == "closed by ana: known"
    later = [
        a for a in closed.alerts if a.fingerprint == FIRST.fingerprint and a.order > ended.order
    ]
    assert all(a.reason != "recovered" or a.order[0] != ended.order[0] for a in later)


def test_rebase_closes_drift_and_learns_what_comes_as_the_new_normal() -> None:
    when = at(2)
    rebased = run([(when, command("rebase", when))])
    state = rebased.shard.subjects[str(SUBJECT)]
    before = UNDISTURBED.shard.subjects[str(SUBJECT)]
    assert state.profile is not None
    assert before.profile is not None
    assert state.profile != before.profile
    assert state.decision == before.decision
    assert state.counters["rebased"] == 1
    assert {name: state.counters[name] for name in ("predictions", "joined")} == {
        name: before.counters[name] for name in ("predictions", "joined")
    }
    assert state.values() == before.values()
    assert any(
        a.reason == "expired" and "new reference by ana" in a.summary for a in rebased.alerts
    )
    told = [w.counts for w in rebased.windows]
    assert [c["predictions"] for c in told] == [
        w.counts["predictions"] for w in UNDISTURBED.windows
    ]


@pytest.mark.parametrize("name", ["close", "rebase"])
def test_where_messages_are_cut_and_restarts_do_not_matter(name: CommandName) -> None:
    when = at(1.5)
    given = {"fingerprint": FIRST.fingerprint} if name == "close" else {}
    orders = [(when, command(name, when, **given))]
    whole, cut = run(orders), run(orders, [when - 7_000, when, when + 1, when + 90_000])
    assert cut.alerts == whole.alerts
    assert cut.windows == whole.windows
    restarted = Detect.of(SPEC)
    for begin, end in itertools.pairwise([0, when + 1, END]):
        dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(restarted.shard.dump()))
        restarted.shard = DetectShard.load(dumped, restarted.shard.monitors)
        rows = [row for row in ROWS if begin <= row.arrival < end]
        restarted.step(rows, [f for arrival, f in orders if begin <= arrival < end], end)
    assert restarted.alerts == whole.alerts


def test_a_command_passes_join_at_its_place_and_reaches_its_models_partition() -> None:
    frame = command("rebase", START_MS)
    shard = JoinShard(Monitors({"m": SPEC}))
    message = Message(Header("rows/0", 0, 1), {"c/0": START_MS + 1}, {"c": 1}, [frame])
    out = shard.step(unpack(pack(message)))
    assert [(f.subject, f.kind) for f in out if f.n] == [(str(SUBJECT), "command")]
    assert shard_of_command(frame, 7) == model_partition("m", 7)


def test_a_command_about_a_subject_that_has_no_monitor_is_counted() -> None:
    detect = Detect.of(SPEC)
    detect.step([], [command("rebase", START_MS)], START_MS + 1)
    assert detect.shard.counts[str(SUBJECT)] == {"commands_without_monitor": 1}


@pytest.mark.parametrize(
    ("name", "given"),
    [("close", {}), ("approve", {}), ("acknowledge", {}), ("close", {"fingerprint": ""})],
)
def test_a_command_without_what_it_is_about_is_refused(
    name: CommandName, given: dict[str, str]
) -> None:
    said = Command(id="1", command=name, subject="m@1", who="ana", when=rfc3339(0), **given)
    with pytest.raises(ContractError) as caught:
        decode_command(encode(said))
    assert caught.value.reason == Reason.BAD_COMMAND


@pytest.mark.parametrize("together", [True, False])
def test_a_command_that_waits_for_no_clock_takes_effect_where_the_stream_stands(
    together: bool,
) -> None:
    said = decode_command(
        encode(Command(id="1", command="rebase", subject=str(SUBJECT), who="ana", when=rfc3339(0)))
    )
    frame = command_frame(said, partition=0, offset=0, arrival=None)
    assert frame is not None
    shard = JoinShard(Monitors({"m": SPEC}))
    clock, more = ({"c/0": START_MS + at} for at in (7, 9))
    messages = [
        Message(Header("rows/0", 0, 1), clock, {"c": 1}),
        Message(Header("commands/0", 0, 1), {}, {}, [frame]),
        Message(Header("rows/0", 1, 2), more, {"c": 1}),
    ]
    if together:
        out = shard.run(enumerate(messages))
    else:
        out = [frame for message in messages for frame in shard.step(message)]
    assert [frame.ints("arrival").tolist() for frame in out if frame.n] == [[START_MS + 7]]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("silence", {"until": rfc3339(1)}),
        ("silence", {"fingerprint": "f"}),
        ("silence", {"subject": "m@1", "until": "tomorrow"}),
        ("unsilence", {}),
        ("rebase", {"subject": "m@1\r\nx@y"}),
        ("rebase", {"subject": "m@" + "v" * 100_000}),
    ],
)
def test_a_command_about_nothing_or_about_no_name_is_refused(
    name: CommandName, given: dict[str, str]
) -> None:
    said = Command(id="1", command=name, who="ana", when=rfc3339(0), **given)
    with pytest.raises(ContractError) as caught:
        decode_command(encode(said))
    assert caught.value.reason == Reason.BAD_COMMAND
