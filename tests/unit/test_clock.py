"""The arrival clock: what was heard, and what may be believed."""

from __future__ import annotations

from detectors.flow.clock import ArrivalClock

TWO = {"predictions": 2}


def test_the_clock_is_unknown_until_every_partition_of_every_source_was_heard() -> None:
    clock = ArrivalClock()
    clock.advance({"predictions/0": 50}, {"predictions": 2, "labels": 1})
    assert clock.now is None
    assert clock.waiting == ["predictions/1", "labels/0"]
    clock.advance({"predictions/1": 40}, {"predictions": 2, "labels": 1})
    assert clock.now is None
    clock.advance({"labels/0": 60}, {"predictions": 2, "labels": 1})
    assert clock.now == 40
    assert clock.waiting == []


def test_the_clock_is_the_slowest_source() -> None:
    clock = ArrivalClock()
    clock.advance({"predictions/0": 10, "predictions/1": 20}, TWO)
    clock.advance({"predictions/1": 90}, TWO)
    assert clock.now == 10
    clock.advance({"predictions/0": 30}, TWO)
    assert clock.now == 30


def test_an_older_arrival_of_a_repeated_message_changes_nothing() -> None:
    clock = ArrivalClock()
    clock.advance({"predictions/0": 10, "predictions/1": 20}, TWO)
    clock.advance({"predictions/0": 5}, TWO)
    assert clock.now == 10


def test_a_partition_added_later_holds_the_clock_where_it_stands_and_never_turns_it_back() -> None:
    clock = ArrivalClock()
    clock.advance({"predictions/0": 10, "predictions/1": 20}, TWO)
    clock.advance({"predictions/0": 30, "predictions/1": 30}, {"predictions": 3})
    assert clock.now == 10
    clock.advance({"predictions/2": 7}, {"predictions": 3})
    assert clock.now == 10
    clock.advance({"predictions/2": 25}, {"predictions": 3})
    assert clock.now == 25


def test_a_message_from_an_ingest_that_has_not_yet_seen_the_new_partition_changes_nothing() -> None:
    clock = ArrivalClock()
    clock.advance({}, {"predictions": 3})
    clock.advance({"predictions/0": 1, "predictions/1": 1}, TWO)
    assert clock.now is None


def test_no_sources_at_all_is_no_clock() -> None:
    clock = ArrivalClock()
    clock.advance({}, {})
    assert clock.now is None


def test_the_clock_survives_a_checkpoint() -> None:
    clock = ArrivalClock()
    clock.advance({"predictions/0": 10, "predictions/1": 20}, TWO)
    clock.advance({}, {"predictions": 3})
    restored = ArrivalClock.load(clock.dump())
    assert restored.now == 10
    assert restored.waiting == ["predictions/2"]
