"""Somebody's own program: it takes the webhooks and checks that they are signed with our key."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from driftline.alerts import Alert, decode_alert

MAX_BODY_BYTES = 1 << 20


def new_secret() -> str:
    """A signing secret in the form of Standard Webhooks: `whsec_` and 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the message's signatures was made with this secret.

    Args:
        secret: `whsec_...`.
        headers: `webhook-id`, `webhook-timestamp`, `webhook-signature`; names in lower case.
        body: as it came.

    Source: Standard Webhooks specification 1.0, section "Signature scheme". A receiver
        that faces the internet would also refuse old timestamps.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode()
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed + body, "sha256")).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(wanted, one) for one in given)


class Receiver:
    """An HTTP server on the loopback interface; calls `on_alert` for each alert that came signed.

    Attributes:
        refused: requests whose signature was wrong or missing.
    """

    def __init__(self, secret: str, on_alert: Callable[[Alert], None]) -> None:
        self.refused = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES)
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                good = is_signed(secret, headers, body)
                self.send_response(HTTPStatus.NO_CONTENT if good else HTTPStatus.UNAUTHORIZED)
                self.end_headers()
                if good:
                    on_alert(decode_alert(body))
                else:
                    receiver.refused += 1

            def log_message(self, *_: object) -> None:
                """The story is told elsewhere."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def __enter__(self) -> Self:
        """Starts to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
