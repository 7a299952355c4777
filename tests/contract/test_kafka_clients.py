"""What our consumer's and producer's connections do is what aiokafka's own would have done."""

from __future__ import annotations

import asyncio
import inspect
import socket
from types import SimpleNamespace

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import (
    READ_UNCOMMITTED,
    Fetcher,
    FetchResult,
    PartitionRecords,
)
from aiokafka.errors import CorruptRecordException, KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.producer import AIOKafkaProducer
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest, ProduceRequest_v3
from aiokafka.protocol.types import Bytes
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.kafka import checksums, in_place, raw_fetch, record_batch, requests, responses, trial
from streams.kafka.connections import on_each
from streams.kafka.record_batch import RecordBatch

TP = TopicPartition("topic", 3)


def test_ours_pass_their_trial():
    assert checksums.CHECKSUM is not None
    assert trial.works()


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (requests, "pieces", lambda _kind, _value: iter([b"else"])),
        (responses, "receive", lambda _connection: None),
        (record_batch, "_NOT_THERE", b"\x00"),
        (trial, "MetadataResponse_v0", None),
        (checksums, "CHECKSUM", None),
    ],
)
def test_what_is_not_as_it_was_fails_the_trial(module, name, wrong, monkeypatch):
    monkeypatch.setattr(module, name, wrong)
    assert not trial.works()


def test_clients_open_their_connections_in_one_place():
    source = inspect.getsource(AIOKafkaClient)
    assert source.count("create_conn(") == 2  # and once in bootstrap, which closes it again
    assert "await self._get_conn(node_id, group=group)" in inspect.getsource(AIOKafkaClient.ready)
    assert "_message_accumulator = MessageAccumulator(" in inspect.getsource(AIOKafkaProducer)
    assert "self.create_builder()" in inspect.getsource(MessageAccumulator.add_message)
    assert "self._builder" in inspect.getsource(BatchBuilder)


# -- record batches ----------------------------------------------------------------------------

texts = st.none() | st.binary(max_size=300)
records = st.lists(
    st.tuples(
        st.integers(0, 2**41),
        texts,
        texts | st.integers(0, 9_000).map(bytes),
        st.lists(st.tuples(st.text(max_size=20), texts), max_size=3),
    ),
    min_size=1,
    max_size=12,
)


def built(builder, rows) -> tuple[bytes, list]:
    said = []
    for offset, row in enumerate(rows):
        found = builder.append(offset, *row)
        said.append(found and (found.offset, found.size, found.timestamp))
        if found is None:
            break
    return bytes(builder.build()), [*said, builder.size()]


@example([(65, bytes(3), bytes(1), []), (0, None, None, [("a", bytes(30))])], 117)  # just full
@given(records, st.integers(100, 30_000))
@settings(max_examples=40, deadline=None)
def test_a_batch_is_what_aiokafka_would_build(rows, limit):
    stock = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, limit)
    assert built(RecordBatch(limit), rows) == built(stock, rows)


@given(records, st.integers(100, 30_000))
@settings(max_examples=40, deadline=None)
def test_a_batch_sent_again_is_the_same_and_joined_on_the_wire(rows, limit):
    batch = RecordBatch(limit)
    built(batch, rows)
    whole = batch.build()
    assert len(whole) == len(bytes(whole)) == batch.size()
    wire = Bytes.encode(bytes(whole))
    for _attempt in range(2):
        assert b"".join(requests.pieces(Bytes, whole)) == wire


def test_only_a_long_value_that_nobody_can_change_stays_where_it_is():
    long = bytes(record_batch.LONG)
    changing, short = bytearray(long), long[1:]
    batch = RecordBatch(1 << 20)
    for offset, value in enumerate((long, changing, short)):
        batch.append(offset, 1, None, value, [])
    whole = batch.build()
    before = bytes(whole)
    changing[:] = b"x" * len(changing)
    assert bytes(whole) == before
    assert [piece is long for piece in whole] == [False, False, True, False]


def test_requests_that_a_socket_takes_by_and_by_go_out_whole_and_in_order():
    async def heard() -> tuple[list[bytes], list[list]]:
        broker = trial._Broker()
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        broker.metadata = trial.MetadataResponse_v0([(1, "127.0.0.1", port)], [])
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")

        def prepare(connection) -> None:
            raw = connection._writer.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            requests.send_in_pieces(connection)

        on_each(client, prepare)
        sent = []
        for n in range(3):
            batch = RecordBatch(8 << 20)
            for at in range(4):
                batch.append(at, 1, None, bytes([n, at]) * 500_000, [])
            sent.append([("one", [(n, batch.build())])])
        try:
            await client.bootstrap()
            waiting = [client.send(1, ProduceRequest(None, -1, 1_000, each)) for each in sent]
            await asyncio.gather(*waiting)
        finally:
            await client.close()
            await broker.end(server)
        return broker.heard, sent

    found, sent = asyncio.run(heard())
    assert found == [
        ProduceRequest_v3(None, -1, 1_000, [(topic, [(partition, bytes(whole))])]).encode()
        for [(topic, [(partition, whole)])] in sent
    ]


class Unwritten(asyncio.Transport):
    """A transport that nothing may be written to past it."""

    _sock = None


@pytest.mark.parametrize(
    ("parts", "ssl", "waiting"),
    [([b"1"], object(), 0), ([b"1"], None, 9), ([b"1"] * 2_000, None, 0)],
    ids=["encrypted", "something waits", "very many pieces"],
)
def test_the_transport_sends_what_the_socket_may_not_take(parts, ssl, waiting):
    transport = Unwritten({"sslcontext": ssl})
    transport.is_closing = lambda: False
    transport.get_write_buffer_size = lambda: waiting
    assert requests._unsent(transport, parts) is parts


def test_a_request_that_waits_for_no_answer_goes_out_whole():
    async def unanswered() -> tuple[list[bytes], object, list]:
        broker = trial._Broker()
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        broker.metadata = trial.MetadataResponse_v0([(1, "127.0.0.1", port)], [])
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")
        on_each(client, requests.send_in_pieces)
        batch = RecordBatch(1 << 20)
        batch.append(0, 1, None, bytes(9_000), [])
        sent = [("one", [(0, batch.build())])]
        try:
            await client.bootstrap()
            answer = await client.send(1, ProduceRequest(None, 0, 1_000, sent))
        finally:
            await client.close()
            await broker.end(server)
        return broker.heard, answer, sent

    heard, answer, [(topic, [(partition, whole)])] = asyncio.run(unanswered())
    assert answer is None
    stock = ProduceRequest_v3(None, 0, 1_000, [(topic, [(partition, bytes(whole))])])
    assert heard == [stock.encode()]


def test_a_record_without_a_time_has_the_time_now():
    ours, stock = RecordBatch(1_000), DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1_000)
    mine, theirs = (each.append(0, None, None, b"v", []).timestamp for each in (ours, stock))
    assert 0 <= theirs - mine < 1_000


@pytest.mark.parametrize("named", [{"compression_type": "gzip"}, {"enable_idempotence": True}])
def test_batches_that_are_compressed_or_numbered_stay_aiokafkas(named):
    async def kind() -> tuple[str, str]:
        ours, stock = AIOKafkaProducer(), AIOKafkaProducer(**named)
        for producer in (ours, stock):
            requests.build_batches(producer)
            producer._closed = True
        made = (p._message_accumulator.create_builder()._builder for p in (ours, stock))
        return tuple(type(each).__name__ for each in made)

    assert asyncio.run(kind()) == ("RecordBatch", "DefaultRecordBatchBuilder")


# -- checksums ---------------------------------------------------------------------------------


def batches(*sizes: int) -> bytes:
    found = b""
    for size in sizes:
        builder = RecordBatch(1 << 20)
        builder.append(0, 1, None, bytes(range(256)) * (size // 256 + 1), [])
        found += bytes(builder.build())
    return found


@given(st.lists(st.integers(2_048, 9_000), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_no_bit_can_change_unseen_and_the_cut_end_is_not_looked_at(sizes, data):
    whole = batches(*sizes)
    assert checksums.intact(whole)
    cut = data.draw(st.integers(0, 2_000))
    assert checksums.intact(whole + batches(3_000)[:cut])
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    position = at
    for size in sizes:  # the first bytes of a batch are under no checksum: the broker sets them
        length = len(batches(size))
        if position < length:
            break
        position -= length
    if position >= checksums.CHECKSUM_AT.start:
        changed = bytearray(whole)
        changed[at] ^= 1 << bit
        assert not checksums.intact(bytes(changed))


def test_short_batches_and_old_formats_are_left_to_aiokafka():
    assert not checksums.intact(batches(3_000)[:0] + batches(3_000) + batches(100))
    old = bytearray(batches(3_000))
    old[checksums.FORMAT] = 1
    assert not checksums.intact(bytes(old))


def fetched(data: bytes) -> FetchResult:
    """What a fetcher of ours makes of an answer with these records."""
    client = SimpleNamespace(send=lambda *_: answered(data))
    fetcher = SimpleNamespace(_records={}, _client=client)
    raw_fetch.install(fetcher)
    request = FetchRequest(0, 0, 0, 0, [(TP.topic, [(TP.partition, 0, 1)])])
    asyncio.run(fetcher._client.send(1, request))
    parsed = PartitionRecords(TP, MemoryRecords(data), [], 0, None, None, True, READ_UNCOMMITTED)
    result = FetchResult(
        TP, assignment=raw_fetch._Assignment(parsed), partition_records=parsed, backoff=0
    )
    fetcher._records[TP] = result
    return result


async def answered(data: bytes) -> SimpleNamespace:
    return SimpleNamespace(topics=[(TP.topic, [(TP.partition, 0, 9, 9, 0, [], -1, data)])])


def test_records_that_are_not_intact_raise_what_aiokafka_raises():
    good, broken = batches(3_000), bytearray(batches(3_000))
    broken[100] ^= 1
    assert len(fetched(good).getall()) == 1
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        fetched(bytes(broken)).getall()


def test_a_checksum_is_computed_once(monkeypatch):
    monkeypatch.setattr(raw_fetch, "intact", lambda _records: True)
    broken = bytearray(batches(3_000))
    broken[100] ^= 1
    assert len(fetched(bytes(broken)).getall()) == 1  # nobody looks again


def test_a_fetcher_makes_results_of_an_answer_before_anything_else_runs():
    source = inspect.getsource(Fetcher._proc_fetch_request)
    _, after = source.split("response = await self._client.send(node_id, request)")
    _, after = after.split("return False\n\n        if not assignment.active", 1)
    assert "await " not in after
    assert "self._check_crcs and not next_batch.validate_crc()" in inspect.getsource(
        PartitionRecords
    )


# -- records in place ---------------------------------------------------------------------------


def received(data: bytes, offset: int = 0) -> tuple[list, type]:
    """Values of what a fetcher of ours reads of a response, and what its records were read by."""
    client = SimpleNamespace(_records={}, _client=raw_fetch._Client(data))
    raw_fetch.install(client)
    request = FetchRequest(0, 0, 0, 0, [("check", [(0, 0, 1)])])
    [(_, [(*_, found)])] = asyncio.run(client._client.send(1, request)).topics
    tp = TopicPartition("check", 0)
    stock = MemoryRecords(found)
    assert stock.has_next() == MemoryRecords(data).has_next()
    parsed = PartitionRecords(tp, stock, [], offset, None, None, True, READ_UNCOMMITTED)
    assignment = raw_fetch._Assignment(parsed)
    client._records[tp] = result = FetchResult(
        tp, assignment=assignment, partition_records=parsed, backoff=0
    )
    assert not client._client.intact
    kind = type(parsed._records)
    values = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in result.getall()]
    return [*values, assignment.position], kind


@given(
    st.lists(st.integers(2_048, 90_000), min_size=1, max_size=4),
    st.integers(0, 2_000),
    st.integers(0, 2),
)
@settings(max_examples=30, deadline=None)
def test_records_in_place_are_those_aiokafka_finds(sizes, cut, offset):
    data = batches(*sizes) + batches(3_000)[:cut]
    found, kind = received(data, offset)
    assert (kind is in_place.Records) == (len(data) >= in_place.LONG)
    stock = PartitionRecords(TP, MemoryRecords(data), [], offset, *(None, None, True), 0)
    rows = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in stock]
    assert [(*row[:4], tuple(row[4])) for row in found[:-1]] == rows
    assert {type(row[3]) for row in found[:-1]} <= {bytes}


def test_long_records_that_are_not_intact_raise_what_aiokafka_raises():
    broken = bytearray(batches(90_000))
    broken[100] ^= 1
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        received(bytes(broken))


def test_a_batch_longer_than_the_answer_stays_what_aiokafka_asks_more_for():
    client = raw_fetch.CheckingClient(raw_fetch._Client(batches(200_000)[:100_000]))
    request = FetchRequest(0, 0, 0, 0, [("check", [(0, 0, 1)])])
    [(_, [(*_, found)])] = asyncio.run(client.send(1, request)).topics
    assert found == batches(200_000)[:100_000]
    assert not client.intact


def test_what_stands_in_for_records_is_never_read_as_such():
    stand_in = MemoryRecords(in_place.STAND_IN)
    assert stand_in.has_next()
    with pytest.raises(CorruptRecordException):
        stand_in.next_batch()


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        (in_place.Records, "_end", lambda self: len(self._view) + 1),
        (in_place.Records, "next_batch", lambda _self: None),
        (in_place._Stream, "read", lambda _self, size: bytes(size)),
    ],
)
def test_what_does_not_read_in_place_fails_its_check(owner, name, wrong, monkeypatch):
    assert raw_fetch.works()
    monkeypatch.setattr(owner, name, wrong)
    if name == "_end":  # nothing whole is found in place: it is read by aiokafka
        assert received(batches(90_000))[1] is MemoryRecords
    else:
        assert not raw_fetch.works()


# -- connections -------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=3_000), min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_responses_come_whole_however_they_are_cut(bodies, data):
    heard: list[bytes] = []
    connection = type("Connection", (), {"_handle_frame": lambda _self, body: heard.append(body)})()
    protocol = responses.Responses(connection, None)
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    while stream:
        buffer = protocol.get_buffer(-1)
        n = data.draw(st.integers(1, len(buffer))) if len(buffer) > 1 else 1
        n = min(n, len(stream))
        buffer[:n] = stream[:n]
        stream = stream[n:]
        protocol.buffer_updated(n)
    assert heard == bodies
    assert {type(body) for body in heard} == {bytes}


def test_a_connection_that_breaks_fails_what_waits_for_it():
    async def broken() -> None:
        broker = trial._Broker()
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        broker.metadata = trial.MetadataResponse_v0([(1, "127.0.0.1", port)], [])
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")
        on_each(client, responses.receive)
        await client.bootstrap()
        await client.send(1, MetadataRequest([]))
        broker._answer = lambda *_: (_ for _ in ()).throw(ConnectionError)
        try:
            with pytest.raises(KafkaConnectionError):
                await asyncio.wait_for(client.send(1, MetadataRequest([])), 5)
        finally:
            await client.close()
            await broker.end(server)

    asyncio.run(broken())


def test_a_connection_that_waits_for_an_answer_stays_as_it_is():
    reader = SimpleNamespace(_buffer=bytearray(b"x"), _paused=False)
    for connection in (
        SimpleNamespace(_reader=reader, _requests=[], _ssl_context=None),
        SimpleNamespace(_reader=SimpleNamespace(_buffer=b"", _paused=False), _requests=[1]),
        SimpleNamespace(
            _reader=SimpleNamespace(_buffer=b"", _paused=False), _requests=[], _ssl_context=object()
        ),
    ):
        responses.receive(connection)  # has no writer whose protocol could be replaced
