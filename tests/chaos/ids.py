"""What the observations topic holds per prediction id, read as detect reads it."""

from __future__ import annotations

from collections import defaultdict

from confluent_kafka import Message

from streams.agents.stateful import _since
from streams.kafka.channel import Receiver
from streams.kafka.frames import unpack
from tests.strategies import rows_of

Seen = dict[tuple[str, bytes], tuple[int, tuple[tuple[object, object], ...]]]
"""(subject, id hash) -> (predictions, (label, previous) of its outcomes in order)."""


def per_id(records: list[Message]) -> Seen:
    """Every row that a receiver with exact marks would step, by subject and id."""
    predictions: dict[tuple[str, bytes], int] = defaultdict(int)
    outcomes: dict[tuple[str, bytes], list[tuple[object, object]]] = defaultdict(list)
    receivers: dict[int, Receiver] = defaultdict(Receiver)
    for record in sorted(records, key=lambda r: (r.partition(), r.offset())):
        receiver = receivers[record.partition()]
        message = unpack(record.value())
        mark = receiver.accept(message.header)
        if mark is None:
            continue
        for frame in message.frames:
            new = _since(frame, mark)
            if new is None or new.kind not in ("prediction", "outcome"):
                continue
            for row in rows_of(new):
                key = (new.subject, row["id"])
                if new.kind == "prediction":
                    predictions[key] += 1
                else:
                    label = row.get("label", row.get("label_value"))
                    previous = row.get("previous", row.get("previous_value"))
                    outcomes[key].append((label, previous))
        receiver.applied(message.header)
    keys = predictions.keys() | outcomes.keys()
    return {key: (predictions[key], tuple(outcomes[key])) for key in keys}


def differences(got: Seen, expected: Seen) -> list[str]:
    """What is lost, doubled or otherwise different, a line each."""
    found = []
    for key in sorted(got.keys() | expected.keys()):
        if got.get(key) != expected.get(key):
            subject, id_hash = key
            found.append(
                f"{subject} id {id_hash.hex()}: {got.get(key)}, expected {expected.get(key)}"
            )
    return found
