"""The webhook and the log, against real receivers on loopback."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate

import pytest

from driftline.alerts import encode
from driftline.errors import DeliveryError
from streams.notify.api import Clock
from streams.notify.http import retry_after_s
from streams.notify.log import Log
from streams.notify.secrets import FileSource, PlainText
from streams.notify.webhook import Webhook, signature, signing_keys
from tests.notifying import Bench, FakeClock, make_alert, message, resolved
from tests.receiver import KEY, OTHER_KEY, OTHER_SECRET, SECRET, Receiver, half_closing, verified


def webhook(url: str, bench_clock: Clock | None = None, secrets: str = SECRET) -> Webhook:
    return Webhook("oncall", PlainText(url), PlainText(secrets), bench_clock)


def test_a_webhook_gets_the_published_bytes_signed_with_every_key():
    async def scenario() -> None:
        clock = FakeClock().clock()
        async with Receiver([204]) as receiver:
            hook = webhook(receiver.url, clock, f"{SECRET}\n{OTHER_SECRET}")
            alert = make_alert()
            await hook.send(message(alert))
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
            assert bench.ledger.results("oncall") == ["waiting", "refused"]
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
            assert bench.ledger.results("oncall") == ["waiting", "retried", "retried", "delivered"]
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
            await hook.send(message(alert))
            path.write_text(OTHER_SECRET)
            await hook.send(message(alert))
            path.unlink()
            with pytest.raises(DeliveryError, match="cannot read") as caught:
                await hook.send(message(alert))
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


# -- log, and what logs never say -----------------------------------------------------------------


def test_the_log_notifier_writes_one_line_that_says_it_all(caplog):
    caplog.set_level(logging.INFO)
    alert = make_alert(severity="critical")
    over = resolved()
    asyncio.run(Log("log").send(message(alert)))
    asyncio.run(Log("log").send(message(over)))
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
