"""The kinds of notifier there are: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.document import Document, Node
from streams.notify import log, webhook
from streams.notify.api import Notifier
from streams.notify.secrets import Environment


@dataclass(frozen=True, slots=True)
class Kind:
    """How the destinations file says a notifier: its own keys, and what makes it of them.

    `build` gets the destination's name, the document (for problems), its entry, the environment.
    """

    keys: tuple[str, ...]
    build: Callable[[str, Document, Node, Environment], Notifier | None]


NOTIFIERS: Mapping[str, Kind] = {
    "log": Kind(log.KEYS, log.build),
    "webhook": Kind(webhook.KEYS, webhook.build),
}
