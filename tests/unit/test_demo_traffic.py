"""The demo's traffic is the same in every run, and is what serving code would write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import orjson
import pytest

from driftline.codec import decode
from streams.demo import traffic
from streams.demo.data import DAY_MS, ms


@pytest.fixture(scope="module")
def records():
    return traffic.records()


@pytest.fixture(scope="module")
def events(records):
    return [(record, orjson.loads(record.value)) for record in records]


def test_another_process_makes_the_same_bytes(records):
    program = (
        "from hashlib import sha256; from streams.demo import traffic;"
        "print(sha256(b''.join(r.value for r in traffic.records())).hexdigest())"
    )
    here = sha256(b"".join(record.value for record in records)).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    assert there.stdout.strip() == here


def test_records_are_in_order_of_time_and_carry_their_events_time(events):
    times = [record.ts for record, _ in events]
    assert times == sorted(times)
    assert all(record.ts == event["ts"] for record, event in events)


def test_every_event_keeps_the_contract(records):
    predictions = labels = 0
    for record in records[:: len(records) // 3_000]:
        decoded = decode(record.value)
        assert not decoded.rejects
        assert not decoded.unknown_fields
        predictions += len(decoded.predictions)
        labels += len(decoded.labels)
    assert predictions > 1_000
    assert labels > 1_000


def test_an_id_is_unique_per_version_and_both_bike_versions_answer_under_one_id(events):
    seen = Counter(
        (e["prediction_id"], e["model"], e["version"]) for r, e in events if r.kind == "prediction"
    )
    assert set(seen.values()) == {1}
    versions = {v: {i for i, _, version in seen if version == v} for v in ("2011-04", "2012-06")}
    assert versions["2012-06"] < versions["2011-04"]


def test_every_prediction_gets_its_label_later_and_within_the_horizon(events):
    labels = {e["prediction_id"]: r.ts for r, e in events if r.kind == "label"}
    predictions = [(e["prediction_id"], r.ts) for r, e in events if r.kind == "prediction"]
    assert {name for name, _ in predictions} == set(labels)
    delays = [labels[name] - ts for name, ts in predictions]
    assert min(delays) > 0
    assert max(delays) < DAY_MS


def test_hours_come_in_minutes_while_upstream_is_broken_and_only_then(events):
    hours = [
        (r.ts, e["features"]["hours_per_week"])
        for r, e in events
        if r.kind == "prediction" and e["model"] == traffic.INCOME
    ]
    broken = [value for ts, value in hours if traffic.BROKEN[0] <= ts < traffic.BROKEN[1]]
    whole = [value for ts, value in hours if not traffic.BROKEN[0] <= ts < traffic.BROKEN[1]]
    assert len(broken) == 5 * 48
    assert max(whole) <= 99
    assert sorted(broken)[len(broken) // 2] == 40 * 60


def test_traffic_covers_the_whole_story(records):
    assert records[0].ts == traffic.START == ms("2011-04-01")
    assert records[-1].ts < traffic.END + DAY_MS
    assert all(traffic.START <= milestone.ts < traffic.END for milestone in traffic.MILESTONES)
