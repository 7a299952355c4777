"""A real SMTP server on loopback, with STARTTLS and passwords, that answers as scripted."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope


@dataclass
class Post:
    """What the server took, and what it says to each mail: the last answer for ever."""

    script: list[Any] = field(default_factory=lambda: ["250 OK"])
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Envelope) -> str:  # noqa: N802  the library's name
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if answer == "hang":
            await asyncio.sleep(60)
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        return str(answer)

    def check(self, *arguments: Any) -> AuthResult:
        data = arguments[-1]
        login = f"{data.login.decode()}:{data.password.decode()}"
        self.logins.append(login)
        return AuthResult(success=login == "driftline:hunter2", handled=False)

    @property
    def mails(self) -> list[EmailMessage]:
        """What was taken, parsed as a reader would."""
        parsed = (message_from_bytes(raw, policy=policy.default) for raw in self.raw)
        return [m for m in parsed if isinstance(m, EmailMessage)]


class OwnPort(Controller):
    """A controller that takes any free port and knows which."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) of 127.0.0.1 that signs itself."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@contextmanager
def post_office(*script: Any, tls: tuple[Path, Path] | None = None) -> Iterator[Post]:
    """The server, for as long as the block runs; with `tls` it insists on STARTTLS and a login."""
    post = Post(list(script) or ["250 OK"])
    options: dict[str, Any] = {}
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
        options = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": post.check,
        }
    controller = OwnPort(post, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        post.port = controller.port
        yield post
    finally:
        controller.stop()
