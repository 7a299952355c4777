"""The rules of one channel, as a table of what the receiver has and what it gets."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streams.kafka.channel import Header, Receiver, Sender


@dataclass
class Case:
    what: str
    mark: int
    start: int
    to: int
    accepted: int | None
    mark_after: int


@pytest.mark.parametrize(
    "case",
    [
        Case("the next message", 10, start=10, to=15, accepted=10, mark_after=15),
        Case("the first message ever", 0, start=0, to=5, accepted=0, mark_after=5),
        Case("an empty message that says nothing new", 10, 10, 10, 10, 10),
        Case("all of it was applied before", 10, start=2, to=8, accepted=10, mark_after=10),
        Case(
            "other frame boundaries after a restart", 10, start=5, to=12, accepted=10, mark_after=12
        ),
        Case("a predecessor is missing", 10, start=11, to=15, accepted=None, mark_after=10),
        Case("the very first was lost", 0, start=3, to=5, accepted=None, mark_after=0),
    ],
    ids=lambda case: case.what,
)
def test_a_receiver_accepts_what_joins_on_and_drops_what_leaves_a_hole(case: Case) -> None:
    receiver = Receiver({"rows/0": case.mark})
    header = Header("rows/0", case.start, case.to)
    accepted = receiver.accept(header)
    if accepted is not None:
        receiver.applied(header)
    assert accepted == case.accepted
    assert receiver.marks["rows/0"] == case.mark_after
    assert receiver.gaps == (case.accepted is None)
    assert bool(receiver.missing) == (case.accepted is None)


def test_a_gap_is_over_once_the_sender_has_sent_again() -> None:
    receiver = Receiver()
    assert receiver.accept(Header("p/0", 4, 6)) is None
    assert receiver.missing == {"p/0": 4}
    assert receiver.accept(Header("p/0", 0, 6)) == 0
    receiver.applied(Header("p/0", 0, 6))
    assert receiver.missing == {}


def test_a_senders_messages_tile_each_channel_without_holes() -> None:
    sender = Sender("predictions/3", 7, 2)
    assert sender.header(0, 9) == Header("predictions/3", 7, 9)
    assert sender.header(0, 12) == Header("predictions/3", 9, 12)
    assert sender.behind(12) == [1]
    assert sender.header(1, 12) == Header("predictions/3", 7, 12)
    assert sender.behind(12) == []


def test_a_sender_never_goes_back() -> None:
    sender = Sender("predictions/0", 5, 1)
    sender.header(0, 9)
    with pytest.raises(ValueError, match="goes back from 9 to 8"):
        sender.header(0, 8)


def test_after_a_hole_each_channel_may_skip_once_and_what_it_skipped_is_counted() -> None:
    receiver = Receiver({"p/0": 10, "p/1": 10})
    receiver.heal()
    zombie = Header("p/0", 2, 10)  # says nothing new, so it does not use up the permission
    assert receiver.accept(zombie) == 10
    receiver.applied(zombie)
    skipping = Header("p/0", 14, 20)
    assert receiver.accept(skipping) == 14
    receiver.applied(skipping)
    assert (receiver.lost, receiver.marks["p/0"]) == (4, 20)
    assert receiver.accept(Header("p/0", 21, 22)) is None
    assert receiver.accept(Header("p/1", 11, 12)) == 11


def test_marks_and_the_permission_to_skip_survive_a_checkpoint() -> None:
    receiver = Receiver({"p/0": 10}, gaps=3, missing={"p/1": 4})
    receiver.heal()
    restored = Receiver.load(receiver.dump())
    assert restored == receiver
    assert restored.accept(Header("p/0", 14, 20)) == 14


def applied(receiver: Receiver, header: Header) -> int | None:
    mark = receiver.accept(header)
    if mark is not None:
        receiver.applied(header)
    return mark


def test_a_topic_that_was_made_anew_is_a_new_log() -> None:
    receiver = Receiver()
    assert applied(receiver, Header("p/0", 0, 500, "first")) == 0
    assert applied(receiver, Header("p/0", 0, 20, "second")) == 0, "offsets begin anew"
    assert applied(receiver, Header("p/0", 20, 30, "second")) == 20
    assert applied(receiver, Header("p/0", 400, 500, "first")) == 500, "a late one of the old log"


def test_a_mark_from_before_ids_were_told_goes_on_with_the_first_id() -> None:
    receiver = Receiver({"p/0": 70})
    assert applied(receiver, Header("p/0", 70, 80, "id")) == 70
    assert receiver.marks == {"p/0#id": 80}


def test_a_sender_that_could_not_learn_the_id_means_the_newest_log() -> None:
    receiver = Receiver()
    applied(receiver, Header("p/0", 0, 10, "first"))
    applied(receiver, Header("p/0", 0, 5, "second"))
    assert applied(receiver, Header("p/0", 5, 9)) == 5
    assert receiver.marks == {"p/0#first": 10, "p/0#second": 9}
