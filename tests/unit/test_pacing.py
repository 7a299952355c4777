"""Source partitions go on in order of arrival, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

from faust.types import TP

from streams.kafka.pacing import APART_MS, PATIENCE_S, Pacing

PREDICTIONS, LABELS, OTHER = TP("predictions", 0), TP("labels", 0), TP("labels", 1)


@dataclass
class Record:
    timestamp: int


def slices(*starts: int) -> list[list[Record]]:
    return [[Record(start), Record(start + 9)] for start in starts]


def popped(pacing: Pacing, behind: set[TP] = frozenset(), now: float = 0.0) -> list[tuple[TP, int]]:
    out = []
    while (found := pacing.pop(behind - set(pacing.held), now)) is not None:
        out.append((found[0], found[1][0].timestamp))
    return out


def test_what_arrived_first_goes_first_whatever_partition_it_lies_in():
    pacing = Pacing()
    pacing.add(LABELS, slices(10, 30, 50))
    pacing.add(PREDICTIONS, slices(0, 20, 40))
    assert [at for _, at in popped(pacing)] == [0, 10, 20, 30, 40, 50]
    assert not pacing.held


def test_a_partition_far_ahead_waits_for_one_that_has_more_to_come():
    pacing = Pacing()
    pacing.add(LABELS, slices(0, APART_MS + 9, APART_MS + 10, 9 * APART_MS))
    pacing.add(PREDICTIONS, slices(0))
    assert popped(pacing, {PREDICTIONS}) == [(LABELS, 0), (PREDICTIONS, 0), (LABELS, APART_MS + 9)]
    assert list(pacing.held) == [LABELS]
    pacing.add(PREDICTIONS, slices(9 * APART_MS))
    assert len(popped(pacing)) == 3


def test_a_partition_that_was_never_heard_of_holds_all_others():
    pacing = Pacing()
    pacing.add(LABELS, slices(10 * APART_MS))
    assert popped(pacing, {OTHER}) == []
    assert popped(pacing, set()) == [(LABELS, 10 * APART_MS)]


def test_patience_ends_and_begins_anew():
    pacing = Pacing()
    pacing.add(LABELS, slices(10 * APART_MS, 20 * APART_MS))
    assert popped(pacing, {OTHER}, now=1.0) == []
    assert popped(pacing, {OTHER}, now=0.9 + PATIENCE_S) == []
    assert popped(pacing, {OTHER}, now=1.0 + PATIENCE_S) == [(LABELS, 10 * APART_MS)]
    assert popped(pacing, {OTHER}, now=2.0 + PATIENCE_S) == []


def test_what_is_read_again_is_forgotten():
    pacing = Pacing()
    pacing.add(LABELS, slices(0, 10))
    pacing.add(PREDICTIONS, slices(5))
    pacing.drop(LABELS)
    assert popped(pacing) == [(PREDICTIONS, 5)]
    pacing.add(LABELS, slices(0))
    pacing.clear()
    assert popped(pacing) == []
