"""TCP proxies in front of the brokers that can lose one produce request or one answer to it.

A lost message ends its connection, as a broken network does: the client cannot know whether the
broker has what it sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Sequence

PRODUCE = 0
OURS = b"faust"
"""Client ids that begin so are workers; what feeds the test is left alone."""


class Proxies:
    """One proxy per broker port, in a thread of its own."""

    def __init__(self, targets: Sequence[int]) -> None:
        self.ports: list[int] = []
        self.lost = {"request": 0, "response": 0}
        self.armed = {"request": 0, "response": 0}
        self._targets = list(targets)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def lose(self, what: str) -> None:
        """The next produce "request" or "response" of a worker never arrives."""
        self.armed[what] += 1

    def stop(self) -> None:
        """Ends the thread and every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for target in self._targets:
            server = self._loop.run_until_complete(
                asyncio.start_server(self._accept(target), "127.0.0.1", 0)
            )
            self.ports.append(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _accept(self, target: int):  # type: ignore[no-untyped-def]
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                up, down = await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                writer.close()
                return
            produced: set[int] = set()
            pumps = [
                asyncio.create_task(self._requests(reader, down, produced)),
                asyncio.create_task(self._responses(up, writer, produced)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                for each in (writer, down):
                    with contextlib.suppress(OSError):
                        each.close()
            await asyncio.gather(*pumps, return_exceptions=True)

        return accept

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, produced: set[int]
    ) -> None:
        async for frame in _frames(reader):
            key, _, correlation = struct.unpack_from(">hhi", frame, 4)
            if key == PRODUCE and frame[14 : 14 + len(OURS)] == OURS:
                if self._take("request"):
                    return
                produced.add(correlation)
            writer.write(frame)
            await writer.drain()

    async def _responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, produced: set[int]
    ) -> None:
        async for frame in _frames(reader):
            (correlation,) = struct.unpack_from(">i", frame, 4)
            if correlation in produced:
                produced.discard(correlation)
                if self._take("response"):
                    return
            writer.write(frame)
            await writer.drain()

    def _take(self, what: str) -> bool:
        armed = self.armed[what] > 0
        self.armed[what] -= armed
        self.lost[what] += armed
        return armed


async def _frames(reader: asyncio.StreamReader):  # type: ignore[no-untyped-def]
    """Kafka frames with their length in front; ends where the connection does."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            size = await reader.readexactly(4)
            yield size + await reader.readexactly(struct.unpack(">i", size)[0])
