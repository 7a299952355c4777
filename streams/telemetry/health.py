"""Health and metrics over HTTP, on a port and in a thread of their own.

The server is up before Kafka is and stays up when the event loop hangs or the broker dies: that is
when somebody needs it. It knows nothing of Kafka; the worker tells it what holds.

| path | 200 while |
|---|---|
| `/healthz/live` | the worker's loop has beaten within 30 s; otherwise restart the process |
| `/healthz/ready` | the worker says it is ready: partitions assigned, state restored |
| `/healthz/startup` | the worker has been ready once |
| `/metrics` | always; Prometheus text or OpenMetrics, as the `Accept` header asks; all series, or
  those of the query (`?name[]=driftline_consumer_lag_messages`) only |

Everything else is 503 or 404, and every body of `/healthz` is JSON that says why.
"""

from __future__ import annotations

import errno
import gzip
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client.exposition import choose_encoder

from driftline.errors import DriftlineError
from streams.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

BEAT_LIMIT_S = 30.0
"""A loop that has not beaten for so long is taken for dead."""
REQUEST_TIMEOUT_S = 10.0
MAX_REQUESTS = 16
"""Requests answered at one time; further ones are closed at once, so that nobody exhausts us."""

Answer = tuple[HTTPStatus, dict[str, Any]]


class HealthPortError(DriftlineError):
    """The health server cannot listen where it was told to."""


class HealthServer:
    """The server and what it says. Its methods may be called from any thread.

    Args:
        telemetry: whose registry `/metrics` shows.
        port: where to listen; 0: any free port, then `port` says which.
        host: address to listen on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        port: int = 8081,
        *,
        host: str = "127.0.0.1",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.port = port
        self._host = host
        self._registry = telemetry.registry
        self._clock = clock
        self._beat = clock()
        self._ready = self._started = False
        self._why = "starting"
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listens and answers from now on; counts as the first beat.

        Raises:
            HealthPortError: the port is taken, or not ours to take.
        """
        self.beat()
        try:
            self._server = _Server((self._host, self.port), self)
        except OSError as error:
            raise HealthPortError(self._advice(error)) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.name = "driftline-health"
        self._thread.start()

    def stop(self) -> None:
        """Closes the port; does nothing if it was not open."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def beat(self) -> None:
        """Says that the worker's loop runs; to be called every second or so, from that loop."""
        self._beat = self._clock()

    def set_ready(self, ready: bool, why: str = "") -> None:
        """Says whether the worker does its work, and if not, `why` in a few words for people."""
        self._ready = ready
        self._why = why if why or ready else "not ready"
        self._started = self._started or ready

    def live(self) -> Answer:
        """Whether the loop has beaten lately."""
        age = max(0.0, self._clock() - self._beat)
        seen = {"beat_age_seconds": round(age, 1), "limit_seconds": BEAT_LIMIT_S}
        if age < BEAT_LIMIT_S:
            return _ok(seen)
        return _fail(f"the worker's loop has not run for {age:.0f} s", seen)

    def ready(self) -> Answer:
        """Whether the worker does its work right now; never if its loop hangs."""
        status, body = self.live()
        if status is not HTTPStatus.OK:
            return status, body
        return _ok({}) if self._ready else _fail(self._why, {})

    def startup(self) -> Answer:
        """Whether the worker has been ready once."""
        return _ok({}) if self._started else _fail(self._why, {})

    def metrics(self, accept: str, names: Sequence[str] = ()) -> tuple[bytes, str]:
        """(exposition, content type) in the format that an `Accept` header asks for.

        `names`: of the series to show; none: all.
        """
        encode, content_type = choose_encoder(accept)
        registry = self._registry
        shown = registry.restricted_registry(names) if names else registry
        return encode(shown), content_type

    def _advice(self, error: OSError) -> str:
        where = f"{self._host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            what = f"port {self.port} is taken: another worker may be running on this machine"
        else:
            what = f"cannot listen on {where}: {error.strerror or error}"
        return f"{what}; set DRIFTLINE_HEALTH_PORT to a free port, or to 0 for any"


def _ok(more: dict[str, Any]) -> Answer:
    return HTTPStatus.OK, {"status": "ok", **more}


def _fail(why: str, more: dict[str, Any]) -> Answer:
    return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "failing", "why": why, **more}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that dawdles does not hold up the worker's exit
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], health: HealthServer) -> None:
        self.health = health
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A client that hangs up is nothing; anything else is ours, and is logged."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("the health server could not answer a request")  # noqa: LOG004  called from one

    def server_bind(self) -> None:
        """Binds without HTTPServer's reverse look-up of the host's name: it can take seconds."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "driftline"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        """Answers one request."""
        health = self.server.health
        answers: dict[str, Callable[[], Answer]] = {
            "/healthz/live": health.live,
            "/healthz/ready": health.ready,
            "/healthz/startup": health.startup,
        }
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/metrics":
            self._metrics()
        elif path in answers:
            self._json(*answers[path]())
        else:
            known = [*answers, "/metrics"]
            self._json(HTTPStatus.NOT_FOUND, {"status": "unknown path", "paths": known})

    do_HEAD = do_GET  # noqa: N815  named by the standard library

    def _metrics(self) -> None:
        names = parse_qs(urlsplit(self.path).query).get("name[]", [])
        body, content_type = self.server.health.metrics(self.headers.get("Accept", ""), names)
        headers = {}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        self._send(HTTPStatus.OK, content_type, body, headers)

    def _json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode() + b"\n", {})

    def _send(
        self, status: HTTPStatus, content_type: str, body: bytes, headers: dict[str, str]
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  named by the base class
        """Requests every few seconds are not worth a line."""
