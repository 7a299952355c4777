"""HTTP POST as every sender does it: own session, no redirects, answers as delivery errors.

Redirects are refused: they would carry alerts to who knows whom. Errors never repeat the URL or an
answer's text, which may hold secrets; of an answer only its status is told.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
import orjson

from driftline.errors import DeliveryError
from streams.notify.api import Clock

RETRIABLE = {408, 425, 429}
"""Besides these and 5xx, no refusal goes away by asking again."""
MOST_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered."""

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def fields(self) -> dict[str, object]:
        """The JSON object of the body; empty if it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


class Poster:
    """A session of one destination's own, made inside the loop: nothing is shared."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._session: aiohttp.ClientSession | None = None

    async def json(
        self, url: str, body: object, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Posts JSON. Raises: DeliveryError, for anything but 2xx."""
        return await self.post(
            url, orjson.dumps(body), {"content-type": "application/json", **(headers or {})}
        )

    async def post(self, url: str, data: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts bytes; returns on any 2xx.

        Raises:
            DeliveryError: retriable for 408, 425, 429, 5xx and connections that fail or break.
        """
        try:
            async with self._client().post(
                url,
                data=data,
                headers={"user-agent": "driftline", **headers},
                allow_redirects=False,
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                body = await response.content.read(MOST_ANSWER_BYTES)
        except aiohttp.InvalidURL:
            raise DeliveryError("its URL is not valid", retriable=False) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            # only the class: the text of such an error may hold the URL
            raise DeliveryError(f"{type(error).__name__} on the way", retriable=True) from None
        if not 200 <= status < 300:  # noqa: PLR2004  2xx is what success is called
            raise refusal(status, retry_after, self._clock.wall())
        wait_s = retry_after_s(retry_after, self._clock.wall()) if retry_after else None
        return Answer(status, body, wait_s)

    async def close(self) -> None:
        """Closes kept connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session


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
