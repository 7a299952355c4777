"""What is told to whom, and when: the pure policy, by examples and by properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.alerts import Alert, Command, CommandName, encode
from driftline.errors import DeliveryError
from streams.notify.api import Message, Traits
from streams.notify.ledger import Notification, decode, stamp
from streams.notify.ledger import encode as encode_record
from streams.notify.policy import NotifyState
from streams.notify.rules import Destination, Grouping, Matcher, Quiet, Retry, Storm
from tests.notifying import NOW, Scripted, make_alert, resolved

HOUR = 3600.0
PASSING = DeliveryError("HTTP 503", retriable=True)
FOR_GOOD = DeliveryError("HTTP 400", retriable=False)
BERLIN = ZoneInfo("Europe/Berlin")


def chat(name: str = "chat", **more: Any) -> Destination:
    return Destination(Scripted(name), **more)


class World:
    """A state, the time, the ledger, and what each destination was sent."""

    def __init__(self, *destinations: Destination) -> None:
        self.destinations = destinations
        self.state = NotifyState(destinations)
        self.now = NOW
        self.ledger: list[bytes] = []
        self.sent: list[tuple[str, float, Message]] = []
        self.outcome: Callable[[str], DeliveryError | None] = lambda _: None

    def write(self, records: Sequence[Notification]) -> list[Notification]:
        self.ledger += [encode_record(r) for r in records]
        return list(records)

    @property
    def records(self) -> list[Notification]:
        return [decode(value) for value in self.ledger]

    def receive(self, *alerts: Alert) -> list[str]:
        found = [self.write(self.state.receive(a, encode(a), 0, self.now)) for a in alerts]
        self.dispatch()
        return [r.result for records in found for r in records]

    def dispatch(self) -> None:
        """All that is due now, at every destination."""
        for name in self.state.lanes:
            while True:
                message, records = self.state.next(name, self.now)
                self.write(records)
                if message is None:
                    break
                error = self.outcome(name)
                if error is None:
                    self.sent.append((name, self.now - NOW, message))
                self.write(self.state.settled(name, message, error, self.now, reference="r"))

    def until(self, seconds: float) -> None:
        """Time passes; whatever falls due is sent at its time."""
        end = NOW + seconds
        self.dispatch()  # what was due while nobody ran; after a restart, say
        while True:
            dues = [d for n in self.state.lanes if (d := self.state.next_due(n, self.now))]
            due = min([d for d in dues if d > self.now], default=end)
            if due > end:
                break
            self.now = due
            self.dispatch()
            if due == end:
                break
        self.now = end

    def restart(self) -> None:
        """A new process: it knows what the ledger says, and nothing else."""
        self.state = NotifyState(self.destinations)
        self.state.open(0, self.records)

    def told(self, name: str = "chat") -> list[tuple[float, int]]:
        """(time, alerts) of each message that a destination took."""
        return [(round(at, 3), len(m.parts)) for n, at, m in self.sent if n == name]

    def results(self) -> Counter[str]:
        return Counter(r.result for r in self.records)


# -- whom -----------------------------------------------------------------------------------------


def test_matchers_choose_by_field_by_segment_and_by_pattern():
    only = chat(
        matchers=(
            Matcher(fields=(("kind", ("performance", "concept_drift")), ("model", ("fr*",)))),
            Matcher(segment=(("region", ("eu",)),)),
        )
    )
    assert only.wants(make_alert())
    assert not only.wants(make_alert(kind="volume"))
    assert not only.wants(make_alert(model="price"))
    assert only.wants(make_alert(kind="volume", segment={"region": "eu"}))
    assert not only.wants(make_alert(kind="volume", segment={"region": "us"}))


def test_a_monitor_file_names_who_hears_of_its_model_and_other_models_tell_everybody():
    models = {"fraud": frozenset({"oncall"}), "quiet": frozenset[str]()}
    oncall, team = (chat(n, models=models) for n in ("oncall", "team"))
    assert oncall.wants(make_alert())
    assert not team.wants(make_alert())
    assert team.wants(make_alert(model="price"))
    assert not oncall.wants(make_alert(model="quiet"))


def test_a_suppressed_alert_is_not_sent_until_nothing_suppresses_it():
    world = World(chat())
    assert world.receive(make_alert(suppressed_by="f" * 32)) == ["suppressed"]
    assert world.receive(make_alert(revision=2)) == ["waiting"]
    assert world.told() == [(0.0, 1)]


def test_the_end_is_told_to_exactly_those_who_heard_of_it_firing():
    pager = chat("pager", severities=frozenset({"critical"}))
    world = World(chat(), pager)
    world.receive(make_alert(1), make_alert(2, severity="critical"))
    ends = world.receive(resolved(1), resolved(2, severity="warning", reason="retracted"))
    assert ends == ["waiting", "unmatched", "waiting", "waiting"]
    assert [m.alert.fingerprint[-1] for n, _, m in world.sent if n == "pager"] == ["2", "2"]


def test_whoever_was_refused_the_alert_is_not_told_that_it_is_over():
    world = World(chat())
    world.outcome = lambda _: FOR_GOOD
    world.receive(make_alert())
    world.outcome = lambda _: None
    assert world.receive(resolved()) == ["never_told"]
    assert world.sent == []


def test_an_end_that_comes_while_the_alert_is_being_tried_goes_out_only_if_that_was_taken():
    for taken in (True, False):
        world = World(chat(retry=Retry(attempts=2, first_s=5, most_s=5)))
        world.outcome = lambda _: PASSING
        world.receive(make_alert())
        assert world.receive(resolved()) == ["waiting"]
        world.outcome = lambda _, taken=taken: None if taken else PASSING
        world.until(HOUR)
        assert [m.alert.status for _, _, m in world.sent] == ["firing", "resolved"] * taken
        assert world.results()["never_told"] == (not taken)


def test_a_destination_may_want_no_ends():
    world = World(chat(resolved=False))
    world.receive(make_alert())
    assert world.receive(resolved()) == ["unwanted"]


def test_what_was_critical_and_is_no_more_is_told_to_who_hears_of_critical_only():
    world = World(chat(severities=frozenset({"critical"})))
    world.receive(make_alert(severity="critical"))
    world.receive(make_alert(revision=2, severity="info", reason="deescalated"))
    assert [m.alert.severity for _, _, m in world.sent] == ["critical", "info"]
    assert world.sent[1][2].parts[0].severity == "critical", "what it was told before"


def test_later_messages_of_an_incident_know_the_first_one():
    world = World(chat())
    world.receive(make_alert(), make_alert(revision=2), resolved(revision=3))
    first, second, third = (m.parts[0] for _, _, m in world.sent)
    assert (first.root, first.reference) == (None, None)
    assert second.root == third.root == first.alert.id
    assert third.reference == "r"
    again = make_alert(started_at="2026-11-02T00:00:00.000Z", id="another")
    world.receive(again)
    assert world.sent[-1][2].parts[0].root is None, "a new incident, a new thread"


# -- when -----------------------------------------------------------------------------------------


def test_the_alerts_of_a_model_version_go_out_together():
    world = World(chat(grouping=Grouping()))
    world.receive(make_alert(1), make_alert(2))
    world.until(10)
    world.receive(make_alert(3), make_alert(4, model="price"))
    world.until(60)
    assert world.told() == [(30.0, 3), (40.0, 1)]
    world.receive(make_alert(5), resolved(1))
    world.until(HOUR)
    assert world.told()[2:] == [(330.0, 2)], "the next change of the group after its interval"


def test_in_a_group_the_newest_state_of_an_incident_goes_out_and_what_is_over_does_not():
    world = World(chat(grouping=Grouping()))
    world.receive(make_alert(1), make_alert(1, revision=2, severity="critical"))
    world.receive(make_alert(2), resolved(2))
    world.until(60)
    ((_, _, only),) = world.sent
    assert [(p.alert.revision, p.alert.severity) for p in only.parts] == [(2, "critical")]
    assert world.results() == {"waiting": 3, "superseded": 2, "never_told": 1, "delivered": 1}


def test_what_still_fires_is_repeated_until_it_is_over_or_acknowledged():
    world = World(chat(repeat_s=4 * HOUR))
    world.receive(make_alert(1), make_alert(2))
    world.until(4 * HOUR)
    assert world.told()[2:] == [(4 * HOUR, 1), (4 * HOUR, 1)]
    assert len({m.id for _, _, m in world.sent}) == 4, "receivers must not take it for a repeat"
    assert world.sent[2][2].cause == "repeat"
    world.receive(resolved(1))
    world.state.command(command(make_alert(2)), world.now)
    world.until(40 * HOUR)
    assert len(world.sent) == 5


def command(alert: Alert) -> Command:
    return Command(
        id="c", command="acknowledge", fingerprint=alert.fingerprint, who="ada", when="now"
    )


def test_an_escalation_is_told_of_what_nobody_has_taken_in_time():
    chief = chat("chief", after_s=900.0)
    world = World(chat(), chief)
    world.receive(*map(make_alert, (1, 2, 3)))
    world.until(600)
    world.receive(make_alert(1, revision=2), resolved(2))
    world.state.command(command(make_alert(3)), world.now)
    world.until(HOUR)
    assert world.told("chief") == [(900.0, 1)], "it has been firing since its first revision"
    assert world.sent[-1][2].alert.revision == 2
    assert Counter(r.result for r in world.records if r.destination == "chief") == {
        "waiting": 4, "superseded": 2, "never_told": 1, "acknowledged": 1, "delivered": 1
    }  # fmt: skip


def local(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


NIGHT = Quiet(time(22), time(7), BERLIN)


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-11-24T21:59:59", None),
        ("2026-11-24T22:00:00", "2026-11-25T07:00:00"),
        ("2026-11-25T06:59:59", "2026-11-25T07:00:00"),
        ("2026-11-25T07:00:00", None),
        ("2026-10-25T01:00:00", "2026-10-25T07:00:00"),  # the night that has an hour more
        ("2026-03-29T01:00:00", "2026-03-29T07:00:00"),  # the night that has an hour less
    ],
)
def test_quiet_hours_span_midnight_and_the_change_of_clocks(at: str, end: str | None):
    assert NIGHT.until(local(at)) == (None if end is None else local(end))


@given(
    st.integers(0, 2**31),
    st.times(),
    st.times(),
    st.sampled_from(["UTC", "Asia/Kathmandu", "Europe/Berlin", "America/St_Johns"]),
)
def test_quiet_hours_end_within_a_day_or_so_and_are_over_then(
    now: int, start: time, end: time, zone: str
):
    start, end = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    until = Quiet(start, end, ZoneInfo(zone)).until(now)
    if until is not None:
        assert now < until <= now + 26 * HOUR


def test_at_night_only_what_is_critical_is_told_and_the_rest_is_a_digest_in_the_morning():
    world = World(chat(quiet=NIGHT))
    world.now = local("2026-11-24T23:00:00")
    world.receive(make_alert(1), make_alert(2), make_alert(3, severity="critical"), make_alert(4))
    world.receive(resolved(2), resolved(3, severity="warning"))
    assert [m.alert.status for _, _, m in world.sent] == ["firing", "resolved"]
    world.until(local("2026-11-25T06:59:00") - NOW)
    assert len(world.sent) == 2
    world.until(local("2026-11-25T07:00:01") - NOW)
    digest = world.sent[-1][2]
    assert [p.alert.fingerprint[-1] for p in digest.parts] == ["1", "4"]
    assert digest.cause == "digest"


def test_a_storm_of_a_thousand_alerts_in_a_minute_is_one_digest_and_nothing_is_lost():
    world = World(chat(storm=Storm()), chat("grouped", storm=Storm(), grouping=Grouping()))
    for n in range(1000):
        world.until(n * 0.06)
        world.receive(make_alert(n, model=f"m{n % 100}"))
    world.until(HOUR)
    assert world.told("chat")[:20] == [(round(n * 0.06, 3), 1) for n in range(20)]
    assert [n for _, n in world.told("chat")[20:]] == [980]
    assert [n for _, n in world.told("grouped")] == [1000]
    for name in ("chat", "grouped"):
        mine = [r for r in world.records if r.destination == name]
        assert Counter(r.alert_id for r in mine if r.result == "delivered") == Counter(
            make_alert(n).id for n in range(1000)
        )
    world.receive(resolved(500))
    assert world.told("chat")[-1] == (HOUR, 1), "the storm is over"


def test_the_digest_of_a_storm_is_the_same_message_after_a_crash_whatever_came_meanwhile():
    world = World(chat(storm=Storm(alerts=3), retry=Retry(give_up_s=HOUR)))
    world.receive(*map(make_alert, range(10)))
    world.outcome = lambda _: PASSING
    world.until(60)
    sending = {r.message for r in world.records if r.result == "sending"}
    world.receive(make_alert(77))
    world.restart()
    world.outcome = lambda _: None
    world.until(600)
    digests = [m for _, _, m in world.sent if m.is_digest]
    assert [m.id for m in digests] == list(sending)
    assert len(digests[0].parts) == 7


def test_a_pager_keeps_a_storm_under_one_key_until_the_last_of_it_is_over():
    world = World(chat(storm=Storm(alerts=1), traits=Traits(pager=True)))
    world.receive(*map(make_alert, range(4)))
    world.until(100)
    digest = world.sent[-1][2]
    assert len(digest.parts) == 3
    world.receive(resolved(1), resolved(3))
    world.until(200)
    world.restart()
    assert world.results()["covered"] == 2
    assert world.sent[-1][2] is digest
    world.receive(resolved(2))
    assert world.sent[-1][2].parts[0].key == digest.id
    world.receive(resolved(0))
    assert world.sent[-1][2].parts[0].key == make_alert(0).fingerprint


# -- properties -----------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), st.integers(0, 3), st.sampled_from(["info", "critical"])),
        st.tuples(st.just("suppressed"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("end"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("wait"), st.integers(1, 900), st.just("")),
        st.tuples(st.just("outcome"), st.sampled_from([None, PASSING, FOR_GOOD]), st.just("")),
        st.tuples(st.just("restart"), st.just(0), st.just("")),
    ),
    max_size=25,
)
RULES: list[dict[str, Any]] = [
    {},
    {"grouping": Grouping(), "repeat_s": HOUR},
    {"storm": Storm(alerts=2), "traits": Traits(pager=True)},
    {"after_s": 300.0, "severities": frozenset({"critical"})},
    {"quiet": Quiet(time(0), time(23, 59), BERLIN), "grouping": Grouping()},
    {"limit": 2, "pace_s": 5.0},
]


def play(world: World, script: list[tuple[str, Any, str]], *, restarts: bool = True) -> None:
    """Runs a script; incidents get revisions in order, and an end only where something fires."""
    revision: Counter[int] = Counter()
    firing: dict[int, bool] = {}
    for what, n, severity in script:
        if what == "wait":
            world.until(world.now - NOW + n)
        elif what == "outcome":
            world.outcome = lambda _, error=n: error
        elif what == "restart":
            if restarts:
                world.restart()
        elif what == "end":
            if firing.get(n):
                revision[n] += 1
                firing[n] = False
                world.receive(resolved(n, revision=revision[n]))
        else:
            revision[n] += 1
            firing[n] = True
            by = "f" * 32 if what == "suppressed" else None
            alert = make_alert(
                n, revision=revision[n], severity=severity or "info", suppressed_by=by
            )
            world.receive(alert)
    world.outcome = lambda _: None
    world.until(world.now - NOW + 60 * HOUR)


@settings(max_examples=150, deadline=None)
@example([("fire", 0, "info")] * 3 + [("restart", 0, "")], {"limit": 2, "pace_s": 5.0})
@given(steps, st.sampled_from(RULES))
def test_ends_reach_exactly_those_who_were_told_in_order_and_every_alert_has_its_decision(
    script: list[tuple[str, Any, str]], rules: dict[str, Any]
):
    world = World(chat(**rules))
    play(world, script)
    believed: dict[str, bool] = {}
    last: dict[str, tuple[int, int]] = {}
    for _, _, message in world.sent:
        for part in message.parts:
            alert = part.alert
            if alert.status == "resolved":
                assert believed.get(alert.fingerprint), "it never heard of it firing"
            assert alert.order >= last.get(alert.fingerprint, (0, 0))
            assert message.cause == "repeat" or message.is_digest or (
                alert.order > last.get(alert.fingerprint, (0, 0))
            )  # fmt: skip
            last[alert.fingerprint] = alert.order
            believed[alert.fingerprint] = alert.status == "firing"
    decided = {r.alert_id for r in world.records}
    ended = {r.alert_id for r in world.records if r.result not in {"waiting", "sending", "retried"}}
    assert decided == ended, "nothing waits for ever"
    state: dict[str, str] = {}
    for r in world.records:
        if r.result in {"delivered", "covered"}:
            state[r.fingerprint] = r.status
        elif r.status == "resolved" and r.result not in {"waiting", "sending", "retried"}:
            if r.result in {"refused", "exhausted", "overflow", "unwanted"}:
                state.pop(r.fingerprint, None)  # a dead letter says so
            else:
                assert state.get(r.fingerprint) != "firing", r.result


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from(RULES))
def test_the_ledger_alone_leads_to_the_same_state(
    script: list[tuple[str, Any, str]], rules: dict[str, Any]
):
    world = World(chat(**rules))
    play(world, script, restarts=False)
    live = world.state.lanes["chat"]
    world.restart()
    again = world.state.lanes["chat"]
    assert dict(again.lines) == dict(live.lines)
    assert list(again.pendings) == list(live.pendings)
    assert {k: v for k, v in again.digests.items() if v} == {
        k: v for k, v in live.digests.items() if v
    }


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from(RULES))
def test_alerts_read_again_after_a_restart_change_nothing(
    script: list[tuple[str, Any, str]], rules: dict[str, Any]
):
    world = World(chat(**rules))
    play(world, script)
    read = [r.carried() for r in world.records if r.result == "waiting" and r.cause == "alert"]
    world.restart()
    before = len(world.sent)
    assert world.receive(*(a for a in read if a is not None)) == []
    assert len(world.sent) == before


# -- answers --------------------------------------------------------------------------------------


def answer(name: CommandName, until: float | None = None, **target: str) -> Command:
    end = None if until is None else stamp(NOW + until)
    return Command(id=f"{name}-{target}", command=name, who="ada", when="now", until=end, **target)


def test_what_is_silenced_is_withheld_and_told_when_it_outlives_the_silence():
    world = World(chat())
    world.state.command(answer("silence", HOUR, subject="fraud@v1"), world.now)
    assert world.receive(make_alert(1), make_alert(2), make_alert(3, version="v2")) == [
        "silenced", "silenced", "waiting"
    ]  # fmt: skip
    world.until(600)
    world.receive(resolved(2))
    world.until(2 * HOUR)
    assert [(at, m.alert.fingerprint) for _, at, m in world.sent] == [
        (0.0, make_alert(3).fingerprint),
        (HOUR, make_alert(1).fingerprint),
    ]
    assert world.results()["never_told"] == 1, "over before anybody heard of it"


def test_a_silence_survives_a_restart_and_ends_early_when_it_is_taken_back():
    world = World(chat())
    silence = answer("silence", 9 * HOUR, fingerprint=make_alert(1).fingerprint)
    world.state.command(silence, world.now)
    world.receive(make_alert(1))
    world.restart()
    for again in range(2):  # commands are read again from the beginning, and may come twice
        world.state.command(silence, NOW)
        world.until(HOUR * (again + 1))
        assert not world.sent
    world.state.command(answer("unsilence", fingerprint=make_alert(1).fingerprint), world.now)
    world.state.command(silence, NOW)
    world.dispatch()
    assert world.told() == [(2 * HOUR, 1)]


def test_who_heard_of_an_alert_hears_of_its_end_in_spite_of_a_silence():
    world = World(chat())
    world.receive(make_alert(1))
    world.state.command(answer("silence", HOUR, subject="fraud@v1"), world.now)
    assert world.receive(make_alert(1, revision=2)) == ["silenced"]
    world.receive(resolved(1, revision=3))
    world.until(2 * HOUR)
    assert [m.alert.revision for _, _, m in world.sent] == [1, 3]


def test_what_waits_in_a_group_or_for_its_reminder_is_silenced_too():
    world = World(chat(grouping=Grouping(wait_s=30.0), repeat_s=4 * HOUR))
    world.receive(make_alert(1))
    world.until(60)
    world.receive(make_alert(2))
    world.state.command(answer("silence", 6 * HOUR, subject="fraud@v1"), world.now)
    world.until(5 * HOUR)
    assert world.told() == [(30.0, 1)]
    world.restart()
    world.state.command(answer("silence", 6 * HOUR, subject="fraud@v1"), NOW + 60)
    world.until(7 * HOUR)
    told = {p.alert.fingerprint for _, _, m in world.sent[1:] for p in m.parts}
    assert told == {make_alert(n).fingerprint for n in (1, 2)}
    assert world.sent[1][1] >= 6 * HOUR


def test_an_acknowledgement_is_of_one_incident_and_not_of_the_next_also_after_a_restart():
    world = World(chat(repeat_s=4 * HOUR))
    taken = answer("acknowledge", fingerprint=make_alert(1).fingerprint)
    world.receive(make_alert(1))
    world.now += 1
    world.state.command(taken, world.now)
    world.until(9 * HOUR)
    assert len(world.sent) == 1
    world.receive(resolved(1))
    world.restart()
    world.state.command(taken, NOW + 1)
    world.receive(make_alert(1, started_at="2026-11-01T16:00:00.000Z"))
    world.until(14 * HOUR)
    assert len(world.sent) == 4, "the end, the new incident, and its reminder"
