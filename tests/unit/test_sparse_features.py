"""Events that share hardly a feature: a frame of them all would be gigabytes."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
from faust.types import TP

from detectors.frame import Frame
from streams.agents.ingest import Arrival, Ingest
from streams.faust_app import MAX_REQUEST_BYTES
from streams.kafka.batches import Batch
from streams.kafka.channel import Header, Sender
from streams.kafka.frames import Message, pack, unpack
from streams.session import Session
from streams.telemetry.telemetry import Telemetry
from streams.topics import Topics
from tests.unit.test_join_sizes import Outbox, join_of

T = 1_790_000_000_000
EVENTS, NAMES, EACH = 1_200, 10_000, 20


def test_events_with_ten_thousand_feature_names_go_out_in_messages_that_the_broker_takes():
    sent = asyncio.run(_ingested(_events(), batch=EVENTS))
    assert len(sent) > 1
    assert max(map(len, sent)) < MAX_REQUEST_BYTES
    _all_rows_once_and_none_after_its_time(list(map(unpack, sent)))


def test_join_takes_no_more_of_them_together_than_fits_a_message():
    rows = asyncio.run(_ingested(_events(), batch=20))  # small messages, which come together later
    sent = asyncio.run(_joined(rows))
    assert max(map(len, sent)) < MAX_REQUEST_BYTES
    _all_rows_once_and_none_after_its_time(list(map(unpack, sent)))


def _all_rows_once_and_none_after_its_time(messages: list[Message]) -> None:
    told, offset, frames = 0, 0, list[Frame]()
    for message in messages:
        assert message.header.start == offset
        offset = message.header.to
        for frame in message.frames:
            assert int(frame.ints("arrival").min()) >= told
            frames.append(frame)
        told = max([told, *message.arrivals.values()])
    ids = np.concatenate([frame.data("id") for frame in frames])
    assert len(ids) == len(np.unique(ids)) == EVENTS
    given = [f.columns[name].mask for f in frames for name in f.column_names if name[:2] == "x:"]
    assert sum(int(mask.sum()) for mask in given) == EVENTS * EACH


def _events() -> list[Any]:
    rng = random.Random(7)
    records = []
    for at in range(EVENTS):
        features = {f"f{k}": 1.5 for k in rng.sample(range(NAMES), EACH)}
        event = {"prediction_id": f"p{at}", "model": "m", "version": "1", "ts": T + at,
                 "prediction": "a", "features": features}  # fmt: skip
        records.append(
            SimpleNamespace(
                offset=at, timestamp=T + at, key=None, value=orjson.dumps(event), headers=[]
            )
        )
    return records


async def _ingested(records: list[Any], *, batch: int) -> list[bytes]:
    outbox, topics = Outbox(), Topics(partitions=1)
    ingest = Ingest(
        outbox, Telemetry(), topics, clock_from_records=True, now_ms=lambda: T,
        end_of=lambda _: None, partitions_of=lambda _: 1,
    )  # fmt: skip
    tp = TP(topics.predictions, 0)
    clock = Arrival(lambda: T, records=True)
    session = Session(tp, 0, core=clock, sender=Sender("predictions/0", 0, 1))
    for start in range(0, len(records), batch):
        stop = start + batch
        await ingest.step(session, Batch(tp, records[start:stop], start, stop, 0))
    return outbox.sent


async def _joined(rows: list[bytes]) -> list[bytes]:
    outbox = Outbox()
    join, session = join_of(outbox)
    heard = unpack(rows[-1])
    predictions, labels = (f"{topic}/0" for topic in sorted(heard.sources, reverse=True))
    end = T + 2 * EVENTS
    silent = Message(Header(labels, 0, 1), {labels: end}, heard.sources, [])
    over = Message(Header(heard.header.log, EVENTS, EVENTS), {predictions: end}, heard.sources, [])
    values = [pack(silent), *rows, *([pack(over)] * 40)]
    records: list[Any] = [SimpleNamespace(value=v, offset=at) for at, v in enumerate(values)]
    await join.step(session, Batch(session.tp, records, 0, len(records), 0))
    return outbox.sent
