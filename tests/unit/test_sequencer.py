"""The sequencer: what is held, what leaves when, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.flow.sequencer import Sequencer
from detectors.frame import ID, Column, Frame, text_column
from detectors.order_key import in_order, order
from tests.strategies import Label, Prediction, Row, frames_of, rows_of


def holding(*rows: Row) -> Sequencer:
    """Each row comes in a frame of its own, in the order given."""
    sequencer = Sequencer()
    for row in rows:
        for frame in frames_of([row]):
            sequencer.hold(frame)
    return sequencer


def ids(frames: list[Frame]) -> list[str]:
    return [row["prediction_id"] for frame in frames for row in rows_of(frame)]


def test_rows_leave_once_the_clock_has_passed_them_and_not_at_it() -> None:
    sequencer = holding(Prediction(id="a", arrival=5), Prediction(id="b", arrival=7))
    assert ids(sequencer.release(5)) == []
    assert ids(sequencer.release(7)) == ["a"]
    assert ids(sequencer.release(8)) == ["b"]
    assert sequencer.nbytes == 0


def test_part_of_a_frame_may_leave() -> None:
    sequencer = Sequencer()
    rows = [Prediction(id=name, arrival=i) for i, name in enumerate("abcd")]
    sequencer.hold(frames_of(rows)[0])
    assert ids(sequencer.release(2)) == ["a", "b"]
    assert ids(sequencer.release(9)) == ["c", "d"]


def test_rows_of_several_senders_leave_in_key_order() -> None:
    sequencer = holding(
        Prediction(id="late", arrival=9, partition=1),
        Prediction(id="other partition", arrival=5, ts=4, partition=1),
        Prediction(id="later ts", arrival=5, ts=5, partition=0),
        Prediction(id="early", arrival=1, partition=2),
    )
    assert ids(sequencer.release(10)) == ["early", "other partition", "later ts", "late"]


def test_there_is_one_frame_per_subject_and_kind_in_that_order() -> None:
    sequencer = holding(
        Label(arrival=1),
        Prediction(arrival=2, subject="fraud@2"),
        Prediction(arrival=3, subject="churn@1"),
        Prediction(arrival=1, subject="churn@1", id="b"),
    )
    frames = sequencer.release(10)
    assert [(f.subject, f.kind, f.n) for f in frames] == [
        ("churn@1", "prediction", 2),
        ("fraud@", "label", 1),
        ("fraud@2", "prediction", 1),
    ]


def test_a_frame_out_of_order_is_put_in_order() -> None:
    [frame] = frames_of([Prediction(id=name, arrival=i) for i, name in enumerate("abc")])
    sequencer = Sequencer()
    sequencer.hold(frame.take(np.array([2, 0, 1])))
    assert ids(sequencer.release(2)) == ["a", "b"]


def test_columns_that_only_some_frames_have_are_missing_elsewhere() -> None:
    sequencer = holding(
        Prediction(id="a", arrival=1, score=0.5), Prediction(id="b", arrival=2, says=3.0)
    )
    rows = [row for frame in sequencer.release(9) for row in rows_of(frame)]
    assert [row.get("s:fraud") for row in rows] == [0.5, None]
    assert [row.get("prediction", row.get("prediction_value")) for row in rows] == ["legit", 3.0]


def test_with_a_limit_the_first_rows_in_key_order_leave_and_the_rest_follows() -> None:
    rows = [Prediction(id=f"{i}", arrival=i // 4, subject=f"m@{i % 3}") for i in range(40)]
    sequencer = holding(*rows)
    row_bytes = sequencer.nbytes // 40
    seen: list[str] = []
    pieces = 0
    while frames := sequencer.release(100, limit_bytes=7 * row_bytes):
        piece = sorted(ids(frames), key=int)  # frames are by subject
        assert len(piece) in range(1, 10)
        passed = sequencer.passed(100)
        assert all(row["arrival"] <= passed for frame in frames for row in rows_of(frame))
        seen += piece
        pieces += 1
    assert pieces >= 5
    assert sequencer.passed(100) == 100
    assert [int(i) // 4 for i in seen] == sorted(int(i) // 4 for i in seen)
    assert sorted(seen, key=int) == [f"{i}" for i in range(40)]


def test_a_limit_below_one_row_still_moves_on() -> None:
    sequencer = holding(Prediction(id="a", arrival=1), Prediction(id="b", arrival=1))
    assert len(ids(sequencer.release(9, limit_bytes=1))) == 1


def test_a_limit_never_releases_what_the_clock_has_not_passed() -> None:
    sequencer = holding(Prediction(id="a", arrival=1), *[Prediction(id="b", arrival=5)] * 20)
    assert ids(sequencer.release(5, limit_bytes=400)) == ["a"]


def test_beyond_its_bound_the_older_half_is_stepped_and_counted() -> None:
    sequencer = holding(*[Prediction(id=f"{i}", arrival=100 - i) for i in range(20)])
    bound = sequencer.nbytes
    assert sequencer.force(bound) == []
    sequencer.hold(frames_of([Prediction(id="20", arrival=80)])[0])
    forced = ids(sequencer.force(bound))
    assert forced == [f"{i}" for i in range(20, 20 - len(forced), -1)]
    assert 9 <= len(forced) <= 12
    assert sequencer.forced == len(forced)
    assert sequencer.nbytes <= bound


def test_released_text_does_not_show_how_frames_were_cut() -> None:
    one = Sequencer()
    [frame] = frames_of([Prediction(id=f"{i}", arrival=i, says="ab"[i % 2]) for i in range(6)])
    one.hold(frame)
    one.release(3)
    [rest] = one.release(9)
    assert rest.columns["prediction"].values == ["b", "a"]
    assert rest.columns["prediction_id"].values == ["3", "4", "5"]


def test_what_is_held_survives_a_checkpoint() -> None:
    sequencer = holding(
        *[Prediction(id=f"{i}", arrival=i, score=0.5) for i in range(10)], Label(arrival=3)
    )
    sequencer.release(2)
    sequencer.force(1)
    restored = Sequencer.load(sequencer.dump())
    assert (restored.nbytes, restored.forced) == (sequencer.nbytes, sequencer.forced)
    assert [rows_of(f) for f in restored.release(99)] == [rows_of(f) for f in sequencer.release(99)]


def test_an_empty_frame_is_not_held() -> None:
    sequencer = Sequencer()
    [frame] = frames_of([Prediction(arrival=1)])
    sequencer.hold(frame.take(np.array([], dtype=np.intp)))
    assert sequencer.release(9) == []


@pytest.mark.parametrize("held", [200, 3_000])
def test_a_message_that_releases_nothing_costs_the_same_however_much_is_held(held: int) -> None:
    sequencer = holding(*[Prediction(id=f"{i}", arrival=1_000 + i % 7) for i in range(held)])
    touched = 0

    class Watched(list):  # type: ignore[type-arg]
        def __getitem__(self, key: object) -> object:
            nonlocal touched
            touched += 1
            return super().__getitem__(key)  # type: ignore[index]

    sequencer._heap = Watched(sequencer._heap)
    for _ in range(100):
        assert sequencer.release(999) == []
    assert touched <= 200


def test_text_columns_keep_only_what_their_rows_use_in_order_of_appearance() -> None:
    column = text_column(["x", None, "y", "x", "z"]).take(np.array([4, 1, 2]))
    compact = column.compact()
    assert compact.values == ["z", "y"]
    assert compact.texts() == ["z", None, "y"]
    assert Column(np.zeros(2, np.uint32), np.zeros(2, bool), []).compact().texts() == [None, None]


def tied() -> Frame:
    """Rows that arrived at once, the last of the key first."""
    rows = [Prediction(id=name, arrival=5, ts=ts, offset=9 - ts) for ts, name in enumerate("abcd")]
    return frames_of(rows)[0].take(np.array([2, 3, 0, 1]))


def test_of_rows_that_arrived_at_once_the_first_in_key_order_leave_first() -> None:
    sequencer = Sequencer()
    sequencer.hold(tied())
    left = []
    while sequencer.rows:
        left += ids(sequencer.release(9, limit_bytes=1))
    assert left == ["a", "b", "c", "d"]


def test_a_checkpoint_does_not_say_in_which_order_rows_came() -> None:
    one, other = Sequencer(), Sequencer()
    one.hold(tied())
    other.hold(tied().take(np.array([2, 3, 0, 1])))
    assert one.dump() == other.dump()


@pytest.mark.parametrize("far", [1, 1 << 20, 1 << 61])
@pytest.mark.parametrize("ids", [2, 60])
def test_the_order_is_that_of_the_whole_key_however_far_its_parts_are_apart(
    far: int, ids: int
) -> None:
    random = np.random.default_rng(3)
    n = 60
    columns = {
        name: Column(random.integers(0, 3, n) * scale)
        for name, scale in (("arrival", far), ("source", 1 << 32), ("ts", far), ("offset", 1))
    }
    columns["id"] = Column(np.array([bytes([i] * 16) for i in random.permutation(n) % ids], ID))
    columns["index"] = Column(np.arange(n)[::-1])
    frame = Frame("m@1", "prediction", n, columns)
    names = ("arrival", "source", "ts", "id", "offset", "index")
    key = list(zip(*(columns[name].data.tolist() for name in names), strict=True))
    assert order(frame).tolist() == sorted(range(n), key=key.__getitem__)
    assert in_order(frame).ints("index").tolist() == [row[-1] for row in sorted(key)]
