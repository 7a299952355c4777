"""What join sends fits a message, however wide the predictions that labels come for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
from faust.types import TP

from detectors.frame import Frame
from driftline.codec import decode
from streams.agents.join import Join
from streams.faust_app import MAX_REQUEST_BYTES
from streams.kafka.batches import Batch
from streams.kafka.channel import Header
from streams.kafka.frames import Message, pack, unpack
from streams.monitors.load import Monitors
from streams.rows.builder import RowBuilder
from streams.session import Session
from streams.telemetry.telemetry import Telemetry

T = 1_790_000_000_000
SOURCE = "predictions/0"
CLASSES, ROWS, MESSAGES = 400, 300, 40


class Outbox:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, *message: Any) -> Awaitable[Any]:
        """Acknowledged at once."""
        self.sent.append(message[2])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def test_a_burst_of_labels_for_wide_predictions_goes_out_in_messages_that_the_broker_takes():
    outbox = Outbox()
    asyncio.run(_step_all(outbox))
    assert max(map(len, outbox.sent)) < MAX_REQUEST_BYTES
    assert sum(map(len, outbox.sent)) > 2 * MAX_REQUEST_BYTES  # so it had to be cut
    outcomes: list[Frame] = []
    told, offset = 0, 0
    for message in map(unpack, outbox.sent):
        assert message.header.start == offset
        offset = message.header.to
        for frame in message.frames:
            assert int(frame.ints("arrival").min()) >= told  # no row of what was said to be over
            assert int(frame.ints("cause").max()) < offset
            outcomes += [frame] if frame.kind == "outcome" else []
        told = message.arrivals["rows/0"]
    assert told == T + 2_001
    ids = np.concatenate([frame.data("id") for frame in outcomes])
    assert len(ids) == len(np.unique(ids)) == ROWS * MESSAGES


def join_of(outbox: Outbox) -> tuple[Join, Session]:
    """A join in memory that writes no checkpoints, and the session of its only partition."""
    store: Any = None
    join = Join(
        outbox,
        Telemetry(),
        store,
        Monitors(),
        topic="rows",
        inputs=1,
        destination_topic="observations",
        destinations=1,
        checkpoint_interval_s=30,
        monotonic=lambda: 0.0,
    )
    join.keep_on_disk(store, None)
    return join, join._session(TP("rows", 0), 0, 0, join.fresh(0), "")


async def _step_all(outbox: Outbox) -> None:
    join, session = join_of(outbox)
    builder = RowBuilder(0, 0, 1)
    for k in range(MESSAGES):
        await _message(join, session, _read(builder, _predictions(k), k, T + k), T + k + 1)
    await _message(join, session, _read(builder, _labels(), MESSAGES, T + 2_000), T + 2_001)
    for _ in range(20):  # what was cut goes on with the messages that follow
        await _message(join, session, [], T + 2_001)


def _predictions(k: int) -> bytes:
    scores = {f"class-{c}": [(row + c) % 9 / 1_000 for row in range(ROWS)] for c in range(CLASSES)}
    columns = {"prediction_id": _ids(k), "prediction": ["class-1"] * ROWS, "scores": scores}
    return orjson.dumps({"model": "wide", "version": "1", "ts": T + k, "columns": columns})


def _labels() -> bytes:
    ids = [name for k in range(MESSAGES) for name in _ids(k)]
    columns = {"prediction_id": ids, "label": ["class-1"] * len(ids)}
    return orjson.dumps({"model": "wide", "ts": T + 1_500, "columns": columns})


def _ids(k: int) -> list[str]:
    return [f"{k}-{row}" for row in range(ROWS)]


def _read(builder: RowBuilder, value: bytes, offset: int, arrival: int) -> list[Frame]:
    decoded = decode(value)
    assert not decoded.rejects + builder.add(decoded, offset=offset, arrival=arrival)
    return builder.frames()[0]


async def _message(join: Join, session: Session, frames: list[Frame], clock: int) -> None:
    at = session.position
    message = Message(Header(SOURCE, at, at + 1), {SOURCE: clock}, {"predictions": 1}, frames)
    record: Any = SimpleNamespace(value=pack(message), offset=at)
    await join.step(session, Batch(session.tp, [record], at, at + 1, session.epoch))
    await join.idle(session)
