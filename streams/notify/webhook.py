"""The `webhook` notifier: the alert's JSON by HTTP POST, signed as Standard Webhooks 1.0 says.

Headers `webhook-id` (the alert's id, equal on every retry and replay, so receivers can drop
repeats), `webhook-timestamp` (seconds) and `webhook-signature`: for each secret
`v1,base64(HMAC-SHA256(key, id.timestamp.body))`, separated by spaces. Two secrets at once let a
receiver change over without a gap. A digest, if the destination asks for digests, is a JSON list.

Source: Standard Webhooks specification 1.0, section "Signature scheme".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node
from streams.notify.api import Clock, Message, Traits
from streams.notify.fields import secret_source, url_source
from streams.notify.http import Poster
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("url", "url_file", "secret_file", "secret_env")
"""What an entry of kind `webhook` may say besides what every destination may."""
TRAITS = Traits(groups=False, storm=False, repeats=False)

PREFIX = "whsec_"
KEY_BYTES = (24, 64)
"""Shortest and longest key that the specification allows."""
ADVICE = 'make one with: echo "whsec_$(openssl rand -base64 32)"'


class BadSecretError(ValueError):
    """A signing secret is not of the form that Standard Webhooks wants. Never holds the secret."""


class Webhook:
    """One HTTP receiver.

    Args:
        name: of the destination.
        url: where to post, http or https; itself a secret, so only read, never shown.
        secrets: text with one or more `whsec_...` separated by white space.
        clock: for the timestamp, and for `Retry-After` given as a date.
    """

    def __init__(self, name: str, url: Source, secrets: Source, clock: Clock | None = None) -> None:
        self.name = name
        self._url = url
        self._secrets = secrets
        self._clock = clock or Clock()
        self._poster = Poster(self._clock)

    async def send(self, message: Message) -> None:
        """Posts the alert; returns on any 2xx. Raises: DeliveryError."""
        body = message.parts[0].raw
        if message.is_digest:
            body = b"[" + b",".join(part.raw for part in message.parts) + b"]"
        await self.post(message.id, body)

    async def post(self, message_id: str, body: bytes) -> None:
        """Posts JSON under this `webhook-id`; returns on any 2xx. Raises: DeliveryError."""
        try:
            url = self._url.read()
            keys = signing_keys(self._secrets.read())
        except (SecretUnavailableError, BadSecretError) as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        moment = int(self._clock.wall())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(keys, message_id, moment, body),
        }
        await self._poster.post(url, body, headers)

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()


def signing_keys(text: str) -> list[bytes]:
    """The keys of one or more `whsec_<base64>` separated by white space; the first is the newest.

    Raises:
        BadSecretError: none there, or one is not of that form, or shorter or longer than allowed.
    """
    keys = []
    for word in text.split():
        if not word.startswith(PREFIX):
            raise BadSecretError(f"a signing secret must begin with {PREFIX}")
        try:
            key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise BadSecretError(f"a signing secret must be base64 after {PREFIX}") from None
        if not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
            span = f"{KEY_BYTES[0]} to {KEY_BYTES[1]}"
            raise BadSecretError(
                f"a signing secret must hold {span} bytes, not {len(key)}; {ADVICE}"
            )
        keys.append(key)
    if not keys:
        raise BadSecretError("there is no signing secret")
    return keys


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,...` per key, in their order."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, content, "sha256") for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def build(name: str, document: Document, node: Node, environ: Environment) -> Webhook | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    url = url_source(document, node, environ)
    secrets = secret_source(document, node, environ, "secret", "the signing secret", advice=ADVICE)
    if url is None or secrets is None:
        return None
    try:
        signing_keys(secrets.read())
    except BadSecretError as error:
        fields = node.fields or {}
        document.problem(fields.get("secret_file", fields.get("secret_env", node)), str(error))
        return None
    return Webhook(name, url, secrets)
