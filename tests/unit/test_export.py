"""Exported messages: each row has the arrival it had, and the time that live workers gave it."""

from __future__ import annotations

import orjson
import pytest

from driftline.codec import decode
from streams.operators.export import stamped

T = 1_793_500_000_000
EVENT = {"prediction_id": "p1", "model": "m", "version": "1", "prediction": 1}


def arrivals(value: bytes, arrival: int = T, record_ts: int = T - 5) -> list[tuple[object, object]]:
    line = stamped(value, arrival, record_ts)
    assert line is not None
    decoded = decode(line)
    rows = [(p.ts, p.arrival) for p in decoded.predictions]
    rows += [(label.ts, label.arrival) for label in decoded.labels]
    for batch in decoded.columns:
        rows += list(zip(batch.ts, batch.arrival or [], strict=True))
    assert not decoded.rejects
    return rows


@pytest.mark.parametrize(
    ("message", "times"),
    [
        (EVENT, [T - 5]),
        (EVENT | {"ts": T - 9}, [T - 9]),
        (EVENT | {"ts": None, "arrival": 7}, [T - 5]),
        ({"prediction_id": "p1", "label": 1}, [T - 5]),
        ({"labels": [{"prediction_id": "p1", "label": 1}], "ts": T - 1}, [T - 1]),
        ({"predictions": [EVENT, EVENT | {"ts": T - 2, "arrival": 3}]}, [T - 5, T - 2]),
        (
            {"model": "m", "version": "1", "columns": {
                "prediction_id": ["a", "b"], "prediction": [1, 0], "ts": [T - 3, None],
            }},
            [T - 3, T - 5],
        ),
        (
            {"model": "m", "version": "1", "ts": T - 4, "columns": {
                "prediction_id": ["a"], "prediction": [1], "arrival": [1],
            }},
            [T - 4],
        ),
        ({"columns": {"prediction_id": ["a"], "label": [1]}}, [T - 5]),
    ],
)  # fmt: skip
def test_every_form_of_message_carries_the_arrival_of_its_record(message, times):
    assert arrivals(orjson.dumps(message)) == [(ts, T) for ts in times]


@pytest.mark.parametrize("value", [b"", b"not json", b"[1]", b'{"a": NaN}', b"\xff\xfe"])
def test_what_is_no_json_object_is_left_out(value):
    assert stamped(value, T, T) is None


def test_what_the_decoder_refuses_is_refused_again():
    line = stamped(b'{"predictions": [1, {"model": 1}], "x": 1}', T, T)
    assert line is not None
    assert len(decode(line).rejects) == 2


def test_a_record_without_a_timestamp_has_its_arrival_as_event_time():
    assert arrivals(orjson.dumps(EVENT), record_ts=-1) == [(T, T)]
