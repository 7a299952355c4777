"""The `apprise` notifier: any of the services that Apprise knows, SMS included, one URL each.

Apprise blocks, has a thread pool that all services share, and hides what a service answered. So a
destination has a thread of its own, in which Apprise runs by itself (`service_timeout=0`: no pool),
every failure may be tried again, six times, and its log is off: it could repeat a URL.

Source: Apprise 2.2, read and run (docs/adr/0020).
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node
from streams.notify import render
from streams.notify.api import Message, Traits
from streams.notify.fields import secret_source
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("service_file", "service_env")
TRAITS = Traits(attaches=True, attempts=6)
SHORT = 500
"""A service that takes fewer characters than this is a pager or a phone: one line."""


class Apprise:
    """One Apprise URL."""

    def __init__(self, name: str, service: Source) -> None:
        self.name = name
        self._service = service
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"apprise-{name}")

    async def send(self, message: Message) -> None:
        """Notifies in this destination's own thread. Raises: DeliveryError, always retriable.

        A try that timed out may still end well in its thread; the next one waits for it.
        """
        try:
            url = self._service.read()
        except SecretUnavailableError as error:  # it may be in rotation right now
            raise DeliveryError(str(error), retriable=True) from None
        png = await message.picture()
        loop = asyncio.get_running_loop()
        why = await loop.run_in_executor(self._thread, partial(_notify, url, message, png))
        if why is not None:
            raise DeliveryError(why, retriable=True)

    async def close(self) -> None:
        """Lets the thread end when it is free."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _notify(url: str, message: Message, png: bytes | None) -> str | None:
    """Why the service did not take it; None: it did."""
    import apprise  # noqa: PLC0415  only who uses it pays a quarter of a second
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415

    service = plugin(url)
    if service is None:
        return "Apprise does not know this URL"
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    attach = None
    if png is not None and service.attachment_support:  # others would drop it and say success
        attach = AttachMemory(content=png, name="chart.png", mimetype="image/png")
    title, body = words(message, int(service.body_maxlen))
    result = sender.notify(
        body=body,
        title=title,
        notify_type=_type(message),
        body_format=apprise.NotifyFormat.TEXT,
        attach=attach,
        interpret_escapes=False,
    )
    return None if result else "the service did not take it, Apprise does not say why"


def words(message: Message, most: int) -> tuple[str, str]:
    """(title, body) for a service that takes `most` characters; no title where there is no room."""
    if most < SHORT:
        return "", render.neutral(render.title(message), most)
    body = render.text(message)
    return render.title(message), body if len(body) <= most else body[: most - 1] + "…"


def _type(message: Message) -> Any:  # Any: Apprise's own enumeration
    import apprise  # noqa: PLC0415

    if not message.firing:
        return apprise.NotifyType.SUCCESS
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    return kinds.get(message.alert.severity, apprise.NotifyType.INFO)


def plugin(url: str) -> Any:  # Any: Apprise's plugins share no public type
    """Apprise's service of a URL, with nothing shared, fetched or logged; None: not one."""
    import apprise  # noqa: PLC0415

    for name in ("apprise", "urllib3"):
        quiet = logging.getLogger(name)
        quiet.setLevel(logging.CRITICAL + 1)  # its messages may hold URLs with secrets
        quiet.propagate = False
    asset = apprise.AppriseAsset(
        app_id="driftline",
        app_desc="Driftline",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        secure_logging=True,
        service_timeout=0,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        interpret_escapes=False,
        interpret_emojis=False,
        allow_templates=False,
    )
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def build(name: str, document: Document, node: Node, environ: Environment) -> Apprise | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    service = secret_source(document, node, environ, "service", "the Apprise URL")
    if service is None:
        return None
    fields = node.fields or {}
    here = fields.get("service_file", fields.get("service_env", node))
    try:
        known = plugin(service.read())
    except ImportError:
        document.problem(node, "Apprise is not installed: pip install 'driftline[notify]'")
        return None
    if known is None:
        document.problem(here, "Apprise knows no service of that URL (one destination, one URL)")
        return None
    return Apprise(name, service)
