"""A client's connections to the brokers, each made ready before its first request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet


def on_each(client: Any, prepare: Callable[[Any], None]) -> None:
    """Has `prepare` called with each connection that the client opens, before anything is sent.

    What the client asks a new connection itself, its versions and who it is, is answered by then.
    """
    stock = client._get_conn  # noqa: SLF001  the one place that opens them
    known: WeakSet[Any] = WeakSet()

    async def get_conn(*args: Any, **named: Any) -> Any:
        connection = await stock(*args, **named)
        if connection is not None and connection not in known:
            known.add(connection)
            prepare(connection)
        return connection

    client._get_conn = get_conn  # noqa: SLF001
