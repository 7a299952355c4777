"""Single events straight to columns: exactly what the codec and the row builder make of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.frame import Frame
from driftline import shapes
from driftline.codec import decode
from driftline.events import Reject
from driftline.rules import MAX_AHEAD_MS, MAX_MESSAGE_BYTES
from streams.rows import single_kinds
from streams.rows import singles as module
from streams.rows.builder import RowBuilder
from streams.rows.singles import Records, Singles
from tests.strategies import rows_of

T = 1_793_500_000_000
SHARDS = 3
NAMES = st.sampled_from(["amount", "age", "land", "Größe", "", 'quo"te', "a\\b"])
CELLS = st.none() | st.booleans() | st.sampled_from([1, 2.5, -0.0, 10**400, "DE", "x" * 300, [1]])
TIMES = st.sampled_from([T, T + 5, "2026-11-01T10:30:00.123Z", "1960-01-01T00:00:00Z", "soon", 12,
                         None, T + MAX_AHEAD_MS + 1_000])  # fmt: skip
SCORES = st.none() | st.sampled_from([0.5, 1.5]) | st.dictionaries(
    st.sampled_from(["a", "b"]), st.sampled_from([0.25, 0, 1, None, 1.0000005]), max_size=2
)  # fmt: skip
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "prediction_id": st.sampled_from(["p1", "p2", "ünï", "", 7]),
    "model": st.sampled_from(["fraud", "churn", "_own", "a b"]),
    "version": st.sampled_from(["1", "2", 2]),
    "ts": TIMES,
    "features": st.none() | st.dictionaries(NAMES, CELLS, max_size=3),
    "prediction": st.sampled_from(["yes", 1, 1.5, True, None, 2**70]),
    "scores": SCORES,
    "segments": st.none() | st.dictionaries(st.sampled_from(["eu", "us"]), CELLS, max_size=2),
    "attributions": st.none() | st.dictionaries(NAMES, st.sampled_from([0.5, 1, None]), max_size=2),
    "latency_ms": st.sampled_from([None, 5, 7.5, "slow"]),
    "label": st.sampled_from(["yes", 1, None]),
    "source": st.sampled_from(["form", None, 3]),
    "trace_id": st.sampled_from(["t", None]),
    "arrival": st.sampled_from([None, T]),
    "surprise": st.just(1),
    "client_dropped": st.just(3),
}
ODD = [None, b"", b"{}", b"poison", b'{"model":"', b"\xff\xfe", b"[]"]
USUAL = {"prediction_id": "p", "model": "fraud", "version": "1", "prediction": "yes", "ts": T,
         "features": {"amount": 1.5, "age": 3, "land": "DE"}}  # fmt: skip


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in USUAL.items() if name != field}


@st.composite
def values(draw: st.DrawFn) -> bytes | None:
    """Mostly the usual event with one or two of its fields changed or taken out."""
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return draw(
            st.sampled_from([None, b"", b"{}", b"poison", b'{"model":"', b"\xff\xfe", b"[]"])
        )
    body: dict[str, Any] = dict(USUAL)
    if kind <= 4:
        body = {"prediction_id": "p", "label": "yes", "ts": T}
    for name in draw(st.lists(st.sampled_from(sorted(BODIES)), max_size=2)):
        body[name] = draw(BODIES[name])
        if draw(st.booleans()):
            body.pop(name)
    if kind == 11:
        body = {"predictions": [body, body]}
    try:
        return orjson.dumps(body)
    except TypeError:  # orjson has no integers beyond 64 bits; JSON has
        return json.dumps(body, separators=(",", ":")).encode()


def slow(records: Sequence[bytes | None], rank: int) -> tuple[RowBuilder, list[Reject]]:
    builder, rejects = RowBuilder(rank, 2, SHARDS), []
    for offset, value in enumerate(records):
        if value is not None:
            decoded = decode(value)
            rejects += decoded.rejects
            rejects += builder.add(decoded, offset=offset, arrival=T + offset, record_ts=T - offset)
    return builder, rejects


def fast(
    singles: Singles, records: Sequence[bytes | None], rank: int
) -> tuple[RowBuilder, list[Reject], int]:
    n = len(records)
    offsets = np.arange(n)
    read = singles.read(Records(rank, 2, records, offsets, T + offsets, T - offsets))
    builder, rejects = RowBuilder(rank, 2, SHARDS), []
    for offset in read.odd:
        value = records[offset]
        if value is not None:
            decoded = decode(value)
            rejects += decoded.rejects
            rejects += builder.add(decoded, offset=offset, arrival=T + offset, record_ts=T - offset)
    for frame in read.frames:
        builder.add_frame(frame)
    return builder, rejects, read.rows


def seen(builder: RowBuilder) -> tuple[int, list[Any], dict[str, list[str]]]:
    """All rows as dicts in one order, and which features each subject is seen to have."""
    n, rows, features = builder.rows, [], dict[str, set[str]]()
    for shard, frames in builder.frames().items():
        for frame in frames:
            assert frame.n == len(frame.columns["id"].data)
            features.setdefault(frame.subject, set()).update(_features(frame))
            rows += [(shard, dict(sorted(row.items()))) for row in rows_of(frame)]
    rows.sort(key=lambda r: (r[1]["offset"], r[1]["kind"], r[1]["index"]))
    return n, rows, {subject: sorted(features[subject]) for subject in sorted(features)}


def _features(frame: Frame) -> set[str]:
    return {name[2:] for name in frame.columns if name[:2] in {"x:", "c:", "b:"}}


@given(st.lists(st.lists(values(), max_size=12), max_size=3), st.integers(0, 1), st.integers(1, 12))
@example([[orjson.dumps(USUAL)] * 3 + [orjson.dumps(USUAL | {"label": "no"})]], 0, 2)
@example([[orjson.dumps(USUAL)] * 2 + [orjson.dumps({**USUAL, "model": None})]], 0, 3)
@example([[orjson.dumps(USUAL), orjson.dumps(without("model"))] * 2], 0, 3)
@example([[orjson.dumps(USUAL), orjson.dumps(USUAL | {"ts": "soon"}), orjson.dumps(USUAL)]], 0, 3)
@example([[orjson.dumps(USUAL), orjson.dumps(USUAL | {"ts": T + MAX_AHEAD_MS + 9})]], 0, 3)
def test_columns_made_at_once_are_those_made_row_by_row(
    batches: list[list[bytes | None]], rank: int, piece: int
):
    singles = Singles()  # what it learnt from one batch must not show in the next
    for batch in batches:
        expected, expected_rejects = slow(batch, rank)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PIECE", piece)
            patch.setattr(module, "OF_A_MODEL", 1)
            got, rejects, _ = fast(singles, batch, rank)
        assert repr(seen(got)) == repr(seen(expected))
        assert sorted(map(repr, rejects)) == sorted(map(repr, expected_rejects))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"features": {"amount": None, "land": "DE"}},
        {"features": {"amount": 1, "age": 2, "land": None}, "scores": {"yes": 0.5}},
        {"scores": 0.5, "segments": {"eu": "x"}, "latency_ms": 5},
        {"version": "2", "attributions": {"age": 0.5}},
        {"ts": "2026-09-01T10:30:00.123Z"},
    ],
)
def test_usual_events_take_the_short_way(changed: dict[str, Any]):
    records = [orjson.dumps(USUAL), orjson.dumps(USUAL | changed)] * 5
    _, _, rows = fast(Singles(), records, 0)
    assert rows == 10


def test_events_with_spaces_and_in_any_order_take_the_short_way():
    spaced = json.dumps(USUAL, sort_keys=True, indent=1).encode()
    assert fast(Singles(), [spaced] * 5, 0)[2] == 5


def test_models_learn_in_turn_where_a_batch_has_more_of_them_than_it_may_teach(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(single_kinds, "MODELS_PER_BATCH", 2)
    singles, records = Singles(), [orjson.dumps(USUAL | {"model": f"m{i}"}) for i in range(5)]
    for rows in (2, 4, 5):
        got, _, taken = fast(singles, records, 0)
        assert taken == rows
        assert seen(got) == seen(slow(records, 0)[0])


def test_a_message_over_the_limit_is_left_to_the_codec_which_refuses_it():
    records = [orjson.dumps(USUAL), orjson.dumps(USUAL) + b" " * MAX_MESSAGE_BYTES]
    got, rejects, rows = fast(Singles(), records, 0)
    assert (rows, got.rows, [str(r.reason) for r in rejects]) == (1, 1, ["too_large"])


def test_usual_labels_take_the_short_way():
    records = [orjson.dumps({"prediction_id": f"p{i}", "label": i, "ts": T}) for i in range(9)]
    records.append(orjson.dumps({"prediction_id": "p", "label": "x", "model": "fraud"}))
    assert fast(Singles(), records, 1)[2] == 10


def test_a_model_whose_events_keep_differing_is_given_up_and_still_read(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(shapes, "MAX_LESSONS", 2)
    singles = Singles()
    for i in range(4):
        records = [orjson.dumps(USUAL | {"features": {f"f{i}": 1.0, "g": 2.0}})] * 2
        got, _, rows = fast(singles, records, 0)
        assert rows == (2 if i < 2 else 0)
        assert seen(got) == seen(slow(records, 0)[0])


BATCH = {"model": "fraud", "version": "1", "columns": {
    "prediction_id": ["p0", "p1", "p2"], "ts": [T, T + 1, T + 2],
    "prediction": ["yes", "no", "yes"],
    "features": {"amount": [1.5, 2, None], "age": [1, 2, 3.5], "land": ["DE", "FR", "DE"]},
}}  # fmt: skip
TRUTH = {"model": "fraud", "columns": {
    "prediction_id": ["p0", "p1", "p2"], "ts": [T, T + 1, T + 2], "label": ["yes", 1, True],
}}  # fmt: skip
SHARED = ["model", "version", "ts", "source", "arrival", "surprise", "client_dropped", "label"]


def column(name: str) -> st.SearchStrategy[Any]:
    """Three values of a field, seldom two; of an object, columns by name."""
    if name in {"features", "scores", "segments", "attributions"}:
        cells = {"features": CELLS, "scores": st.sampled_from([0.5, 0, None, 1.5])}
        of = cells.get(name, st.none() | st.sampled_from(["x", 0.5, 1]))
        return st.dictionaries(NAMES, st.lists(of, min_size=3, max_size=3), max_size=3)
    return st.lists(BODIES[name], min_size=3, max_size=3) | st.just([1, 2])


@st.composite
def columnar(draw: st.DrawFn) -> bytes:
    """A batch of predictions or labels with one or two of its fields changed or taken out."""
    body: dict[str, Any] = dict(draw(st.sampled_from([BATCH, BATCH, TRUTH])))
    for name in draw(st.lists(st.sampled_from(SHARED), max_size=1)):
        body[name] = draw(BODIES[name])
    columns = dict(body["columns"])
    for name in draw(st.lists(st.sampled_from(sorted({*BODIES} - {"version"})), max_size=2)):
        columns[name] = draw(column(name))
        if draw(st.booleans()):
            columns.pop(name)
    body["columns"] = columns
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, separators=(",", ":")).encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(columnar() | values(), max_size=6), max_size=3), st.integers(0, 1))
@example([[orjson.dumps(BATCH), orjson.dumps(TRUTH)] * 2], 0)
@example([[orjson.dumps(BATCH), orjson.dumps(TRUTH | {"source": "form"})] * 2], 1)
def test_columnar_batches_made_at_once_are_those_the_codec_makes(
    batches: list[list[bytes | None]], rank: int
):
    singles = Singles()
    for batch in batches:
        expected, expected_rejects = slow(batch, rank)
        got, rejects, _ = fast(singles, batch, rank)
        assert repr(seen(got)) == repr(seen(expected))
        assert sorted(map(repr, rejects)) == sorted(map(repr, expected_rejects))


def test_usual_batches_take_the_short_way_on_either_topic():
    records = [orjson.dumps(BATCH), orjson.dumps(TRUTH)] * 5
    assert fast(Singles(), records, 0)[2] == fast(Singles(), records, 1)[2] == 30
