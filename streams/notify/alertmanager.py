"""The `alertmanager` notifier: Prometheus Alertmanager's API v2.

Alertmanager forgets what it is not told again: what fires is posted anew every minute with an end
four minutes ahead, so it resolves by itself if Driftline is gone. Its identity of an alert is all
labels, severity included: a change of severity resolves the old one and fires the new in one post.

Source: Prometheus, "Sending alerts" (Alertmanager clients), and api/v2/openapi.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from driftline.alerts import Alert
from driftline.errors import DeliveryError
from driftline.rules import iso_ms
from streams.monitors.document import Document, Node
from streams.notify import render
from streams.notify.api import Clock, Message, Traits
from streams.notify.fields import secret_source, url_source
from streams.notify.http import Poster
from streams.notify.ledger import stamp
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("url", "url_file", "token_file", "token_env")
TRAITS = Traits(groups=False, storm=False, repeats=False)
PATH = "/api/v2/alerts"
AHEAD_S = 240.0
_LABEL = re.compile(r"[^a-zA-Z0-9_]")


class Alertmanager:
    """One Alertmanager; name each of a cluster, they do not pass alerts on to each other."""

    refresh_s = 60.0

    def __init__(
        self, name: str, url: Source, token: Source | None = None, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._url = url
        self._token = token
        self._clock = clock or Clock()
        self._poster = Poster(self._clock)

    async def send(self, message: Message) -> None:
        """Posts each alert, ended or with an end ahead. Raises: DeliveryError."""
        now = self._clock.wall()
        body = []
        for part in message.parts:
            alert = part.alert
            if part.severity not in {None, alert.severity}:
                body.append(_entry(alert, now, ends=now, severity=part.severity))
            ends = now + AHEAD_S if alert.status == "firing" else now
            body.append(_entry(alert, now, ends=ends))
        await self._post(body)

    async def refresh(self, alerts: Sequence[Alert]) -> None:
        """Posts what fires again. Raises: DeliveryError."""
        now = self._clock.wall()
        await self._post([_entry(alert, now, ends=now + AHEAD_S) for alert in alerts])

    async def close(self) -> None:
        """Closes kept connections."""
        await self._poster.close()

    async def _post(self, body: list[dict[str, object]]) -> None:
        try:
            url = self._url.read().rstrip("/").removesuffix(PATH) + PATH
            token = self._token.read() if self._token is not None else None
        except SecretUnavailableError as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        await self._poster.json(url, body, {"authorization": f"Bearer {token}"} if token else {})


def _entry(
    alert: Alert, now: float, *, ends: float, severity: str | None = None
) -> dict[str, object]:
    """One alert; its start is never after its end, which Alertmanager refuses."""
    starts = min((iso_ms(alert.started_at) or 0) / 1000, now)
    links = dict(render.links(alert))
    entry: dict[str, object] = {
        "labels": labels(alert, severity or alert.severity),
        "annotations": {
            "summary": render.neutral(alert.summary),
            "description": render.neutral(
                "; ".join(f"{name}: {value}" for name, value in render.facts(alert)), 2000
            ),
            "alert_id": alert.id,
            **({"runbook_url": links["runbook"]} if "runbook" in links else {}),
        },
        "startsAt": stamp(min(starts, ends)),
        "endsAt": stamp(ends),
    }
    if "generator" in links:
        entry["generatorURL"] = links["generator"]
    return entry


def labels(alert: Alert, severity: str) -> dict[str, str]:
    """What Alertmanager knows the alert by; segments are labels that begin with `segment_`."""
    named = {
        "alertname": "Driftline" + alert.kind.title().replace("_", ""),
        "severity": severity,
        "model": alert.model,
        "version": alert.version,
        "signal": alert.signal,
        "rule": alert.rule,
        "fingerprint": alert.fingerprint,
    }
    for name, value in (alert.segment or {}).items():
        named[f"segment_{_LABEL.sub('_', name)[:60]}"] = value
    return {name: render.neutral(value, 200) for name, value in named.items()}


def build(name: str, document: Document, node: Node, environ: Environment) -> Alertmanager | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    url = url_source(document, node, environ)
    fields = node.fields or {}
    wants_token = "token_file" in fields or "token_env" in fields
    token = secret_source(document, node, environ, "token", "the token", need=wants_token)
    if url is None or (wants_token and token is None):
        return None
    return Alertmanager(name, url, token)
