"""The `slack` notifier: an incoming webhook, or a bot token with threads and pictures.

With a token the first message of an incident begins a thread that later ones answer in; the
message's id travels as metadata. Text is escaped as Slack asks (`&`, `<`, `>`), so nothing in an
alert becomes a mention such as `<!channel>` or a link of its own.

Source: Slack Web API, methods chat.postMessage, files.getUploadURLExternal and
files.completeUploadExternal; "Formatting text for app surfaces", section "Escaping text".
"""

from __future__ import annotations

import logging
from urllib.parse import urlencode

from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node
from streams.notify import render
from streams.notify.api import Clock, Message, Traits
from streams.notify.fields import secret_source, url_source
from streams.notify.http import Answer, Poster
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("url", "url_file", "token_file", "token_env", "channel", "api", "api_file")
TRAITS = Traits(attaches=True)
API = "https://slack.com/api"
MAX_TEXT = 3000
"""Characters of one section block."""

PASSING = {
    *("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable"),
    *("request_timeout", "message_limit_exceeded", "team_added_to_org"),
}
"""Errors of the Web API that another try can mend; all others are for good."""

COLOURS = {"critical": "#c0392b", "warning": "#e67e22", "info": "#2980b9"}
logger = logging.getLogger(__name__)


class SlackWebhook:
    """An incoming webhook: no threads and no pictures, Slack gives no handle of the message."""

    def __init__(self, name: str, url: Source, clock: Clock | None = None) -> None:
        self.name = name
        self._url = url
        self._poster = Poster(clock)

    async def send(self, message: Message) -> None:
        """Posts the message. Raises: DeliveryError."""
        await self._poster.json(_read(self._url), payload(message))

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()


class SlackBot:
    """A bot with the scopes `chat:write` and, for pictures, `files:write`."""

    def __init__(
        self, name: str, token: Source, channel: str, api: Source, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._token = token
        self._channel = channel
        self._api = api
        self._poster = Poster(clock)

    async def send(self, message: Message) -> str | None:
        """Posts the message, in its incident's thread; returns `channel:ts`. Raises: DeliveryError.

        A picture that Slack does not take is left out, and that is logged: the words are there.
        """
        body = {"channel": self._channel, **payload(message)}
        channel, _, thread = (message.leading.reference or "").partition(":")
        if thread:
            body |= {"channel": channel, "thread_ts": thread, "reply_broadcast": not message.firing}
        if message.is_digest:
            body.pop("thread_ts", None)
            body.pop("reply_broadcast", None)
        body["metadata"] = {
            "event_type": "driftline_alert",
            "event_payload": {"id": message.id, "fingerprint": message.alert.fingerprint},
        }
        said = await self._call("chat.postMessage", body)
        channel, ts = str(said.get("channel", self._channel)), str(said.get("ts", ""))
        png = await message.picture()
        if png is not None and ts:
            try:
                await self._upload(png, channel, thread or ts)
            except DeliveryError as error:
                logger.warning("destination %s: the picture was left out: %s", self.name, error)
        return f"{channel}:{ts}"

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()

    async def _upload(self, png: bytes, channel: str, thread: str) -> None:
        asked: dict[str, object] = {"filename": "chart.png", "length": str(len(png))}
        place = await self._call("files.getUploadURLExternal", asked, form=True)
        await self._poster.post(str(place["upload_url"]), png, {"content-type": "image/png"})
        await self._call(
            "files.completeUploadExternal",
            {
                "files": [{"id": place["file_id"], "title": "chart"}],
                "channel_id": channel,
                "thread_ts": thread,
            },
        )

    async def _call(
        self, method: str, body: dict[str, object], *, form: bool = False
    ) -> dict[str, object]:
        """One method of the Web API, which answers 200 to errors, too."""
        url = f"{_read(self._api).rstrip('/')}/{method}"
        headers = {"authorization": f"Bearer {_read(self._token)}"}
        if form:
            headers["content-type"] = "application/x-www-form-urlencoded"
            answer = await self._poster.post(url, urlencode(body).encode(), headers)
        else:
            headers["content-type"] = "application/json; charset=utf-8"
            answer = await self._poster.json(url, body, headers)
        return _said(answer)


def _said(answer: Answer) -> dict[str, object]:
    fields = answer.fields
    if fields.get("ok") is not True:
        error = str(fields.get("error", "no JSON"))
        known = error if error.replace("_", "").isalnum() else "an error"
        retriable = error in PASSING or not fields
        raise DeliveryError(
            f"Slack said {known[:40]}", retriable=retriable, retry_after_s=answer.retry_after_s
        )
    return fields


def _read(source: Source) -> str:
    try:
        return source.read()
    except SecretUnavailableError as error:  # it may be in rotation right now
        raise DeliveryError(str(error), retriable=True) from None


def escaped(text: str) -> str:
    """The text with the three characters that Slack gives a meaning replaced."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(message: Message) -> dict[str, object]:
    """Fallback text and one coloured attachment of blocks."""
    title = escaped(render.title(message))
    body = escaped(render.text(message))
    if len(body) > MAX_TEXT - 10:
        body = body[: MAX_TEXT - 11].rsplit("&", 1)[0] + "…"
    colour = COLOURS[message.alert.severity] if message.firing else "#27ae60"
    # Code: Slack makes no formatting, emoji or links of what stands in it.
    words = body if message.is_digest else f"```{body.replace('```', chr(0x2BC) * 3)}```"
    blocks: list[dict[str, object]] = [
        {
            "type": "section",
            "text": {"type": "plain_text", "text": render.title(message)[:MAX_TEXT]},
        },
        {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}},
    ]
    links = [] if message.is_digest else render.links(message.alert)
    if links:
        words = " · ".join(
            f"<{escaped(url)}|{escaped(name)}>" for name, url in links if "|" not in url
        )
        if words:
            blocks.append(
                {"type": "context", "elements": [{"type": "mrkdwn", "text": words[:MAX_TEXT]}]}
            )
    return {
        "text": title,
        "attachments": [{"color": colour, "blocks": blocks}],
        "link_names": False,
        "unfurl_links": False,
    }


def build(
    name: str, document: Document, node: Node, environ: Environment
) -> SlackWebhook | SlackBot | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    fields = node.fields or {}
    if "url" in fields or "url_file" in fields:
        for key in ("token_file", "token_env", "channel", "api"):
            if key in fields:
                document.problem(fields[key], "a webhook's URL says it all; use one or the other")
                return None
        url = url_source(document, node, environ)
        return SlackWebhook(name, url) if url else None
    token = secret_source(
        document, node, environ, "token", "the bot token", advice="or `url_file` of a webhook"
    )
    api = url_source(document, node, environ, name="api", default=API)
    if "channel" not in fields:
        document.problem(node, "`channel` is missing; a bot must know where to speak")
        return None
    channel = document.string(fields["channel"])
    return SlackBot(name, token, channel, api) if token and channel and api else None
