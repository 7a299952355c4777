"""What our transport reaches into must be there, of the versions it was written against."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from types import SimpleNamespace

import aiokafka
import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport import consumer as stock
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka import batches, consumer_thread, opening, raw_fetch, transport


@pytest.mark.parametrize(
    ("package", "pinned"),
    [("faust-streaming", "0.15.3"), ("mode-streaming", "0.7.1"), ("aiokafka", "0.14.0")],
)
def test_the_versions_are_those_the_transport_was_written_against(package, pinned):
    assert version(package) == pinned


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (stock.Consumer, "_drain_messages", ["self", "fetcher"]),
        (stock.Consumer, "_wait_next_records", ["self", "timeout"]),
        (stock.Consumer, "_new_offset", ["self", "tp"]),
        (stock.Consumer, "_filter_tps_with_pending_acks", ["self", "topics"]),
        (stock.Consumer, "on_partitions_revoked", ["self", "revoked"]),
        (stock.ThreadDelegateConsumer, "seek_to_committed", ["self"]),
        (driver.Consumer, "_new_consumer_thread", ["self"]),
        (driver.AIOKafkaConsumerThread, "_commit", ["self", "offsets"]),
        (driver.AIOKafkaConsumerThread, "seek_wait", ["self", "partitions"]),
        (GroupCoordinator, "fetch_committed_offsets", ["self", "partitions"]),
    ],
)
def test_every_hook_has_the_shape_it_had(owner, name, parameters):
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_the_commit_loop_asks_for_offsets_the_way_we_answer():
    source = inspect.getsource(stock.Consumer._filter_committable_offsets)
    assert "self._new_offset(tp)" in source
    assert "self._should_commit(tp, offset)" in source
    assert "_filter_tps_with_pending_acks" in inspect.getsource(stock.Consumer.force_commit)


def test_the_seek_hook_is_called_once_per_rebalance_and_by_nobody_else():
    from faust.tables import recovery

    assert "seek_to_committed" in inspect.getsource(stock.Consumer.perform_seek)
    assert "perform_seek" in inspect.getsource(recovery.Recovery._resume_streams)
    assert "perform_seek" not in inspect.getsource(transport) + inspect.getsource(opening)


class _Record:
    def __init__(self, size: int, offset: int = 0) -> None:
        self.value = b"x" * size
        self.offset = offset


def test_a_batch_grows_by_what_follows_until_it_has_begun_or_is_full():
    batch = batches.Batch(TP("rows", 0), [_Record(1, 7)], 7, 8, epoch=3)
    assert batch.grow([_Record(1, 8), _Record(1, 9)], 10, 3)
    assert [record.offset for record in batch.records] == [7, 8, 9]
    assert (batch.start, batch.next_offset) == (7, 10)
    assert not batch.grow([_Record(1, 11)], 12, 3)  # the log has a hole before it
    assert not batch.grow([_Record(1, 10)], 11, 4)  # of another session
    assert not batch.grow([_Record(batches.MAX_BATCH_BYTES, 10)], 11, 3)
    many = [_Record(1, 10 + k) for k in range(batches.MAX_BATCH_RECORDS)]
    assert not batch.grow(many, 10 + len(many), 3)
    batch.begun = True
    assert not batch.grow([_Record(1, 10)], 11, 3)
    assert (len(batch.records), batch.next_offset) == (3, 10)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([10] * 3, [3]),
        ([10] * (batches.MAX_BATCH_RECORDS + 1), [batches.MAX_BATCH_RECORDS, 1]),
        ([batches.MAX_BATCH_BYTES, 1, 1], [1, 2]),
        ([batches.MAX_BATCH_BYTES + 1, 1], [1, 1]),
        ([batches.HEAVY_BYTES - 1] * 1_281, [1_280, 1]),
        ([batches.HEAVY_BYTES] * 513, [512, 1]),
    ],
)
def test_batches_are_bounded_by_records_and_by_bytes(sizes, expected):
    parts = batches.cut([_Record(size) for size in sizes], batches.HEAVIER)
    assert [len(part) for part in parts] == expected


def test_large_records_weigh_no_more_than_they_are_where_they_hold_no_text():
    parts = batches.cut([_Record(batches.HEAVY_BYTES)] * 1_281)
    assert [len(part) for part in parts] == [1_280, 1]


def test_raw_records_say_what_aiokafkas_own_say_and_say_so_if_they_do_not(monkeypatch):
    assert raw_fetch.works()
    raw, stock = raw_fetch._fetched(raw=True), raw_fetch._fetched(raw=False)
    assert [type(r).__name__ for r in (raw[0], stock[0])] == ["DefaultRecord", "ConsumerRecord"]
    monkeypatch.setattr(raw_fetch, "_as_parsed", lambda _tp, record: record.value)
    assert not raw_fetch.works()


def test_the_fetcher_puts_its_results_where_raw_records_are_switched_on():
    source = inspect.getsource(fetcher.Fetcher)
    assert source.count("self._records[tp] =") >= 1
    assert source.count("self._records = ") == 1  # in the constructor, before we replace it
    assert "res_or_error.getall(max_records)" in source
    assert "self._consumer_record(tp, record)" in inspect.getsource(fetcher.PartitionRecords)
    results = raw_fetch.RawResults({}, ())
    results["tp"] = error = fetcher.FetchError(error=KeyError(), backoff=0)
    assert results["tp"] is error


def test_a_fetch_waits_as_long_as_we_say(monkeypatch):
    made = aiokafka.AIOKafkaConsumer.__new__(aiokafka.AIOKafkaConsumer)
    monkeypatch.setattr(
        driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda _self, _transport: made
    )
    thread = consumer_thread.ConsumerThread.__new__(consumer_thread.ConsumerThread)
    thread.consumer = SimpleNamespace(direct=True)
    made._client = client = SimpleNamespace(_get_conn=None)
    assert thread._create_worker_consumer(None) is made
    assert client._get_conn is not None  # its connections are ours
    starts = inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    for name, value in (
        ("_fetch_max_wait_ms", consumer_thread.FETCH_WAIT_MS),
        ("_fetch_min_bytes", consumer_thread.FETCH_BYTES),
    ):
        assert getattr(made, name) == value
        assert f"{name.removeprefix('_')}=self.{name}" in starts
