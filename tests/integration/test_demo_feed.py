"""The demo's feed writes what a worker with `clock: records` needs."""

from __future__ import annotations

from collections import defaultdict

import pytest

from streams.demo.data import DAY_MS, HOUR_MS
from streams.demo.feed import CLOCK_EVERY_MS, CLOCK_HEADER, SETTLED_MS, Feed, Gate
from streams.demo.listen import Listener
from streams.demo.traffic import START, Record

PARTITIONS = 2
HOURS = 48


@pytest.fixture
def made(make_topics):
    return make_topics(create_time=True, partitions=PARTITIONS, source_partitions=PARTITIONS)


@pytest.fixture
def records():
    return [
        Record(START + hour * HOUR_MS, kind, f"id-{hour}", b'{"hour":%d}' % hour)
        for hour in range(HOURS)
        for kind in ("prediction", "label")
    ]


def clocks(messages):
    return [int(dict(m.headers())[CLOCK_HEADER]) for m in messages if m.value() is None]


def test_every_partition_hears_the_time_and_records_keep_theirs(broker, made, read_topic, records):
    names = {"prediction": made.predictions, "label": made.labels}
    gate = Gate(lead_ms=3 * DAY_MS)
    Feed(broker.bootstrap, names, PARTITIONS).play(records, gate)
    ticks = HOURS * HOUR_MS // CLOCK_EVERY_MS + 1
    for topic in names.values():
        messages = read_topic(topic, HOURS + PARTITIONS * ticks)
        by_partition = defaultdict(list)
        for message in messages:
            by_partition[message.partition()].append(message)
        assert len(by_partition) == PARTITIONS
        for found in by_partition.values():
            times = [m.timestamp()[1] for m in found]
            assert times == sorted(times), "arrival goes by a partition's order"
            told = clocks(found)
            assert len(told) == ticks
            assert told[0] == START
            assert told[-1] == SETTLED_MS
        events = {m.value(): m.timestamp()[1] for m in messages if m.value() is not None}
        assert events == {r.value: r.ts for r in records}


def test_the_feed_stops_where_the_gate_holds_it(broker, made, read_topic, records):
    names = {"prediction": made.predictions, "label": made.labels}
    gate = Gate(lead_ms=DAY_MS)
    gate.give_up()
    Feed(broker.bootstrap, names, PARTITIONS).play(records, gate)
    Feed(broker.bootstrap, names, PARTITIONS).play([], Gate())
    messages = read_topic(made.predictions, PARTITIONS)
    assert {m.value() for m in messages} == {None}, "nothing but the last clock"


def test_the_listener_hands_on_what_is_published_and_tells_what_broke(broker, made, records):
    heard = []

    def take(value):
        heard.append(value)
        if len(heard) == HOURS:
            raise ValueError("broke")

    names = {"prediction": made.predictions, "label": made.labels}
    with Listener(broker.bootstrap, {made.labels: take}) as listener:
        Feed(broker.bootstrap, names, PARTITIONS).play(records, Gate())
        listener._thread.join(20)
    assert sorted(heard) == sorted({r.value for r in records})
    assert isinstance(listener.error, ValueError)
