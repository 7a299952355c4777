"""The `jsm` notifier: Jira Service Management operations, alerts opened and closed by alias.

Source: Atlassian, "Jira Service Management Operations: Integration Events REST API".
"""

from __future__ import annotations

from urllib.parse import quote

from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node
from streams.notify import render
from streams.notify.api import Clock, Message, Traits
from streams.notify.fields import secret_source, url_source
from streams.notify.http import Poster
from streams.notify.pagerduty import dedup_key
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("key_file", "key_env", "url", "url_file")
TRAITS = Traits(groups=False, repeats=False, pager=True, give_up_s=24 * 3600.0)
API = "https://api.atlassian.com/jsm/ops/integration/v2/alerts"
PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}
MAX_MESSAGE, MAX_DESCRIPTION = 130, 15_000


class JiraServiceManagement:
    """One integration of one team."""

    def __init__(self, name: str, key: Source, url: Source, clock: Clock | None = None) -> None:
        self.name = name
        self._key = key
        self._url = url
        self._poster = Poster(clock)

    async def send(self, message: Message) -> str | None:
        """Creates or closes; returns the alias. Raises: DeliveryError.

        Creating an alias that is open already counts it up there, it makes no second alert.
        """
        try:
            key, url = self._key.read(), self._url.read().rstrip("/")
        except SecretUnavailableError as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        alert = message.alert
        alias = dedup_key(message.leading, message)
        if message.firing:
            details = {"alert_id": alert.id, "revision": str(alert.revision), "id": message.id}
            body: dict[str, object] = {
                "message": render.neutral(render.title(message), MAX_MESSAGE),
                "alias": alias,
                "description": render.text(message)[:MAX_DESCRIPTION],
                "priority": PRIORITIES[alert.severity],
                "source": "Driftline",
                "entity": render.neutral(f"{alert.model}@{alert.version}", 512),
                "tags": [alert.kind, alert.severity],
                "details": details,
            }
        else:
            url = f"{url}/{quote(alias, safe='')}/close?identifierType=alias"
            body = {"source": "Driftline", "note": render.title(message)}
        await self._poster.json(url, body, {"authorization": f"GenieKey {key}"})
        return alias

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()


def build(
    name: str, document: Document, node: Node, environ: Environment
) -> JiraServiceManagement | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    key = secret_source(document, node, environ, "key", "the integration key")
    url = url_source(document, node, environ, default=API)
    return JiraServiceManagement(name, key, url) if key and url else None
