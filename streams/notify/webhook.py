"""The `webhook` notifier: the alert's JSON by HTTP POST, signed as Standard Webhooks 1.0 says.

Headers `webhook-id` (the alert's id, equal on every retry and replay, so receivers can drop
repeats), `webhook-timestamp` (seconds) and `webhook-signature`: for each secret
`v1,base64(HMAC-SHA256(key, id.timestamp.body))`, separated by spaces. Two secrets at once let a
receiver change over without a gap.

Source: Standard Webhooks specification 1.0, section "Signature scheme".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from driftline.alerts import Alert
from driftline.errors import DeliveryError
from streams.document import Document, Node
from streams.notify.api import Clock
from streams.notify.secrets import (
    Environment,
    PlainText,
    SecretUnavailableError,
    Source,
    checked,
    file_source,
    is_reference,
    variable_source,
)

KEYS = ("url", "url_file", "secret_file", "secret_env")
"""What an entry of kind `webhook` may say besides what every destination may."""

PREFIX = "whsec_"
KEY_BYTES = (24, 64)
"""Shortest and longest key that the specification allows."""

RETRIABLE = {408, 425, 429}
"""Besides these and 5xx, no refusal goes away by asking again."""


_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""A part of a path that looks like a secret: long, letters and digits mixed."""


class BadSecretError(ValueError):
    """A signing secret is not of the form that Standard Webhooks wants. Never holds the secret."""


class Webhook:
    """One HTTP receiver. Redirects are refused: they would carry alerts to who knows whom.

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
        self._session: aiohttp.ClientSession | None = None

    async def send(self, alert: Alert, raw: bytes) -> None:
        """Posts the alert; returns on any 2xx.

        Raises:
            DeliveryError: retriable for 408, 425, 429, 5xx and connections that fail or break.
        """
        try:
            url = self._url.read()
            keys = signing_keys(self._secrets.read())
        except (SecretUnavailableError, BadSecretError) as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        moment = int(self._clock.wall())
        headers = {
            "content-type": "application/json",
            "user-agent": "driftline",
            "webhook-id": alert.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(keys, alert.id, moment, raw),
        }
        try:
            async with self._client().post(
                url, data=raw, headers=headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
        except aiohttp.InvalidURL:
            raise DeliveryError("its URL is not valid", retriable=False) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            # only the class: the text of such an error may hold the URL
            raise DeliveryError(f"{type(error).__name__} on the way", retriable=True) from None
        if not 200 <= status < 300:  # noqa: PLR2004  2xx is what success is called
            raise refusal(status, retry_after, self._clock.wall())

    async def close(self) -> None:
        """Closes kept connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        """A session of this destination's own, made inside the loop: nothing is shared."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session


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
                f"a signing secret must hold {span} bytes, not {len(key)}; "
                'make one with: echo "whsec_$(openssl rand -base64 32)"'
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


def refusal(status: int, retry_after: str | None, now: float) -> DeliveryError:
    """What a status outside 2xx means; `now` in seconds since the epoch."""
    retriable = status in RETRIABLE or status >= 500  # noqa: PLR2004  the server's fault
    wait_s = retry_after_s(retry_after, now) if retriable and retry_after else None
    return DeliveryError(f"HTTP {status}", retriable=retriable, retry_after_s=wait_s)


def retry_after_s(value: str, now: float) -> float | None:
    """Seconds from a `Retry-After` header, a number or an HTTP date; None: it is neither.

    Source: RFC 9110, section 10.2.3.
    """
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else None


def build(name: str, document: Document, node: Node, environ: Environment) -> Webhook | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    fields = node.fields or {}
    url = _url(document, node, fields, environ)
    secrets = _secrets(document, node, fields, environ)
    return Webhook(name, url, secrets) if url and secrets else None


def _url(
    document: Document, node: Node, fields: Mapping[str, Node], environ: Environment
) -> Source | None:
    here = fields.get("url", fields.get("url_file"))
    if here is None or ("url" in fields and "url_file" in fields):
        document.problem(node, "say where to post: `url: ${VARIABLE}` or `url_file: PATH`")
        return None
    if "url_file" in fields:
        source = file_source(document, here)
    elif is_reference(here.text or ""):
        source = variable_source(document, here, environ)
    else:
        text = document.string(here)
        source = PlainText(text) if text else None
    source = checked(document, here, source)
    problem = _url_problem(source.read(), plain=isinstance(source, PlainText)) if source else None
    if problem:
        document.problem(here, problem)
        return None
    return source


def _url_problem(text: str, *, plain: bool) -> str | None:
    """What is wrong with a URL, without repeating it; `plain`: it stands in the file itself."""
    try:
        url = URL(text)
    except ValueError:
        return "not a valid URL"
    if url.scheme not in {"http", "https"} or not url.host:
        return "expected an http:// or https:// URL with a host"
    secret = url.user or url.password or url.query_string or any(map(_TOKEN.fullmatch, url.parts))
    if plain and secret:
        return "this URL seems to hold a secret; put it in a file (`url_file`) or use ${VARIABLE}"
    return None


def _secrets(
    document: Document, node: Node, fields: Mapping[str, Node], environ: Environment
) -> Source | None:
    here = fields.get("secret_file", fields.get("secret_env"))
    if here is None or ("secret_file" in fields and "secret_env" in fields):
        document.problem(
            node,
            "say where the signing secret is: `secret_file: PATH` or `secret_env: NAME`; "
            'make one with: echo "whsec_$(openssl rand -base64 32)"',
        )
        return None
    if "secret_file" in fields:
        source = file_source(document, here)
    else:
        source = variable_source(document, here, environ)
    source = checked(document, here, source)
    try:
        return source if source and signing_keys(source.read()) else None
    except BadSecretError as error:
        document.problem(here, str(error))
        return None
