"""Our connections and record batches on trial, before a worker relies on them.

`streams.kafka.responses`, `requests` and `record_batch` reach into internals of aiokafka. So, when
a worker starts, they talk to a broker of a few lines on this machine: where what it hears or
answers is not what stock code would have said or understood, the worker does without them.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v0
from aiokafka.protocol.produce import ProduceRequest, ProduceRequest_v3, ProduceResponse_v3
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.kafka import checksums, requests, responses
from streams.kafka.connections import on_each
from streams.kafka.record_batch import LONG, RecordBatch

log = logging.getLogger(__name__)

VERSIONS, METADATA, PRODUCE = 18, 3, 0
"""Numbers of requests in Kafka's protocol."""
TOPICS = [(0, f"{'long' * 50}-{n}", [(0, p, 1, [1], [1]) for p in range(8)]) for n in range(900)]
"""Half a megabyte of an answer: more than a socket holds at once."""
PRODUCED = [("one", [(0, bytearray(b"0" * 300_000)), (1, b"1")]), ("two", [(7, b"")])]
TIMEOUT_S = 5.0


def works() -> bool:
    """Whether requests, responses and record batches are what aiokafka's own would be."""
    if checksums.CHECKSUM is None:
        return False
    try:
        with ThreadPoolExecutor(1) as thread:  # whose event loop is nobody else's
            return _same_batches() and thread.submit(asyncio.run, _in_time()).result()
    except Exception:  # whatever an unknown version raises: the stock way is there
        log.exception("connections of our own failed their check")
        return False


async def _in_time() -> bool:
    async with asyncio.timeout(TIMEOUT_S):
        return await _talk()


def _same_batches() -> bool:
    ours, stock = RecordBatch(1 << 16), DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 16)
    for offset, record in enumerate(
        [
            (5, b"key", b"v" * LONG, [("name", b"content"), ("none", None)]),
            (4, None, b"", []),
            (9, b"", None, []),
            (9, None, b"more than there is room for" * 3_000, []),
        ]
    ):
        one, two = ours.append(offset, *record), stock.append(offset, *record)
        if (one is None) != (two is None) or ours.size() != stock.size():
            return False
        if one and (one.offset, one.size, one.timestamp) != (two.offset, two.size, two.timestamp):
            return False
    built = bytes(ours.build())
    return built == bytes(stock.build()) and checksums.intact(built)


async def _talk() -> bool:
    """Whether client and broker hear what the other said."""
    broker = _Broker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")
    prepared = []

    def prepare(connection: Any) -> None:
        prepared.append(connection)
        responses.receive(connection)
        requests.send_in_pieces(connection)

    on_each(client, prepare)
    try:
        broker.metadata = MetadataResponse_v0([(1, "127.0.0.1", port)], TOPICS)
        await client.bootstrap()
        metadata = await client.send(1, MetadataRequest([]))
        produced = await client.send(1, ProduceRequest(None, -1, 1_000, PRODUCED))
        protocol = prepared[0]._writer.transport.get_protocol()  # noqa: SLF001  what is on trial
    finally:
        await client.close()
        await broker.end(server)
    return (
        isinstance(protocol, responses.Responses)
        and metadata == broker.metadata
        and produced == broker.produced
        and broker.heard == [ProduceRequest_v3(None, -1, 1_000, PRODUCED).encode()]
    )


class _Broker:
    """Answers in version 0, produce requests in 3; keeps what those said."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.metadata: Any = None
        self.produced = ProduceResponse_v3([("one", [(0, 0, 3, -1), (1, 0, 4, -1)])], 0)
        self._serving: set[Any] = set()
        self._versions = ApiVersionResponse_v0(
            0, [(VERSIONS, 0, 0), (METADATA, 0, 0), (PRODUCE, 3, 3)]
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client closes it."""
        self._serving.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                request = await reader.readexactly(size)
                answer = self._answer(int.from_bytes(request[:2], "big"), request)
                body = request[4:8] + answer.encode()
                writer.write(len(body).to_bytes(4, "big") + body)
                await writer.drain()
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def end(self, server: asyncio.Server) -> None:
        """Takes no more connections, and waits for the last one to end."""
        server.close()
        await server.wait_closed()
        await asyncio.gather(*self._serving)

    def _answer(self, kind: int, request: bytes) -> Any:
        if kind == PRODUCE:
            named = int.from_bytes(request[8:10], "big")
            self.heard.append(request[10 + named :])
            return self.produced
        return self.metadata if kind == METADATA else self._versions
