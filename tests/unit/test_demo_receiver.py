"""The demo's webhook receiver takes what our notifier signs, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from driftline.alerts import encode
from driftline.errors import DeliveryError
from streams.demo.receiver import Receiver, is_signed, new_secret
from streams.notify.webhook import Webhook, signature, signing_keys
from tests.demo_parts import make_alert
from tests.notifying import message


class Text:
    def __init__(self, text):
        self.text = text

    def read(self):
        return self.text


async def post(url, secret, alert, raw):
    webhook = Webhook("demo", Text(url), Text(secret))
    try:
        await webhook.send(message(alert))
    finally:
        await webhook.close()


def test_what_the_notifier_sends_is_taken():
    secret, came = new_secret(), []
    alert = make_alert(0, 1000)
    with Receiver(secret, came.append) as receiver:
        asyncio.run(post(receiver.url, secret, alert, encode(alert)))
    assert came == [alert]
    assert receiver.refused == 0


def test_another_secret_is_refused():
    came = []
    alert = make_alert(0, 1000)
    with (
        Receiver(new_secret(), came.append) as receiver,
        pytest.raises(DeliveryError, match="401"),
    ):
        asyncio.run(post(receiver.url, new_secret(), alert, encode(alert)))
    assert came == []
    assert receiver.refused == 1


def test_a_changed_body_id_or_time_breaks_the_signature():
    secret = new_secret()
    headers = {
        "webhook-id": "a",
        "webhook-timestamp": "1",
        "webhook-signature": signature(signing_keys(secret), "a", 1, b"body"),
    }
    assert is_signed(secret, headers, b"body")
    assert not is_signed(secret, headers, b"bodY")
    assert not is_signed(secret, {**headers, "webhook-id": "b"}, b"body")
    assert not is_signed(secret, {**headers, "webhook-timestamp": "2"}, b"body")
    assert not is_signed(secret, {}, b"body")
