"""Notifiers and their delivery, against real receivers on loopback."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Self

import pytest

from driftline.alerts import Alert, DetectorRef, Statistic, alert_id, decode_alert, encode
from streams.notify.api import Clock, DeliveryError, Destination, Notifier, Retry
from streams.notify.delivery import Fanout, FanoutClosedError
from streams.notify.log import Log
from streams.notify.secrets import FileSource, PlainText
from streams.notify.webhook import Webhook, retry_after_s, signature, signing_keys
from streams.telemetry import Telemetry
from tests.receiver import KEY, OTHER_KEY, OTHER_SECRET, SECRET, Receiver, half_closing, verified

QUICK = Retry(attempts=3, give_up_s=60.0, first_s=0.5, most_s=4.0)


class FakeClock:
    """Time that passes only in `sleep`, which notes how long it was asked for."""

    def __init__(self) -> None:
        self.now = 1_793_500_000.0
        self.slept: list[float] = []

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def make_alert(
    n: int = 1, *, revision: int = 1, severity: str = "warning", **more: object
) -> Alert:
    fingerprint = f"{n:032x}"
    return Alert(
        **{
            "id": alert_id(fingerprint, 1_793_500_000_000, revision),
            "fingerprint": fingerprint,
            "revision": revision,
            "status": "firing",
            "reason": "opened" if revision == 1 else "escalated",
            "severity": severity,
            "kind": "concept_drift",
            "model": "fraud",
            "version": "v1",
            "signal": "error",
            "rule": "drift",
            "detector": DetectorRef("adwin"),
            "statistic": Statistic("error", 0.3),
            "started_at": "2026-11-01T06:26:40.000Z",
            "detected_at": "2026-11-01T07:00:00.000Z",
            "summary": "error rose from 0.1 to 0.3",
            **more,
        }
    )


class Scripted:
    """A notifier that follows a script: None accepts, an error is raised, a float waits."""

    def __init__(self, name: str, script: Sequence[object] = (None,)) -> None:
        self.name = name
        self.script = list(script)
        self.sent: list[Alert] = []
        self.closed = False

    async def send(self, alert: Alert, raw: bytes) -> None:
        self.sent.append(alert)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A fan-out with a clock of its own and a list of what was given up."""

    def __init__(
        self,
        *notifiers: Notifier,
        retry: Retry = QUICK,
        timeout_s: float = 5.0,
        clock: FakeClock | None = None,
    ) -> None:
        self.time = clock or FakeClock()
        self.lost: list[tuple[str, str, str]] = []
        self.telemetry = Telemetry(destinations=[n.name for n in notifiers])
        self.fanout = Fanout(
            [Destination(n, retry=retry, timeout_s=timeout_s) for n in notifiers],
            self.telemetry,
            self.gave_up,
            clock=self.time.clock(),
            jitter=lambda: 1.0,
        )

    async def gave_up(self, name: str, alert: Alert, raw: bytes, error: DeliveryError) -> None:
        assert decode_alert(raw) == alert
        self.lost.append((name, alert.id, str(error)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fanout.close()

    async def deliver(self, *alerts: Alert) -> None:
        await asyncio.gather(*(self.fanout.deliver(a, encode(a)) for a in alerts))

    def count(self, destination: str, result: str) -> float | None:
        labels = {"destination": destination, "result": result}
        return self.telemetry.registry.get_sample_value("driftline_notifications_total", labels)


def webhook(url: str, bench_clock: Clock | None = None, secrets: str = SECRET) -> Webhook:
    return Webhook("oncall", PlainText(url), PlainText(secrets), bench_clock)


# -- webhook --------------------------------------------------------------------------------------


def test_a_webhook_gets_the_published_bytes_signed_with_every_key():
    async def scenario() -> None:
        clock = FakeClock().clock()
        async with Receiver([204]) as receiver:
            hook = webhook(receiver.url, clock, f"{SECRET}\n{OTHER_SECRET}")
            alert = make_alert()
            await hook.send(alert, encode(alert))
            await hook.close()
        headers, body = receiver.seen[0]
        assert body == encode(alert)
        assert headers["webhook-id"] == alert.id
        assert headers["webhook-timestamp"] == "1793500000"
        assert headers["Content-Type"] == "application/json"
        assert verified(headers, body, [KEY, OTHER_KEY]) == [True, True]
        assert verified(headers, body + b" ", [KEY]) == [False]

    asyncio.run(scenario())


def test_the_signature_is_the_one_of_the_specification():
    # the worked example of the Standard Webhooks libraries
    keys = signing_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422, 301])
def test_a_refusal_for_good_is_dead_lettered_at_once(status):
    async def scenario() -> None:
        answer = (status, {"Location": "http://127.0.0.1:1/"})
        async with Receiver([answer]) as receiver, Bench(webhook(receiver.url)) as bench:
            await bench.deliver(make_alert())
            assert bench.lost == [("oncall", make_alert().id, f"HTTP {status}")]
            assert bench.count("oncall", "refused") == 1
            assert bench.time.slept == []
        assert len(receiver.seen) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_passing_refusal_is_tried_again_under_the_same_id(status):
    async def scenario() -> None:
        answers = [status, status, 200]
        async with Receiver(answers) as receiver, Bench(webhook(receiver.url)) as bench:
            await bench.deliver(make_alert())
            assert bench.lost == []
            assert bench.time.slept == [0.5, 1.0]
            assert bench.count("oncall", "retried") == 2
            assert bench.count("oncall", "delivered") == 1
        assert receiver.ids() == [make_alert().id] * 3

    asyncio.run(scenario())


def test_retry_after_is_waited_for_in_seconds_and_as_a_date():
    async def scenario() -> None:
        time_ = FakeClock()
        date = formatdate(time_.now + 30 + 7, usegmt=True)
        answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": date}), 200]
        async with (
            Receiver(answers) as receiver,
            Bench(webhook(receiver.url, time_.clock()), clock=time_) as bench,
        ):
            await bench.deliver(make_alert())
            assert bench.time.slept == [7.0, 30.0]

    asyncio.run(scenario())


def test_a_destination_that_asks_for_more_time_than_there_is_is_given_up():
    async def scenario() -> None:
        answers = [(429, {"Retry-After": "9000"}), 200]
        async with Receiver(answers) as receiver, Bench(webhook(receiver.url)) as bench:
            await bench.deliver(make_alert())
            assert bench.count("oncall", "exhausted") == 1
        assert len(receiver.seen) == 1

    asyncio.run(scenario())


def test_receivers_that_hang_close_or_are_not_there_are_retried_until_out_of_tries():
    async def scenario() -> None:
        cut: list[bytes] = []
        server, closing_url = await half_closing(cut)
        async with Receiver(["hang"]) as receiver, server:
            free = "http://127.0.0.1:9/hook"  # nobody listens on the discard port
            for url, word in ((receiver.url, "no answer"), (closing_url, ""), (free, "")):
                async with Bench(webhook(url), timeout_s=0.1) as bench:
                    await bench.deliver(make_alert())
                    assert bench.count("oncall", "retried") == 2
                    assert bench.count("oncall", "exhausted") == 1
                    assert word in bench.lost[0][2]
                    assert "127.0.0.1" not in bench.lost[0][2]
        assert len(cut) == 3

    asyncio.run(scenario())


def test_a_rotated_secret_file_is_used_without_a_restart(tmp_path):
    async def scenario() -> None:
        path = tmp_path / "secret"
        path.write_text(SECRET + "\n")
        async with Receiver([200]) as receiver:
            hook = Webhook("oncall", PlainText(receiver.url), FileSource(path))
            alert = make_alert()
            await hook.send(alert, encode(alert))
            path.write_text(OTHER_SECRET)
            await hook.send(alert, encode(alert))
            path.unlink()
            with pytest.raises(DeliveryError, match="cannot read") as caught:
                await hook.send(alert, encode(alert))
            assert caught.value.retriable
            await hook.close()
        assert verified(*receiver.seen[0], [KEY, OTHER_KEY]) == [True, False]
        assert verified(*receiver.seen[1], [KEY, OTHER_KEY]) == [False, True]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_a_date_or_nothing(header, seconds):
    assert retry_after_s(header, 10.0) == seconds


# -- delivery -------------------------------------------------------------------------------------


def test_a_hung_neighbour_does_not_delay_a_healthy_destination():
    async def scenario() -> None:
        hung, healthy = Scripted("hung", [60.0]), Scripted("healthy")
        async with Bench(hung, healthy, timeout_s=30.0) as bench:
            alerts = [make_alert(n) for n in range(200)]
            waiting = [asyncio.create_task(bench.fanout.deliver(a, encode(a))) for a in alerts]
            began = time.monotonic()
            while len(healthy.sent) < len(alerts):
                await asyncio.sleep(0)
                assert time.monotonic() - began < 5
            assert [a.id for a in healthy.sent] == [a.id for a in alerts]
            assert len(hung.sent) == 1
            assert not any(task.done() for task in waiting)
            queue = "driftline_notifier_queue_length"
            length = bench.telemetry.registry.get_sample_value(queue, {"destination": "hung"})
            assert length == 200
            await bench.fanout.close()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, FanoutClosedError) for result in results)

    asyncio.run(scenario())


def test_a_receiver_that_hangs_does_not_delay_one_that_answers():
    async def scenario() -> None:
        async with Receiver(["hang"]) as hanging, Receiver([200]) as good:
            hooks = [
                Webhook(name, PlainText(url), PlainText(SECRET))
                for name, url in (("hung", hanging.url), ("good", good.url))
            ]
            async with Bench(*hooks, timeout_s=30.0) as bench:
                began = time.monotonic()
                waiting = asyncio.gather(
                    bench.deliver(*map(make_alert, range(20))), return_exceptions=True
                )
                while bench.count("good", "delivered") != 20:
                    await asyncio.sleep(0.005)
                    assert time.monotonic() - began < 5
                assert len(hanging.seen) == 1
                await bench.fanout.close()
                await waiting

    asyncio.run(scenario())


def test_deliver_returns_when_all_have_accepted_or_given_up():
    async def scenario() -> None:
        never = DeliveryError("no", retriable=True)
        good, bad = Scripted("good"), Scripted("bad", [never])
        async with Bench(good, bad) as bench:
            await bench.deliver(make_alert(1), make_alert(2))
            assert [name for name, _, _ in bench.lost] == ["bad", "bad"]
            assert len(good.sent) == 2
            assert len(bad.sent) == 6

    asyncio.run(scenario())


def test_a_destination_hears_only_of_its_severities():
    async def scenario() -> None:
        pager = Scripted("pager")
        bench = Bench()
        chosen = Destination(pager, severities=frozenset({"critical"}))
        fanout = Fanout([chosen], bench.telemetry, bench.gave_up)
        for n, severity in enumerate(("info", "warning", "critical")):
            alert = make_alert(n, severity=severity)
            await fanout.deliver(alert, encode(alert))
        assert [a.severity for a in pager.sent] == ["critical"]
        await fanout.close()
        assert pager.closed

    asyncio.run(scenario())


def test_what_is_not_newer_is_passed_over():
    async def scenario() -> None:
        heard = Scripted("heard")
        async with Bench(heard) as bench:
            first, second = make_alert(1), make_alert(1, revision=2)
            for alert in (first, second, first, second, make_alert(2)):
                await bench.deliver(alert)
        assert [(a.fingerprint, a.revision) for a in heard.sent] == [
            (first.fingerprint, 1),
            (first.fingerprint, 2),
            (make_alert(2).fingerprint, 1),
        ]

    asyncio.run(scenario())


def test_a_repeat_of_an_alert_under_way_waits_for_it():
    async def scenario() -> None:
        slow = Scripted("slow", [0.05])
        async with Bench(slow) as bench:
            one = asyncio.create_task(bench.deliver(make_alert()))
            await asyncio.sleep(0.01)
            one.cancel()
            await bench.deliver(make_alert())
            assert bench.count("slow", "delivered") == 1
        assert len(slow.sent) == 1

    asyncio.run(scenario())


def test_if_the_dead_letter_fails_so_does_the_delivery_and_it_can_be_repeated():
    async def scenario() -> None:
        refuses = Scripted("picky", [DeliveryError("no", retriable=False), None])
        bench = Bench()

        async def broken(*_: object) -> None:
            raise ConnectionError("no broker")

        fanout = Fanout([Destination(refuses)], bench.telemetry, broken)
        alert = make_alert()
        with pytest.raises(ConnectionError):
            await fanout.deliver(alert, encode(alert))
        await fanout.deliver(alert, encode(alert))
        assert len(refuses.sent) == 2
        await fanout.close()
        with pytest.raises(FanoutClosedError):
            await fanout.deliver(alert, encode(alert))

    asyncio.run(scenario())


def test_a_notifier_with_a_fault_of_its_own_is_not_retried_and_its_words_are_not_repeated():
    async def scenario() -> None:
        async with Bench(Scripted("odd", [KeyError("whsec_hidden")])) as bench:
            await bench.deliver(make_alert())
            assert bench.lost[0][2] == "KeyError in the notifier"

    asyncio.run(scenario())


def test_waits_are_uniform_below_a_bound_that_doubles_up_to_a_limit():
    async def scenario() -> None:
        retry = Retry(attempts=9, give_up_s=1e6, first_s=2.0, most_s=30.0)
        rng = random.Random(5)
        bench = Bench()
        fanout = Fanout(
            [Destination(Scripted("down", [DeliveryError("no", retriable=True)]), retry=retry)],
            bench.telemetry,
            bench.gave_up,
            clock=bench.time.clock(),
            jitter=rng.random,
        )
        await fanout.deliver(make_alert(), encode(make_alert()))
        await fanout.close()
        bounds = [2, 4, 8, 16, 30, 30, 30, 30]
        again = random.Random(5)
        assert bench.time.slept == [again.random() * bound for bound in bounds]

    asyncio.run(scenario())


def test_no_try_begins_after_the_time_is_up():
    async def scenario() -> None:
        retry = Retry(attempts=1_000, give_up_s=100.0, first_s=8.0, most_s=8.0)
        down = Scripted("down", [DeliveryError("no", retriable=True)])
        async with Bench(down, retry=retry) as bench:
            await bench.deliver(make_alert())
            assert len(down.sent) == 13  # at 0, 8, ... 96 s
            assert sum(bench.time.slept) <= 100

    asyncio.run(scenario())


# -- log, and what logs never say -----------------------------------------------------------------


def test_the_log_notifier_writes_one_line_that_says_it_all(caplog):
    caplog.set_level(logging.INFO)
    alert = make_alert(severity="critical")
    resolved = make_alert(
        revision=2, status="resolved", reason="recovered", ended_at="2026-11-01T08:00:00.000Z"
    )
    asyncio.run(Log("log").send(alert, b""))
    asyncio.run(Log("log").send(resolved, b""))
    first, second = caplog.records
    assert first.getMessage() == (
        "CRITICAL firing concept_drift: fraud@v1 since 2026-11-01T06:26:40.000Z: "
        f"error rose from 0.1 to 0.3 (alert {alert.id})"
    )
    assert first.levelname == "ERROR"
    assert (first.alert_id, first.model) == (alert.id, "fraud")
    assert second.levelname == "INFO"
    assert "WARNING resolved (recovered) concept_drift: fraud@v1 from 2026" in second.getMessage()


def test_no_secret_gets_into_a_log_or_an_error(caplog):
    async def scenario() -> list[str]:
        texts = []
        async with Receiver([400, 503, 503, 503]) as receiver:
            urls = [receiver.url + "/T0KENT0KENT0KENT0KEN?key=T0KEN"] * 2
            urls += [
                "http://user:T0KEN@127.0.0.1:9/T0KEN",
                "http://T0KEN.invalid/",
                "http://[T0KEN",
            ]
            for n, url in enumerate(urls):
                async with Bench(webhook(url)) as bench:
                    await bench.deliver(make_alert(n))
                    texts += [text for _, _, text in bench.lost]
        return texts

    caplog.set_level(logging.DEBUG)
    texts = asyncio.run(scenario())
    assert len(texts) == 5
    said = caplog.text + "".join(texts) + "".join(str(vars(r)) for r in caplog.records)
    assert "oncall" in said
    assert "T0KEN" not in said.upper()
    assert SECRET not in said
