"""The `email` notifier: SMTP with STARTTLS or TLS, one thread per incident, the picture inline.

`Message-ID` is made of the message's id, so a repeat has the same one; `In-Reply-To` and
`References` name the first mail about the incident. Headers are built by the standard library's
mail package from neutralised texts: a line break in a feature name ends no header.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

import aiosmtplib

from driftline.errors import DeliveryError
from streams.monitors.document import Document, Node, required
from streams.notify import render
from streams.notify.api import Clock, Message, Traits
from streams.notify.fields import secret_source
from streams.notify.secrets import Environment, SecretUnavailableError, Source

KEYS = ("host", "port", "tls", "ca_file", "from", "to", "username", "password_file", "password_env")
TRAITS = Traits(attaches=True)
MODES = ("starttls", "tls", "none")
PORTS = {"starttls": 587, "tls": 465, "none": 25}
LOCAL = ("localhost", "127.0.0.1", "::1")

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_NOT_LOCAL = re.compile(r"[^A-Za-z0-9_-]")
PERMANENT = 500


class Mail:
    """One list of people behind one SMTP server."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        tls: str,
        sender: str,
        to: list[str],
        username: str | None = None,
        password: Source | None = None,
        ca_file: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._host = host
        self._port = port
        self._tls = tls
        self._sender = sender
        self._to = to
        self._username = username
        self._password = password
        self._ca_file = ca_file
        self._clock = clock or Clock()

    async def send(self, message: Message) -> str | None:
        """Sends one mail; returns its Message-ID. Raises: DeliveryError."""
        mail = self.compose(message, await message.picture())
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
            password = self._password.read() if self._password is not None else None
        except (SecretUnavailableError, OSError) as error:  # it may be in rotation right now
            what = str(error) if isinstance(error, SecretUnavailableError) else "no CA file"
            raise DeliveryError(what, retriable=True) from None
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._tls == "tls",
            start_tls=self._tls == "starttls",  # required, never only tried
            tls_context=context if self._tls != "none" else None,
            username=self._username,
            password=password,
            timeout=60,
        )
        try:
            await client.connect()
            await client.send_message(mail, sender=self._sender, recipients=self._to)
            await client.quit()
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {refused.code for refused in error.recipients}
            raise _refusal(min(codes)) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error.code) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # only the class: the text of such an error may hold what the server said
            raise DeliveryError(f"{type(error).__name__} on the way", retriable=True) from None
        finally:  # at once, also if the try was given up: a server that hangs answers no QUIT
            client.close()
        return str(mail["Message-ID"])

    async def close(self) -> None:
        """Nothing is kept open."""

    def compose(self, message: Message, png: bytes | None) -> EmailMessage:
        """The mail: text, HTML, and the picture inside it."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = Address("Driftline", addr_spec=self._sender)
        mail["To"] = [Address(addr_spec=to) for to in self._to]
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock.wall(), UTC))
        mail["Subject"] = render.title(message)
        mail["Message-ID"] = self._id(message.id)
        roots = list(dict.fromkeys(part.root for part in message.parts if part.root))
        if roots:
            if len(roots) == 1:
                mail["In-Reply-To"] = self._id(roots[0])
            mail["References"] = " ".join(self._id(root) for root in roots[:10])
        mail["Auto-Submitted"] = "auto-generated"
        alert = message.alert
        mail["X-Driftline-Severity"] = alert.severity
        mail["X-Driftline-Status"] = alert.status
        if message.firing and alert.severity == "critical":
            mail["Importance"] = "high"
        mail.set_content(render.text(message), cte="quoted-printable")
        if png is None:
            mail.add_alternative(render.html(message), subtype="html", cte="quoted-printable")
            return mail
        image = f"{message.id}.chart@driftline"
        page = render.html(message, image=f"cid:{image}")
        mail.add_alternative(page, subtype="html", cte="quoted-printable")
        parts = mail.get_payload()
        assert isinstance(parts, list)  # add_alternative has made it one
        html = parts[1]
        assert isinstance(html, EmailMessage)
        html.add_related(
            png, "image", "png", cid=f"<{image}>", filename="chart.png", disposition="inline"
        )
        return mail

    def _id(self, message_id: str) -> str:
        local = _NOT_LOCAL.sub("-", message_id)[:64] or "message"
        return f"<{local}@{self._sender.rpartition('@')[2]}>"


def _refusal(code: int) -> DeliveryError:
    return DeliveryError(f"SMTP {code}", retriable=code < PERMANENT)


def build(name: str, document: Document, node: Node, environ: Environment) -> Mail | None:
    """The notifier of one entry of the destinations file; None after noting what is wrong."""
    fields = node.fields or {}
    before = len(document.problems)
    required(document, node, "host", "from", "to")
    tls = document.choice(fields["tls"], MODES) if "tls" in fields else "starttls"
    host = document.string(fields["host"]) if "host" in fields else None
    port = document.whole(fields["port"], least=1) if "port" in fields else None
    sender = _addresses(document, fields.get("from"))
    to = _addresses(document, fields.get("to"))
    username = document.string(fields["username"]) if "username" in fields else None
    password = secret_source(
        document, node, environ, "password", "the password", need=username is not None
    )
    ca_file = None
    if "ca_file" in fields and (text := document.string(fields["ca_file"])):
        ca_file = Path(document.file).parent / text
        if not ca_file.is_file():
            document.problem(fields["ca_file"], "no such file")
    if tls == "none" and username is not None and host not in LOCAL:
        document.problem(node, "a password would travel in clear; use `tls: starttls` or `tls`")
    if len(document.problems) > before or not (host and tls and sender and to):
        return None
    return Mail(
        name,
        host=host,
        port=port or PORTS[tls],
        tls=tls,
        sender=sender[0],
        to=to,
        username=username,
        password=password,
        ca_file=ca_file,
    )


def _addresses(document: Document, node: Node | None) -> list[str]:
    if node is None:
        return []
    found = document.strings(node)
    for text in found:
        if not _ADDRESS.fullmatch(text):
            document.problem(node, "expected mail addresses such as team@example.org")
    return found
