"""The recorder on a broker: everything said is in the trail once, whatever happens to it."""

import time
from collections.abc import Callable

import orjson
from confluent_kafka import Message, Producer

from streams.audit.recorder import Recorder
from streams.audit.verify import verify
from streams.brokers.api import Broker
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics


def said(broker: Broker, topics: Topics, first: int, n: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for at in range(first, first + n):
        topic = (topics.alerts, topics.commands, topics.notifications, topics.actions)[at % 4]
        producer.produce(topic, orjson.dumps({"n": at}), f"k{at}".encode())
    assert producer.flush(20) == 0


def recorded(broker: Broker, topics: Topics, until: int, group: str) -> Recorder:
    """A recorder that has run until so many entries of its own are on the broker."""
    telemetry = Telemetry()
    recorder = Recorder(broker.bootstrap, topics, group, telemetry)
    recorder.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (telemetry.registry.get_sample_value("driftline_audit_entries_total") or 0) >= until:
            break
        time.sleep(0.1)
    recorder.stop()
    return recorder


def test_a_recorder_that_begins_anew_goes_on_in_the_same_chains(
    broker: Broker, topics: Topics, read_topic: Callable[..., list[Message]], group: str
) -> None:
    said(broker, topics, 0, 40)
    recorded(broker, topics, 40, group)
    said(broker, topics, 40, 40)
    recorded(broker, topics, 40, group)
    written = read_topic(topics.audit, 80)
    lines = [(f"{m.partition()}/{m.offset()}", m.value() or b"") for m in written]
    verdict, entries = verify(lines)
    assert not verdict.faults
    assert sorted(e.body["event"]["n"] for e in entries if e.body) == list(range(80))
    assert sum(chain.skipped for chain in verdict.chains.values()) == 0
