"""The kinds of notifier there are: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.monitors.document import Document, Node
from streams.notify import alertmanager, apprise, jsm, log, mail, pagerduty, slack, webhook
from streams.notify.api import Notifier, Traits
from streams.notify.secrets import Environment


@dataclass(frozen=True, slots=True)
class Kind:
    """How the destinations file says a notifier: its own keys, what makes it, what it is like.

    `build` gets the destination's name, the document (for problems), its entry, the environment.
    """

    keys: tuple[str, ...]
    build: Callable[[str, Document, Node, Environment], Notifier | None]
    traits: Traits


NOTIFIERS: Mapping[str, Kind] = {
    "log": Kind(log.KEYS, log.build, log.TRAITS),
    "webhook": Kind(webhook.KEYS, webhook.build, webhook.TRAITS),
    "email": Kind(mail.KEYS, mail.build, mail.TRAITS),
    "slack": Kind(slack.KEYS, slack.build, slack.TRAITS),
    "pagerduty": Kind(pagerduty.KEYS, pagerduty.build, pagerduty.TRAITS),
    "jsm": Kind(jsm.KEYS, jsm.build, jsm.TRAITS),
    "alertmanager": Kind(alertmanager.KEYS, alertmanager.build, alertmanager.TRAITS),
    "apprise": Kind(apprise.KEYS, apprise.build, apprise.TRAITS),
}
