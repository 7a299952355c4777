"""A webhook receiver on loopback that answers as scripted, and checks signatures its own way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER_KEY = bytes(range(100, 124))
OTHER_SECRET = "whsec_" + base64.b64encode(OTHER_KEY).decode()


@dataclass
class Receiver:
    """Answers with `script` in turn, the last for ever.

    An answer is a status, (status, headers), (status, headers, body), `hang`, or a function of the
    path that returns one.
    """

    script: list[Any]
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append((dict(request.headers), await request.read()))
        self.paths.append(request.path_qs)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if callable(answer):
            answer = answer(request.path)
        if answer == "hang":
            await asyncio.sleep(600)
        whole = answer if isinstance(answer, tuple) else (answer, {})
        status, headers, body = (*whole, b"")[:3]
        return web.Response(status=status, headers=headers, body=body)

    def json(self) -> list[Any]:
        """The JSON body of each request, in order."""
        return [orjson.loads(body) for _, body in self.seen]

    def ids(self) -> list[str]:
        """The `webhook-id` of each request, in order."""
        return [headers["webhook-id"] for headers, _ in self.seen]


async def half_closing(seen: list[bytes]) -> tuple[asyncio.Server, str]:
    """A server that reads each request and closes its half without an answer."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write_eof()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


def verified(headers: dict[str, str], body: bytes, keys: Iterable[bytes]) -> list[bool]:
    """Whether the signatures hold, one for each key: the receiver's side of Standard Webhooks."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    given = headers["webhook-signature"].split(" ")
    good = []
    for key in keys:
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        good.append("v1," + base64.b64encode(digest).decode() in given)
    return good
