"""Responses of megabytes, received where they stay: for the worker's consumer.

asyncio's stream, which aiokafka reads from, takes 256 KiB at a time into a bytes object, adds them
to a buffer, stops reading at 128 KiB, wakes its reader up for each piece, and copies the whole out
at the end. Here the kernel writes into the bytes that are decoded.

Source: aiokafka 0.14.0, `conn.py`; a response is its size in 4 bytes, then so many bytes.
"""

from __future__ import annotations

import asyncio
import io
import weakref
from typing import Any

SIZE_BYTES = 4


def receive(connection: Any) -> None:
    """Makes a connection that waits for no answer receive them so from now on.

    One that does, or that is encrypted, stays as it is.
    """
    reader = connection._reader  # noqa: SLF001  what this module is for
    waits = connection._requests or reader._buffer or reader._paused  # noqa: SLF001
    if not waits and connection._ssl_context is None:  # noqa: SLF001
        writer = connection._writer  # noqa: SLF001
        writer.transport.set_protocol(Responses(connection, writer.transport.get_protocol()))


class Responses(asyncio.BufferedProtocol):
    """Reads responses and hands them to their connection.

    The stock protocol hears of everything else: that the connection is lost ends its reader, and
    with it the connection.
    """

    def __init__(self, connection: Any, stock: Any) -> None:
        self._connection = weakref.ref(connection)
        self._stock = stock
        self._size = bytearray(SIZE_BYTES)
        self._begin()

    def _begin(self) -> None:
        self._body: io.BytesIO | None = None
        self._left = memoryview(self._size)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """What is still to come of a size or a response."""
        return self._left

    def buffer_updated(self, nbytes: int) -> None:
        """So much of it has come."""
        self._left = self._left[nbytes:]
        if self._left:
            return
        if self._body is None:
            size = int.from_bytes(self._size, "big", signed=True)
            # The bytes belong to nobody else, so the stream writes into them, and gives them out
            # as they are.
            self._body = io.BytesIO(bytes(size))
            self._left = self._body.getbuffer()
            if size:
                return
        body = self._body
        self._begin()
        connection = self._connection()
        if connection is not None:
            connection._handle_frame(body.getvalue())  # noqa: SLF001

    def eof_received(self) -> Any:
        """As the stock protocol does."""
        return self._stock.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The stock reader ends, and closes the connection."""
        self._stock.connection_lost(exc)

    def pause_writing(self) -> None:
        """As the stock protocol does."""
        self._stock.pause_writing()

    def resume_writing(self) -> None:
        """As the stock protocol does."""
        self._stock.resume_writing()
