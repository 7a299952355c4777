"""Produce requests sent in pieces: for the worker's producer.

aiokafka joins a request level by level, so its records are copied eight times before they reach the
socket, and computes their checksum without the processor's help. Here the socket takes the pieces
as they are, and only what it does not take at once is joined.

Source: aiokafka 0.14.0, `conn.py` and `producer/message_accumulator.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Array, Bytes, Int32, Schema
from aiokafka.util import wait_for

from streams.kafka.record_batch import Built, RecordBatch

MAX_PIECES = 1_000
"""Of one call: Linux takes 1,024."""


def send_in_pieces(connection: Any) -> None:
    """Makes a connection send produce requests so from now on."""
    connection.__class__ = ProducerConnection


class ProducerConnection(AIOKafkaConnection):
    """A connection whose produce requests go out in pieces: the only one `Built` can go by."""

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """As the stock connection does; the answer, or what became of it."""
        if self._writer is None or not isinstance(request, ProduceRequest):
            return super().send(request, expect_response)
        prepared = request.prepare(self._versions)
        correlation_id = self._next_correlation_id()
        header = prepared.build_request_header(
            correlation_id=correlation_id, client_id=self._client_id
        )
        parts = [header.encode(), *pieces(prepared.SCHEMA, _values(prepared))]
        size = struct.pack(">i", sum(map(len, parts)))
        try:
            if left := _unsent(self._writer.transport, [size, *parts]):
                self._writer.write(memoryview(b"".join(left)))  # which the transport copies
        except OSError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(
                f"Connection at {self._host}:{self._port} broken: {error}"
            ) from error
        if not expect_response:
            return self._writer.drain()
        answer = self._loop.create_future()
        self._requests.append((correlation_id, prepared, answer))
        return wait_for(answer, self._request_timeout)


def _unsent(transport: Any, parts: list[Any]) -> list[Any]:
    """Has the socket take what it can of the parts; what is left of them.

    Everything, where something waits already, or where what goes out is not what is given.
    """
    plain = transport.get_extra_info("sslcontext") is None
    waits = transport.is_closing() or transport.get_write_buffer_size() > 0
    if waits or not plain or len(parts) > MAX_PIECES:
        return parts
    try:
        sent = transport._sock.sendmsg(parts)  # noqa: SLF001  as the transport itself begins
    except (BlockingIOError, InterruptedError):
        return parts
    for at, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[at + 1 :]]
        sent -= len(part)
    return []


def _values(prepared: Any) -> list[Any]:
    return [prepared.get_item(name) for name in prepared.SCHEMA.names]


def pieces(kind: Any, value: Any) -> Iterator[Any]:
    """What a value of a protocol type is on the wire, in pieces; bytes and batches as they are."""
    if isinstance(kind, Schema):
        for field, item in zip(kind.fields, value, strict=True):
            yield from pieces(field, item)
    elif type(kind) is Array and value is not None:
        yield Int32.encode(len(value))
        for item in value:
            yield from pieces(kind.array_of, item)
    elif kind is Bytes and value is not None:
        yield Int32.encode(len(value))
        if isinstance(value, Built):
            yield from value
        else:
            yield value
    else:
        yield kind.encode(value)


def build_batches(producer: Any) -> None:
    """Makes a producer that neither compresses nor numbers its batches build them so."""
    accumulator = producer._message_accumulator  # noqa: SLF001
    if accumulator._compression_type or accumulator._txn_manager is not None:  # noqa: SLF001
        return
    stock = accumulator.create_builder

    def create_builder(*args: Any, **named: Any) -> Any:
        builder = stock(*args, **named)
        builder._builder = RecordBatch(accumulator._batch_size)  # noqa: SLF001
        return builder

    accumulator.create_builder = create_builder
