"""Every broker at hand does what the pipeline asks of it, and what its capabilities claim."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.brokers import Broker, LocalBroker, start_broker
from tests.conftest import KIND, read_records

YEAR_2011_MS = 1_300_000_000_000


@pytest.fixture(params=["of this run"] if KIND == "embedded" else ["of this run", "embedded"])
def each(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Broker]:
    """The broker of this run, and the embedded one beside it, if that is another."""
    if request.param == "of this run":
        yield broker
    elif broker.name.startswith("embedded"):
        pytest.skip("the broker of this run is the embedded one, for want of another")
    else:
        with start_broker("embedded", say=str) as embedded:
            yield embedded


def create(broker: Broker, partitions: int = 1, **config: str) -> str:
    name = f"t{secrets.token_hex(4)}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(timeout=20)
    return name


def produce(broker: Broker, topic: str, *values: bytes, **settings: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, **settings})
    for value in values:
        producer.produce(
            topic, value, key=b"k", headers={"h": b"1"}, partition=0, timestamp=YEAR_2011_MS
        )
    assert producer.flush(20) == 0


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_codec_come_back_as_they_were(codec: str, each: Broker) -> None:
    topic = create(each)
    values = [b"%d " % i + b"a" * 500 for i in range(20)]
    produce(each, topic, *values, **{"compression.type": codec, "linger.ms": "20"})
    records = read_records(each.bootstrap, topic, 20, timeout=20)
    assert [record.value() for record in records] == values
    assert {record.key() for record in records} == {b"k"}
    assert records[0].headers() == [("h", b"1")]
    assert {record.timestamp()[1] for record in records} == {YEAR_2011_MS}


def test_a_tombstone_and_an_empty_value_are_told_apart(each: Broker) -> None:
    topic = create(each)
    producer = Producer({"bootstrap.servers": each.bootstrap})
    producer.produce(topic, None, key=b"k", partition=0)
    producer.produce(topic, b"", key=b"k", partition=0)
    assert producer.flush(20) == 0
    records = read_records(each.bootstrap, topic, 2, timeout=20)
    assert [record.value() for record in records] == [None, b""]


def test_a_group_reads_on_where_it_committed(each: Broker, group: str) -> None:
    topic = create(each)
    produce(each, topic, b"0", b"1", b"2")
    assert consume_and_commit(each, topic, group) == b"0"
    assert consume_and_commit(each, topic, group) == b"1"


def consume_and_commit(broker: Broker, topic: str, group: str) -> bytes | None:
    """One record as a member of the group."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,  # the embedded broker lets a joiner wait for half of it
            "heartbeat.interval.ms": 1000,
        }
    )
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                consumer.commit(message, asynchronous=False)
                return message.value()
    finally:
        consumer.close()
    pytest.fail("the group was assigned nothing within 30 s")


def test_a_large_message_passes_where_the_topic_allows_it(each: Broker) -> None:
    topic = create(each, max_message_bytes=str(16 * 1024 * 1024))
    value = secrets.token_bytes(12 * 1024 * 1024)
    produce(each, topic, value, **{"message.max.bytes": "16777216"})
    (record,) = read_records(each.bootstrap, topic, 1, timeout=30)
    assert record.value() == value


@pytest.mark.needs("end_offsets")
def test_the_end_of_a_partition_is_its_end(broker: Broker) -> None:
    topic = create(broker)
    produce(broker, topic, *[b"x"] * 20, **{"linger.ms": "50"})
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused"})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 20)
    consumer.close()


@pytest.mark.needs("log_append_time")
def test_the_broker_stamps_records_where_the_topic_says_so(broker: Broker) -> None:
    topic = create(broker, message_timestamp_type="LogAppendTime")
    produce(broker, topic, b"x")
    (record,) = read_records(broker.bootstrap, topic, 1, timeout=20)
    assert record.timestamp()[1] > YEAR_2011_MS


@pytest.mark.needs("commit_metadata")
def test_the_text_beside_a_committed_offset_is_kept(broker: Broker, group: str) -> None:
    topic = create(broker)
    committed = commit_with_text(broker, topic, group, "arrival=1793500000123")
    assert (committed.offset, committed.metadata) == (5, "arrival=1793500000123")


def commit_with_text(broker: Broker, topic: str, group: str, text: str) -> TopicPartition:
    """What another consumer of the group then finds."""
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": group}
    writer, reader = Consumer(settings), Consumer(settings)
    try:
        writer.commit(offsets=[TopicPartition(topic, 0, 5, text)], asynchronous=False)
        (found,) = reader.committed([TopicPartition(topic, 0)], timeout=10)
    finally:
        writer.close()
        reader.close()
    return found


@pytest.mark.needs("transactions")
def test_an_aborted_transaction_stays_unseen(broker: Broker) -> None:
    topic = create(broker)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions(20)
    for value, end in ((b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(20)
        end(20)
    records = read_records(broker.bootstrap, topic, 1, timeout=20)
    assert [record.value() for record in records] == [b"yes"]


@pytest.mark.needs("compaction")
def test_compaction_keeps_the_newest_record_of_a_key(broker: Broker) -> None:
    topic = create(
        broker,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
    )
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    deadline = time.monotonic() + 60
    written = 0
    while time.monotonic() < deadline:
        producer.produce(topic, b"%d" % written, key=b"k", partition=0)
        assert producer.flush(20) == 0
        written += 1
        time.sleep(0.2)  # a segment is closed by the first record after segment.ms
        records = read_records(broker.bootstrap, topic, 1, timeout=20)
        if records[0].offset() > 0:
            break
    else:
        pytest.fail("nothing was compacted away within 60 s")
    last = read_records(broker.bootstrap, topic, 1, timeout=20)[-1]
    assert last.value() == b"%d" % last.offset()


@pytest.mark.needs("restart")
def test_after_kill_9_the_broker_comes_back_on_its_port_with_its_data(broker: Broker) -> None:
    assert isinstance(broker, LocalBroker)
    topic = create(broker)
    produce(broker, topic, b"before")
    bootstrap = broker.bootstrap
    broker.kill()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=0.5)
    broker.restart()
    assert broker.bootstrap == bootstrap
    produce(broker, topic, b"after")
    records = read_records(bootstrap, topic, 2, timeout=20)
    assert [record.value() for record in records] == [b"before", b"after"]
