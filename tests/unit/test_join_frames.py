"""What the frames hold that join emits, what it is told of models, and what it lets go of."""

from __future__ import annotations

from detectors.flow.join import JoinSpec, MemoryPending, step
from detectors.flow.outcome import KEY_COLUMNS
from tests.joining import FAR, SPEC, counts, outcomes, passed, run
from tests.strategies import Label, Prediction, Row, frames_of, rows_of


def test_an_outcome_carries_what_detect_needs_of_its_prediction_and_its_label() -> None:
    rows = [
        Prediction(arrival=3, ts=1, says="legit", score=0.25, segment="eu", partition=2, offset=7),
        Label(arrival=9, ts=8, says="fraud", partition=1, offset=4),
    ]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert {k: v for k, v in outcome.items() if k != "id"} == {
        "subject": "fraud@1",
        "kind": "outcome",
        "ts": 1,
        "prediction_arrival": 3,
        "arrival": 9,
        "source": 1 << 32 | 1,
        "order_ts": 8,
        "offset": 4,
        "index": 0,
        "prediction": "legit",
        "s:fraud": 0.25,
        "g:region": "eu",
        "label": "fraud",
        "label_ts": 8,
    }


def test_an_outcome_of_a_label_that_came_first_has_the_key_of_its_prediction() -> None:
    rows = [Label(arrival=3, offset=4), Prediction(arrival=9, ts=8, partition=2, offset=7)]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert [outcome[name] for name in KEY_COLUMNS] == [9, 2, 8, 7, 0]


def test_at_one_arrival_a_prediction_comes_before_its_label() -> None:
    rows = [Label(arrival=5, offset=0), Prediction(arrival=5, offset=900)]
    [outcome] = [row for f in run(rows) if f.kind == "outcome" for row in rows_of(f)]
    assert outcome["source"] == 1 << 32


def test_predictions_are_passed_on_with_all_their_columns_in_key_order() -> None:
    rows = [Prediction(id=name, arrival=10 - i, amount=float(i)) for i, name in enumerate("abcd")]
    [frame] = run(rows)
    assert frame.kind == "prediction"
    assert [row["arrival"] for row in rows_of(frame)] == [7, 8, 9, 10]
    assert [row["x:amount"] for row in rows_of(frame)] == [3.0, 2.0, 1.0, 0.0]


def test_several_frames_of_one_subject_are_one_sequence() -> None:
    early, late = Prediction(arrival=1, offset=1), Prediction(arrival=2, says="fraud", offset=0)
    frames = [*frames_of([late]), *frames_of([early])]
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    [kept] = [row for frame in out if frame.kind == "prediction" for row in rows_of(frame)]
    assert kept["arrival"] == 1


def test_each_model_has_its_own_horizon() -> None:
    spec = JoinSpec(default_horizon_ms=160, horizons_ms={"churn": 320})
    rows = [
        Prediction(arrival=1),
        Prediction(arrival=1, subject="churn@1", offset=1),
        Label(model="", arrival=200, offset=2),
    ]
    frames = run(rows, spec=spec, clock=201)
    assert outcomes(frames) == [("churn@1", "fraud", None)]
    assert counts(frames) == {}  # at fraud the prediction is gone for good, so it is not even late


def test_only_configured_segments_are_kept() -> None:
    spec = JoinSpec(default_horizon_ms=160)
    rows = [Prediction(arrival=1, segment="eu"), Label(arrival=2)]
    [outcome] = [row for f in run(rows, spec=spec) if f.kind == "outcome" for row in rows_of(f)]
    assert "g:region" not in outcome


def test_a_categorical_feature_can_be_a_segment() -> None:
    frames = frames_of([Prediction(arrival=1, segment="eu"), Label(arrival=2)])
    for frame in frames:
        if "g:region" in frame.columns:
            frame.columns["c:region"] = frame.columns.pop("g:region")
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    [outcome] = [row for f in out if f.kind == "outcome" for row in rows_of(f)]
    assert outcome["c:region"] == "eu"


def test_when_too_much_is_pending_the_oldest_slice_goes_and_is_counted() -> None:
    pending = MemoryPending(max_entries=4)
    rows: list[Row] = [Prediction(id=f"{i}", arrival=i * 20, offset=i) for i in range(6)]
    rows += [Label(id=f"{i}", arrival=119, offset=10 + i) for i in range(3)]
    frames = run(rows, clock=120, pending=pending)
    assert passed(frames) == 6
    assert outcomes(frames) == []  # each label found its prediction gone, and pushed out one more
    assert pending.entries == 4
    assert counts(frames)["fraud@1 pending_full"] == 5


def test_nothing_is_kept_when_all_lives_are_over() -> None:
    pending = MemoryPending()
    run([Prediction(arrival=1), Label(arrival=2, offset=1)], pending=pending)
    assert pending.entries == 0
    assert pending.dump()["slabs"] == []
    assert pending.waiting_labels == 0


def test_commands_are_passed_on() -> None:
    frames = frames_of([Prediction(arrival=1)])
    frames[0].kind = "command"
    _, out = step(MemoryPending(), frames, FAR, SPEC)
    assert [frame.kind for frame in out] == ["command"]


def test_repeats_still_count_towards_the_limit_after_a_restart() -> None:
    rows = [Prediction(arrival=1), Prediction(arrival=1, ts=12, offset=1)]  # of two slices
    pending = MemoryPending(max_entries=2)
    run(rows, clock=2, pending=pending)
    restored = MemoryPending.load(pending.dump())
    for store in (pending, restored):
        frames = run([Prediction(id="b", arrival=3)], clock=4, pending=store)
        assert counts(frames) == {"fraud@1 pending_full": 1}
        assert store.entries == 2
