"""The `pagerduty` notifier: Events API v2, one incident per alert incident.

`dedup_key` is made of the fingerprint (of a storm's digest: of its id), so a repeat changes
nothing, an escalation updates the incident, and the end resolves it.

Source: PagerDuty, "Events API v2 Overview" and "Send an Alert Event".
"""

from __future__ import annotations

from driftline.alerts import Alert
from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node
from streams.notify import render
from streams.notify.api import Clock, Message, Part, Traits
from streams.notify.fields import secret_source, url_source
from streams.notify.http import Poster
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("key_file", "key_env", "url", "url_file")
TRAITS = Traits(groups=False, repeats=False, pager=True, give_up_s=24 * 3600.0, pace_s=1.0)
API = "https://events.pagerduty.com/v2/enqueue"
MAX_SUMMARY = 1024


class PagerDuty:
    """One integration key."""

    def __init__(self, name: str, key: Source, url: Source, clock: Clock | None = None) -> None:
        self.name = name
        self._key = key
        self._url = url
        self._poster = Poster(clock)

    async def send(self, message: Message) -> str | None:
        """Sends trigger or resolve; returns the dedup key. Raises: DeliveryError."""
        part = message.leading
        action = "trigger" if message.firing else "resolve"
        dedup = dedup_key(part, message)
        body: dict[str, object] = {"event_action": action, "dedup_key": dedup}
        if action == "trigger":
            body["payload"] = _payload(message, part.alert)
            body["client"] = "Driftline"
            body["links"] = [{"href": u, "text": n} for n, u in render.links(part.alert)]
        await self._post(body)
        return dedup

    async def acknowledge(self, dedup: str) -> None:
        """Marks an incident as taken. Raises: DeliveryError."""
        await self._post({"event_action": "acknowledge", "dedup_key": dedup})

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()

    async def _post(self, body: dict[str, object]) -> None:
        try:
            key, url = self._key.read(), self._url.read()
        except SecretUnavailableError as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        await self._poster.json(url, {"routing_key": key, **body})


def dedup_key(part: Part, message: Message) -> str:
    """What PagerDuty keeps the incident under, at most 255 characters."""
    key = message.id if message.is_digest else part.key or part.alert.fingerprint
    return f"driftline-{render.neutral(key, 200)}"


def _payload(message: Message, alert: Alert) -> dict[str, object]:
    details: dict[str, object] = {"message_id": message.id, "text": render.text(message)}
    if not message.is_digest:
        details |= dict(render.facts(alert))
        details |= {"alert_id": alert.id, "revision": alert.revision}
    return {
        "summary": render.neutral(render.title(message), MAX_SUMMARY),
        "source": render.neutral(f"{alert.model}@{alert.version}"),
        "severity": alert.severity,  # PagerDuty has all three of ours
        "timestamp": alert.detected_at,
        "component": render.neutral(alert.signal, 200),
        "group": render.neutral(alert.model, 200),
        "class": alert.kind,
        "custom_details": details,
    }


def build(name: str, document: Document, node: Node, environ: Environment) -> PagerDuty | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    key = secret_source(document, node, environ, "key", "the integration key")
    url = url_source(document, node, environ, default=API)
    return PagerDuty(name, key, url) if key and url else None
