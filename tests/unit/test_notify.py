"""Delivery: tries, breakers, the ledger and restarts, with scripted and real receivers."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import Any

import pytest

from driftline.alerts import encode
from driftline.errors import DeliveryError
from streams.agents.notify import CatchUp
from streams.notify.ledger import decode
from streams.notify.rules import Destination, Retry
from streams.notify.secrets import PlainText
from streams.notify.webhook import Webhook
from tests.notifying import NOW, QUICK, Bench, MemoryLedger, Scripted, make_alert, resolved
from tests.receiver import SECRET, Receiver

PASSING = DeliveryError("HTTP 503", retriable=True)
FOR_GOOD = DeliveryError("HTTP 400", retriable=False)


def run(scenario: Any) -> None:
    asyncio.run(scenario())


def test_a_hung_neighbour_delays_a_healthy_destination_by_nothing_that_can_be_measured():
    """The criterion: median at most twice that without the neighbour, plus 20 ms."""

    async def median_s(neighbours: list[Scripted]) -> float:
        async with Receiver([200]) as receiver:
            good = Webhook("good", PlainText(receiver.url), PlainText(SECRET))
            async with Bench(good, *neighbours, timeout_s=30.0, real=True) as bench:
                times = []
                for n in range(40):
                    began = time.monotonic()
                    await bench.receive(make_alert(n))
                    while len(receiver.seen) <= n:  # noqa: ASYNC110  the receiver's list
                        await asyncio.sleep(0.0005)
                    times.append(time.monotonic() - began)
                assert [len(n.messages) for n in neighbours] == [1] * len(neighbours)
                for lane in bench.engine._lanes:
                    if lane.name != "good":
                        lane._task.cancel()
            return statistics.median(times)

    async def scenario() -> None:
        alone = await median_s([])
        beside = await median_s([Scripted(f"hung-{i}", [60.0]) for i in range(6)])
        assert beside <= 2 * alone + 0.020

    run(scenario)


def test_what_waits_for_a_hung_destination_holds_back_neither_decisions_nor_the_others():
    async def scenario() -> None:
        hung, good = Scripted("hung", [600.0]), Scripted("good")
        async with Bench(hung, good, timeout_s=900.0, real=True) as bench:
            await bench.receive(*map(make_alert, range(200)))
            await bench.until(lambda: len(good.messages) == 200)
            assert [a.id for a in good.sent] == [make_alert(n).id for n in range(200)]
            assert len(hung.messages) == 1
            assert bench.ledger.results("hung") == ["waiting"] * 200
            bench.engine._lanes[0]._task.cancel()

    run(scenario)


def test_one_alert_that_a_destination_cannot_take_now_does_not_hold_up_its_other_incidents():
    async def scenario() -> None:
        picky = Scripted("picky", [PASSING, None])
        async with Bench(picky) as bench:
            await bench.deliver(make_alert(1), make_alert(2))
            assert [a.id for a in picky.sent] == [
                make_alert(1).id, make_alert(2).id, make_alert(1).id
            ]  # fmt: skip

    run(scenario)


def test_within_an_incident_nothing_overtakes():
    async def scenario() -> None:
        flaky = Scripted("flaky", [PASSING, PASSING, None, PASSING, None])
        async with Bench(flaky) as bench:
            await bench.deliver(make_alert(1), make_alert(1, revision=2), resolved(1, revision=3))
            delivered = [r for r in bench.ledger.records if r.result == "delivered"]
            assert [r.revision for r in delivered] == [1, 2, 3]

    run(scenario)


def test_five_failures_in_a_row_leave_a_destination_alone_for_a_minute_and_then_one_probe_goes():
    async def scenario() -> None:
        retry = Retry(give_up_s=3600.0, first_s=0.1, most_s=0.1)
        down = Scripted("down", [PASSING] * 6 + [None])
        async with Bench(down, retry=retry) as bench:
            await bench.deliver(*map(make_alert, range(3)))
            tries = [r for r in bench.ledger.records if r.result in {"retried", "delivered"}]
            times = [decoded_s(r.at) - NOW for r in tries]
            assert max(times[:5]) < 1
            assert times[5] == pytest.approx(times[4] + 60, abs=0.01), "half-open: one probe"
            assert times[6] == pytest.approx(times[5] + 60, abs=0.01), "it failed: open again"
            assert times[-1] < times[6] + 1, "it worked: closed"
        name = "driftline_notifier_breaker_open"
        assert bench.telemetry.registry.get_sample_value(name, {"destination": "down"}) == 0

    run(scenario)


def decoded_s(text: str) -> float:
    from streams.notify.ledger import seconds

    return seconds(text)


def test_a_refusal_for_good_is_no_weakness_of_the_destination():
    async def scenario() -> None:
        picky = Scripted("picky", [FOR_GOOD])
        async with Bench(picky) as bench:
            await bench.deliver(*map(make_alert, range(8)))
            assert bench.time.slept == []
            assert [name for name, _, _ in bench.lost] == ["picky"] * 8

    run(scenario)


def test_a_destination_that_asks_for_time_is_left_alone_for_all_alerts():
    async def scenario() -> None:
        asks = DeliveryError("HTTP 429", retriable=True, retry_after_s=7.0)
        busy = Scripted("busy", [asks, None])
        async with Bench(busy) as bench:
            await bench.deliver(make_alert(1), make_alert(2))
            times = [r.at for r in bench.ledger.records if r.result == "delivered"]
            assert [decoded_s(t) - NOW for t in times] == [7.0, 7.0]

    run(scenario)


def test_the_time_and_the_tries_of_a_message_are_bounded():
    async def scenario() -> None:
        for retry, tries in (
            (Retry(attempts=3, give_up_s=1e6), 3),
            (Retry(give_up_s=20.0, first_s=8.0, most_s=8.0), 3),  # at 0, 8 and 16 s
        ):
            down = Scripted("down", [PASSING])
            async with Bench(down, retry=retry) as bench:
                await bench.deliver(make_alert())
                assert len(down.messages) == tries
                assert bench.ledger.results("down")[-1] == "exhausted"
                assert [why for _, _, why in bench.lost] == ["HTTP 503"]
                assert bench.count("down", "exhausted") == 1

    run(scenario)


def test_waits_are_uniform_below_a_bound_that_doubles_up_to_a_limit():
    async def scenario() -> None:
        retry = Retry(attempts=5, give_up_s=1e6, first_s=2.0, most_s=10.0)
        down = Scripted("down", [PASSING])
        rng, again = random.Random(5), random.Random(5)
        async with Bench(down, retry=retry, jitter=rng.random) as bench:
            await bench.deliver(make_alert())
            expected = [again.random() * bound for bound in (2, 4, 8, 10)]
            assert bench.time.slept == pytest.approx(expected, abs=0.002)

    run(scenario)


def test_a_notifier_with_a_fault_of_its_own_is_not_retried_and_its_words_are_not_repeated():
    async def scenario() -> None:
        async with Bench(Scripted("odd", [KeyError("whsec_hidden")])) as bench:
            await bench.deliver(make_alert())
            assert bench.lost[0][2] == "KeyError in the notifier"

    run(scenario)


def test_nothing_more_is_sent_while_the_ledger_is_away():
    async def scenario() -> None:
        good = Scripted("good")
        async with Bench(good) as bench:
            await bench.receive(make_alert(1), make_alert(2))
            bench.ledger.failures = 100
            await bench.until(lambda: bench.ledger.failures < 60)
            assert len(good.messages) == 1
            bench.ledger.failures = 0
            await bench.deliver()
            assert bench.ledger.results("good") == ["waiting"] * 2 + ["delivered"] * 2

    run(scenario)


# -- restarts -------------------------------------------------------------------------------------


def test_a_restart_sends_nothing_twice_and_forgets_nothing_that_waits():
    async def scenario() -> None:
        ledger = MemoryLedger()
        first = Scripted("good", [None, None, PASSING])
        patient = Retry(first_s=1e6, most_s=1e6, give_up_s=1e9)
        async with Bench(first, ledger=ledger, retry=patient) as bench:
            await bench.receive(*map(make_alert, range(3)))
            await bench.until(lambda: ledger.results("good").count("retried") == 1)
        second = Scripted("good")
        async with Bench(second, ledger=ledger) as bench:
            bench.time.now = NOW + 2e6
            bench.engine.wake()
            await bench.deliver(*map(make_alert, range(3)))  # the offset was not committed
            assert [a.id for a in second.sent] == [make_alert(2).id]
            assert ledger.records[-1].attempt == 2
        third = Scripted("good")
        async with Bench(third, ledger=ledger) as bench:
            await bench.deliver(*map(make_alert, range(3)))
            assert third.sent == []

    run(scenario)


def test_what_was_sent_when_the_process_died_is_sent_once_more_under_the_same_id():
    async def scenario() -> None:
        ledger = MemoryLedger()
        first = Scripted("good")
        async with Bench(first, ledger=ledger) as bench:
            await bench.receive(*map(make_alert, range(5)))
            ledger.failures = 10**9  # the ledger hears of nothing that happens from here on
            await bench.until(lambda: bool(first.messages))
            bench.engine._lanes[0]._task.cancel()
        ledger.failures = 0
        second = Scripted("good")
        async with Bench(second, ledger=ledger) as bench:
            await bench.deliver()
        assert [m.id for m in first.messages] == [make_alert(0).id]
        assert [m.id for m in second.messages] == [make_alert(n).id for n in range(5)]

    run(scenario)


def test_a_clean_stop_lets_a_try_end_and_records_it():
    async def scenario() -> None:
        slow, ledger = Scripted("slow", [0.2]), MemoryLedger()
        bench = Bench(slow, ledger=ledger, real=True)
        await bench.receive(make_alert(1), make_alert(2))
        await bench.until(lambda: bool(slow.messages))
        await bench.engine.stop()
        assert ledger.results("slow") == ["waiting", "waiting", "delivered"]
        assert slow.closed

    run(scenario)


def test_a_partition_opened_anew_while_a_try_is_under_way_is_not_told_twice():
    async def scenario() -> None:
        slow, ledger = Scripted("slow", [0.1]), MemoryLedger()
        async with Bench(slow, ledger=ledger, real=True) as bench:
            await bench.receive(make_alert(1))
            await bench.until(lambda: bool(slow.messages))
            bench.engine.close(0)
            bench.engine.open(0, ledger.records)
            await bench.until(lambda: "delivered" in ledger.results("slow"))
            await asyncio.sleep(0.05)
            assert len(slow.messages) == 1

    run(scenario)


def test_the_ledger_tells_a_decision_for_every_alert_and_destination():
    async def scenario() -> None:
        pager = Destination(Scripted("pager"), severities=frozenset({"critical"}), retry=QUICK)
        async with Bench(Scripted("chat"), pager) as bench:
            alerts = [make_alert(n, severity=s) for n, s in enumerate(("info", "critical"))]
            await bench.deliver(*alerts)
            assert bench.ledger.results("pager") == ["unmatched", "waiting", "delivered"]
            last = bench.ledger.records[-1]
            assert last.key == f"{last.fingerprint}:{last.destination}".encode()
            assert last.attempt == 1
            assert str(last.reference).startswith("ref-")
            assert last.latency_ms is not None
            waiting = next(r for r in bench.ledger.records if r.result == "waiting")
            assert waiting.raw == encode(alerts[0])
            assert decode(bench.ledger.bytes[0]) == bench.ledger.records[0]

    run(scenario)


def test_more_than_may_wait_is_set_aside_and_the_ledger_says_so():
    async def scenario() -> None:
        small = Destination(Scripted("small", [60.0]), limit=3, timeout_s=90)
        good = Scripted("good")
        async with Bench(small, good, real=True) as bench:
            await bench.receive(*map(make_alert, range(5)))
            assert bench.ledger.results("small").count("overflow") == 2
            await bench.until(lambda: len(good.messages) == 5)
            bench.engine._lanes[0]._task.cancel()

    run(scenario)


def test_a_group_that_never_read_before_is_told_what_fires_and_not_the_past():
    past = CatchUp(end=4)
    history = [make_alert(1), make_alert(2), resolved(2), make_alert(1, revision=2)]
    for offset, alert in enumerate(history):
        assert past.firing(offset) == []
        assert past.hold(offset, alert, encode(alert))
    assert [alert.id for alert, _ in past.firing(4)] == [make_alert(1, revision=2).id]
    assert past.end == 0, "from here on every alert is decided, and offsets are committed"
    assert not past.hold(4, make_alert(3), b"")
    assert past.firing(5) == []


def test_a_sender_that_ignores_its_cancellation_does_not_hold_up_its_destination():
    class Deaf(Scripted):
        async def send(self, message: Any) -> str | None:
            self.messages.append(message)
            if len(self.messages) == 1:
                for _ in range(20):
                    try:
                        await asyncio.sleep(0.1)
                    except asyncio.CancelledError:
                        continue
            return None

    async def scenario() -> None:
        deaf = Deaf("deaf")
        async with Bench(deaf, timeout_s=0.1) as bench:
            began = time.monotonic()
            await bench.deliver(make_alert())
            assert time.monotonic() - began < 1.5
            assert bench.ledger.results("deaf") == ["waiting", "retried", "delivered"]

    run(scenario)
