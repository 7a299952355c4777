"""The store on disk gives what the store in memory gives, whatever the rows, cuts and restarts."""

from __future__ import annotations

import resource
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.flow import usual
from detectors.flow.join import JoinSpec, MemoryPending, step
from streams.state import rocks_pending
from streams.state.moved_pending import from_memory
from streams.state.pending_disk import Head, SliceDisk
from streams.state.rocks_pending import Changes, RocksPending
from tests.property.test_usual_rows import row_by_row, steps
from tests.strategies import Label, Prediction, Row, frames_of, in_key_order, row_lists, rows_of

SPEC = JoinSpec(default_horizon_ms=32, horizons_ms={"churn": 16}, default_segments=("region",))
END = 1_000
LIMITS = st.sampled_from([3, 7, 1_000])
Frames = list[tuple[str, str, list[dict[str, Any]]]]


class Tables:
    """A disk of dictionaries, so that hundreds of examples cost no files."""

    def __init__(self) -> None:
        self.slices: dict[int, dict[bytes, bytes]] = {}

    def get(self, number: int, ids: Any) -> list[bytes | None]:
        return [self.slices.get(number, {}).get(row_id) for row_id in ids]

    def put(self, changes: Changes) -> None:
        for number, values in changes.items():
            self.slices.setdefault(number, {}).update(values)


def told(frames: list[Any]) -> Frames:
    """What a step said, in a form to compare; a column without a valid row says nothing."""
    return [(frame.subject, frame.kind, rows_of(frame)) for frame in frames]


def in_memory(rows: list[Row], cuts: list[int], limit: int) -> list[Frames]:
    pending: Any = MemoryPending(max_entries=limit)
    said = []
    for start, stop, clock in pieces(rows, cuts):
        pending, frames = step(pending, frames_of(rows[start:stop]), clock, SPEC)
        said.append(told(frames))
    return said


def pieces(rows: list[Row], cuts: list[int]) -> list[tuple[int, int, int]]:
    edges = [0, *sorted(cuts), len(rows)]
    return [
        (start, stop, rows[stop].arrival if stop < len(rows) else END)
        for start, stop in pairwise(edges)
    ]


def reloaded(pending: RocksPending, disk: Any) -> RocksPending:
    dumped = msgspec.msgpack.encode(pending.dump())
    return RocksPending.load(msgspec.msgpack.decode(dumped, strict=False), disk)


@st.composite
def cut_rows(draw: st.DrawFn) -> tuple[list[Row], list[int], list[int]]:
    rows = in_key_order(draw(row_lists()))
    cuts = draw(st.lists(st.integers(0, len(rows)), max_size=8))
    return rows, cuts, draw(st.lists(st.integers(0, 2), min_size=len(cuts) + 1))


# An id comes again in a new horizon: its first row must leave the disk, or the label meets both.
REPLACED = [Prediction(arrival=0, ts=3), Prediction(arrival=33), Label(arrival=34)]


@settings(deadline=None)
@given(cut_rows(), LIMITS)
@example((REPLACED, [1, 2], [2, 2, 2]), 1_000)
def test_every_step_says_what_the_store_in_memory_says(
    drawn: tuple[list[Row], list[int], list[int]], limit: int
) -> None:
    rows, cuts, checkpoints = drawn
    disk = Tables()
    pending: Any = RocksPending(disk, max_entries=limit)
    said = []
    for (start, stop, clock), then in zip(pieces(rows, cuts), checkpoints, strict=False):
        pending, frames = step(pending, frames_of(rows[start:stop]), clock, SPEC)
        said.append(told(frames))
        if then:  # 1: a checkpoint, 2: and a restart from it
            disk.put(pending.changes(0))
            pending.saved()
            disk.slices = {n: held for n, held in disk.slices.items() if n in pending.live}
        if then == 2:
            pending = reloaded(pending, disk)
    assert said == in_memory(rows, cuts, limit)


def on_disk(
    drawn: list[list[Row]], limit: int, then: list[int], spec: JoinSpec = SPEC
) -> tuple[list[tuple[Frames, int]], list[int]]:
    """What every step said, with the entries it left, and how many rows it took one by one.

    `then`: after each step nothing (0), a checkpoint (1), or a restart from it, too (2).
    """
    disk = Tables()
    pending: Any = RocksPending(disk, max_entries=limit)
    said: list[tuple[Frames, int]] = []
    left: list[int] = []
    take = usual.take

    def counted(*args: Any) -> Any:
        result = take(*args)
        left.append(int(result.sum()))
        return result

    for at, (rows, following) in enumerate(pairwise([*drawn, []])):
        clock = following[0].arrival if following else END
        with patch.object(usual, "take", counted), patch.object(rocks_pending, "FEW", 0):
            pending, frames = step(pending, frames_of(rows), clock, spec)
        said.append((told(frames), pending.entries))
        if then[at]:
            disk.put(pending.changes(0))
            pending.saved()
            disk.slices = {n: held for n, held in disk.slices.items() if n in pending.live}
        if then[at] == 2:
            pending = reloaded(pending, disk)
    return said, left


LONG = JoinSpec(default_horizon_ms=160, horizons_ms={"churn": 48}, default_segments=("region",))


@st.composite
def lives(draw: st.DrawFn) -> list[list[Row]]:
    """Predictions whose labels mostly come once and later, over some horizons, in up to 8 steps."""
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, 60))
        subject = draw(st.sampled_from(["fraud@1", "fraud@1", "fraud@2", "churn@1"]))
        ts = at + draw(st.sampled_from([0, 0, 5, 100]))
        rows.append(Prediction(id=f"{number}", subject=subject, arrival=at, ts=ts))
        for later in draw(st.lists(st.integers(-4, 190), max_size=2)):
            says = draw(st.sampled_from(["legit", "fraud"]))
            model = draw(st.sampled_from([subject.partition("@")[0], ""]))
            rows.append(Label(id=f"{number}", model=model, arrival=max(0, at + later), says=says))
        for later in draw(st.lists(st.integers(0, 190), max_size=1)):
            again = draw(st.sampled_from([subject, "fraud@2"]))
            rows.append(Prediction(id=f"{number}", subject=again, arrival=at + later))
    rows = in_key_order([replace(row, offset=offset) for offset, row in enumerate(rows)])
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=7)))
    return [rows[a:b] for a, b in pairwise([0, *cuts, len(rows)]) if a < b]


# Prediction and label end with the same slice, and both of it are found again.
ONE_SLICE: list[list[Row]] = [
    [Prediction(arrival=0), Label(arrival=5)],
    [Label(arrival=6, ts=6, says="legit")],
]
# Two versions have the id, each in a slice of its own.
TWO_SLICES: list[list[Row]] = [
    [Prediction(arrival=0)],
    [Prediction(arrival=30, subject="fraud@2")],
    [Label(arrival=40)],
]


# The label's slice ends before its prediction's, and is forgotten before a checkpoint came.
ENDS_FIRST: list[list[Row]] = [
    [Prediction(arrival=0, ts=100), Label(arrival=5)],
    [Prediction(id="b", arrival=200)],
    [Label(arrival=210, says="legit")],
]


@settings(deadline=None, max_examples=200)
@example(ENDS_FIRST, 1_000, [0] * 8)
@example(ONE_SLICE, 1_000, [1] * 8)
@example(TWO_SLICES, 1_000, [1] * 8)
@given(
    steps() | lives(),
    LIMITS,
    st.lists(st.sampled_from([0, 0, 1, 2]), min_size=8, max_size=8),
)
def test_usual_rows_at_once_say_what_the_store_in_memory_says(
    drawn: list[list[Row]], limit: int, then: list[int]
) -> None:
    pending: Any = MemoryPending(max_entries=limit)
    said = []
    for rows, following in pairwise([*drawn, []]):
        clock = following[0].arrival if following else END
        with patch.object(usual, "take", row_by_row):
            pending, frames = step(pending, frames_of(rows), clock, LONG)
        said.append((told(frames), pending.entries))
    assert on_disk(drawn, limit, then, LONG)[0] == said


def test_new_predictions_and_their_first_labels_are_taken_at_once_off_the_disk() -> None:
    rows: list[Row] = [Prediction(id=f"p{i}", arrival=i, offset=i) for i in range(20)]
    labels: list[Row] = [Label(id=f"p{i}", arrival=30 + i, offset=i) for i in range(20)]
    again: list[Row] = [Label(id="p3", arrival=60), Prediction(id="p4", arrival=61)]
    said, left = on_disk([rows, labels, again], 1_000, [2, 1, 0], JoinSpec(16_000))
    assert left == [0, 0, 2]
    assert [(kind, len(of)) for _, kind, of in said[1][0]] == [("outcome", 20)]
    assert [(kind, [row["name"] for row in of]) for _, kind, of in said[2][0]] == [
        ("count", ["duplicates", "label_duplicates"])
    ]


def test_an_id_that_was_looked_at_on_its_own_and_did_not_change_is_usual_again() -> None:
    rows: list[Row] = [Prediction(id=f"p{i}", arrival=i, offset=i) for i in range(3)]
    repeat, label = Prediction(id="p1", arrival=4), Label(id="p1", arrival=5)
    said, left = on_disk([rows, [repeat], [label]], 1_000, [1, 0, 0], JoinSpec(16_000))
    assert left == [0, 1, 0]
    assert [kind for _, kind, _ in said[2][0]] == ["outcome"]


@settings(deadline=None)
@given(cut_rows(), LIMITS)
def test_a_store_that_moves_from_memory_to_disk_goes_on_as_it_would_have(
    drawn: tuple[list[Row], list[int], list[int]], limit: int
) -> None:
    rows, cuts, _ = drawn
    memory: Any = MemoryPending(max_entries=limit)
    *firsts, last = pieces(rows, cuts)
    for start, stop, clock in firsts:
        memory, _frames = step(memory, frames_of(rows[start:stop]), clock, SPEC)
    moved = from_memory(memory.dump(), Tables())
    moved._slices.max_entries = limit  # the disk's own limit is greater
    assert moved.entries == memory.entries
    start, stop, clock = last
    ours = step(moved, frames_of(rows[start:stop]), clock, SPEC)[1]
    assert told(ours) == told(step(memory, frames_of(rows[start:stop]), clock, SPEC)[1])


def test_the_databases_of_a_real_folder_serve_as_well_as_dictionaries(tmp_path: Path) -> None:
    example = Counter[str]()

    @settings(max_examples=10, deadline=None)
    @given(cut_rows())
    def run(drawn: tuple[list[Row], list[int], list[int]]) -> None:
        rows, cuts, _ = drawn
        with TemporaryDirectory(dir=tmp_path) as folder:
            disk = SliceDisk(Path(folder))
            pending: Any = RocksPending(disk)
            said = []
            for start, stop, clock in pieces(rows, cuts):
                pending, frames = step(pending, frames_of(rows[start:stop]), clock, SPEC)
                said.append(told(frames))
                disk.put(pending.changes(0))
                pending.saved()
                disk.advance(Head(b"me", 0), pending.live)
                pending = reloaded(pending, disk)
                example["slices"] += len(pending.live)
            disk.close()
        assert said == in_memory(rows, cuts, 1_000)

    run()
    assert example["slices"] > 0


def test_a_folder_keeps_what_was_put_and_drops_whole_slices(tmp_path: Path) -> None:
    disk = SliceDisk(tmp_path)
    assert disk.head() is None
    disk.put({1: [(b"a" * 16, b"one")], 2: [(b"a" * 16, b"two"), (b"b" * 16, b"gone")]})
    disk.put({2: [(b"b" * 16, b"")]})
    disk.advance(Head(b"me", 7), {1, 2})
    disk.close()
    disk = SliceDisk(tmp_path)
    assert disk.head() == Head(b"me", 7)
    assert disk.get(2, [b"a" * 16, b"b" * 16]) == [b"two", None]
    disk.advance(Head(b"me", 8), {2})
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["2"]
    disk.wipe()
    assert disk.head() is None
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]
    disk.close()


def test_a_folder_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.state import pending_disk

    monkeypatch.setattr(pending_disk, "_LOCK_WAIT_S", 0.0)
    first = SliceDisk(tmp_path)
    with pytest.raises(pending_disk.DiskError, match="state folder"):
        SliceDisk(tmp_path)
    first.close()
    SliceDisk(tmp_path).close()


def test_a_full_disk_is_said_and_the_folder_can_be_opened_again(tmp_path: Path) -> None:
    from streams.state.pending_disk import DiskError

    disk = SliceDisk(tmp_path)
    disk.put({1: [(b"a" * 16, b"one")]})
    disk.advance(Head(b"me", 1), {1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        for write in (
            lambda: disk.put({1: [(b"b" * 16, b"two")]}),
            lambda: disk.put({2: [(b"b" * 16, b"two")]}),
            lambda: disk.expect(b"me", 2),
            lambda: disk.advance(Head(b"me", 2), {1}),
        ):
            with pytest.raises(DiskError, match="state folder"):
                write()
        disk.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    disk = SliceDisk(tmp_path)
    assert disk.head() == Head(b"me", 1)
    assert disk.get(1, [b"a" * 16, b"b" * 16]) == [b"one", None]
    disk.put({1: [(b"b" * 16, b"two")]})
    disk.close()
