"""join is a function of its rows: how they are cut into steps, and restarts, change nothing."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from detectors.flow.join import JoinSpec, MemoryPending, step
from driftline.rules import class_text
from tests.strategies import Label, Prediction, Row, frames_of, in_key_order, row_lists, rows_of

SPEC = JoinSpec(default_horizon_ms=32, horizons_ms={"churn": 16}, default_segments=("region",))
END = 1_000
LIMITS = st.sampled_from([3, 7, 1_000])


class Run:
    """Steps the rows in the pieces that `cuts` makes, and gathers what comes out."""

    def __init__(self, rows: list[Row], cuts: list[int], limit: int, *, restart: bool) -> None:
        pending: Any = MemoryPending(max_entries=limit)
        self.rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        edges = [0, *sorted(cuts), len(rows)]
        for start, stop in pairwise(edges):
            clock = rows[stop].arrival if stop < len(rows) else END
            pending, frames = step(pending, frames_of(rows[start:stop]), clock, SPEC)
            for frame in frames:
                self.take(frame)
            if restart:
                dumped = msgspec.msgpack.encode(pending.dump())
                pending = MemoryPending.load(msgspec.msgpack.decode(dumped))
        self.left = pending.entries

    def take(self, frame: Any) -> None:
        if frame.kind == "count":
            for row in rows_of(frame):
                self.counts[row["subject"], row["name"]] += row["value"]
        else:
            self.rows.setdefault((frame.subject, frame.kind), []).extend(rows_of(frame))


@st.composite
def cut_rows(draw: st.DrawFn) -> tuple[list[Row], list[int]]:
    rows = in_key_order(draw(row_lists()))
    return rows, draw(st.lists(st.integers(0, len(rows)), max_size=8))


@given(cut_rows(), LIMITS)
def test_any_cut_of_the_rows_into_steps_gives_the_same(
    drawn: tuple[list[Row], list[int]], limit: int
) -> None:
    rows, cuts = drawn
    whole = Run(rows, [], limit, restart=False)
    cut = Run(rows, cuts, limit, restart=False)
    assert cut.rows == whole.rows
    assert cut.counts == whole.counts


@given(cut_rows(), LIMITS)
def test_a_restart_after_any_step_changes_nothing(
    drawn: tuple[list[Row], list[int]], limit: int
) -> None:
    rows, cuts = drawn
    undisturbed = Run(rows, cuts, limit, restart=False)
    restarted = Run(rows, cuts, limit, restart=True)
    assert restarted.rows == undisturbed.rows
    assert restarted.counts == undisturbed.counts


def test_after_a_restart_a_label_that_waits_no_more_is_a_duplicate_when_said_again() -> None:
    rows: list[Row] = [
        Label(model="churn", arrival=4, offset=1),  # waits until 20
        Prediction(subject="churn@1", arrival=18, offset=2),
        Label(model="churn", arrival=26, ts=4, offset=3),
    ]
    undisturbed = Run(rows, [2], 1_000, restart=False)
    assert Run(rows, [2], 1_000, restart=True).counts == undisturbed.counts
    assert undisturbed.counts["churn@1", "label_duplicates"] == 1


def test_after_a_restart_labels_of_an_id_under_two_versions_are_still_known() -> None:
    rows: list[Row] = [
        Prediction(subject="fraud@1", arrival=0, offset=1),
        Prediction(subject="fraud@2", arrival=0, offset=2),
        Label(arrival=1, offset=3),
        Label(arrival=2, ts=1, offset=4),
    ]
    restarted = Run(rows, [3], 1_000, restart=True)
    assert restarted.counts["fraud@1", "label_duplicates"] == 1
    assert restarted.counts["fraud@2", "label_duplicates"] == 1


@given(cut_rows())
def test_nothing_stays_when_every_horizon_is_over(drawn: tuple[list[Row], list[int]]) -> None:
    rows, cuts = drawn
    assert Run(rows, cuts, 1_000, restart=False).left == 0


@given(row_lists())
def test_join_agrees_with_the_rules_written_row_by_row(drawn: list[Row]) -> None:
    rows = in_key_order(drawn)
    got = Run(rows, [], 1_000, restart=False)
    expected, counts = by_the_rules(rows)
    outcomes = [
        (subject, row["id"], row["arrival"], label_of(row, "label"), label_of(row, "previous"))
        for (subject, kind), found in got.rows.items()
        if kind == "outcome"
        for row in found
    ]
    assert sorted(outcomes, key=repr) == sorted(expected, key=repr)
    for name in ("duplicates", "late_labels"):
        assert sum(n for (_, which), n in got.counts.items() if which == name) == counts[name]


def label_of(row: dict[str, Any], name: str) -> str | None:
    if f"{name}_value" in row:
        return class_text(row[f"{name}_value"])
    return row.get(name)


def by_the_rules(rows: list[Row]) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    """Outcomes and counters by looking at all rows so far, for every row: slow, and plain."""
    from tests.strategies import id_of

    counts: Counter[str] = Counter()
    firsts: list[Prediction] = []
    held: dict[int, Label] = {}
    out: list[tuple[Any, ...]] = []

    def ts(row: Row) -> int:
        return row.arrival if row.ts is None else row.ts

    def rank(label: Label) -> tuple[Any, ...]:
        return ts(label), (label.by or "").encode(), class_text(label.says).encode()

    def horizon(model: str) -> int:
        return SPEC.horizon_ms(model)

    def meet(number: int, prediction: Prediction, label: Label, now: int) -> None:
        before = held.get(number)
        if before is not None and rank(label) <= rank(before):
            return
        held[number] = label
        previous = None if before is None else class_text(before.says)
        if previous != class_text(label.says):
            says = class_text(label.says)
            out.append((prediction.subject, id_of(prediction.id), now, says, previous))

    waiting: dict[tuple[str, str], tuple[Label, int]] = {}  # the one that holds, when last said
    for row in rows:
        if isinstance(row, Prediction):
            model = row.subject.partition("@")[0]
            live = [
                p
                for p in firsts
                if (p.id, p.subject) == (row.id, row.subject)
                and row.arrival < p.arrival + horizon(model)
            ]
            if live:
                counts["duplicates"] += 1
                continue
            for number, p in enumerate(firsts):  # replaced: labels to come are the new one's
                if (p.id, p.subject) == (row.id, row.subject):
                    firsts[number] = Prediction(id="gone", arrival=-END)
            firsts.append(row)
            labels = [
                label
                for key in ((model, row.id), ("", row.id))
                if key in waiting
                for label, said in [waiting[key]]
                if row.arrival < said + horizon(model)
            ]
            in_time = [la for la in labels if la.arrival < ts(row) + horizon(model)]
            counts["late_labels"] += len(labels) - len(in_time)
            if in_time:
                meet(len(firsts) - 1, row, max(in_time, key=rank), row.arrival)
            continue
        for number, p in enumerate(firsts):
            model = p.subject.partition("@")[0]
            if p.id != row.id or row.model not in {"", model}:
                continue
            if row.arrival >= max(ts(p), p.arrival) + horizon(model) * 17 // 16:
                continue
            if row.arrival >= ts(p) + horizon(model):
                counts["late_labels"] += 1
                continue
            meet(number, p, row, row.arrival)
        known = waiting.get((row.model, row.id))
        if known is None or row.arrival >= known[1] + horizon(row.model):
            waiting[row.model, row.id] = (row, row.arrival)
        elif class_text(known[0].says) == class_text(row.says):
            waiting[row.model, row.id] = (max(known[0], row, key=rank), row.arrival)
        elif rank(row) > rank(known[0]):
            waiting[row.model, row.id] = (row, row.arrival)
    return out, counts
