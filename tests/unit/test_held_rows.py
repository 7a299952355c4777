"""What a worker's sequencers hold together is bounded; the fullest lets go first."""

from __future__ import annotations

from detectors.flow.sequencer import Sequencer
from streams.state.held_rows import HeldRows
from tests.strategies import Prediction, frames_of


def holding(rows: int) -> Sequencer:
    sequencer = Sequencer()
    for frame in frames_of([Prediction(id=str(i), arrival=i) for i in range(rows)]):
        sequencer.hold(frame)
    return sequencer


def test_nobody_lets_go_while_all_together_hold_no_more_than_the_limit():
    one, two = holding(100), holding(300)
    held = HeldRows(one.nbytes + two.nbytes)
    assert held.force(one) == held.force(two) == []
    assert one.forced == two.forced == 0


def test_beyond_it_the_one_that_holds_most_steps_its_older_half_and_counts_it():
    one, two = holding(100), holding(300)
    held = HeldRows(one.nbytes + two.nbytes - 1)
    assert held.force(one) == [], "alone it is within the limit"
    [frame] = held.force(two)
    assert two.forced == frame.n >= 150
    assert frame.ints("arrival").tolist() == list(range(frame.n)), "the older half"
    assert held.force(one) == [], "there is room again"


def test_a_sequencer_that_is_gone_does_not_count_any_more():
    one, two = holding(100), holding(300)
    held = HeldRows(one.nbytes + 1)
    held.force(two)
    del two
    assert held.force(one) == []
