"""The `log` notifier: one line per alert, on the worker's own log."""

from __future__ import annotations

import logging

from driftline.alerts import Alert
from streams.monitors.document import Document, Node
from streams.notify.api import Message, Traits
from streams.notify.secrets import Environment

KEYS = ()
TRAITS = Traits(groups=False, storm=False, repeats=False)

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
"""Severity of a firing alert -> level; a resolved one is information."""

logger = logging.getLogger("driftline.alert")


class Log:
    """Writes `CRITICAL firing concept_drift: fraud@v2 since 2026-...: summary (alert id)`."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, message: Message) -> None:
        """Writes a line for each alert; it cannot fail."""
        for part in message.parts:
            self._line(part.alert)

    def _line(self, alert: Alert) -> None:
        firing = alert.status == "firing"
        state = "firing" if alert.reason == "opened" else f"{alert.status} ({alert.reason})"
        logger.log(
            LEVELS[alert.severity] if firing else logging.INFO,
            "%s %s %s: %s@%s %s: %s (alert %s)",
            alert.severity.upper(),
            state,
            alert.kind,
            alert.model,
            alert.version,
            _when(alert),
            alert.summary,
            alert.id,
            extra={
                "alert_id": alert.id,
                "model": alert.model,
                "version": alert.version,
                "severity": alert.severity,
                "status": alert.status,
                "kind": alert.kind,
                "started_at": alert.started_at,
            },
        )

    async def close(self) -> None:
        """Nothing to let go of."""


def _when(alert: Alert) -> str:
    if alert.status == "resolved" and alert.ended_at:
        return f"from {alert.started_at} to {alert.ended_at}"
    return f"since {alert.started_at}"


def build(name: str, document: Document, node: Node, environ: Environment) -> Log:  # noqa: ARG001
    """The notifier of one entry of the destinations file; it has no settings."""
    return Log(name)
