"""Arrays go through a snapshot bit by bit, in few bytes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.arrays import dump_array, load_array
from detectors.drift.adwin import Adwin
from detectors.ring import Ring
from detectors.river import adwin_state


def through(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The array after a snapshot, and how long that was."""
    packed = msgspec.msgpack.encode(dump_array(array))
    return load_array(msgspec.msgpack.decode(packed)), len(packed)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


DTYPES = st.sampled_from(["?", "u1", "i1", "u2", "i4", "i8", "u8", "f4", "f8"])


@given(
    array=DTYPES.flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=2, max_side=99))
    )
)
@settings(max_examples=150, deadline=None)
def test_any_array_comes_back_with_the_same_bits(array: np.ndarray):
    restored, _ = through(array)
    assert same(restored, array)
    assert restored.flags.writeable


@given(seed=st.integers(0, 10**6), values=st.integers(1, 300), n=st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_few_values_come_back_whatever_they_are(seed: int, values: int, n: int):
    rng = np.random.default_rng(seed)
    few = np.concatenate([[np.nan, -0.0, 0.0, np.inf], rng.standard_normal(values)])
    for array in (rng.choice(few, n), rng.integers(-(2**63), 2**63, values)[:1].repeat(n)):
        restored, _ = through(array)
        assert same(restored, array)


@pytest.mark.parametrize(
    ("array", "most"),
    [
        (np.arange(2_000) % 22 + 200, 1_500),
        (np.arange(2_000, dtype=np.int64) * 1_000 + 1_790_000_000_000, 8_100),
        (np.arange(2_000) % 2.0, 400),
        (np.full(1_000, -1), 100),
        (np.arange(1_000) * 2.0**-24, 2_100),
        (np.zeros(1_000, bool), 100),
    ],
    ids=["codes", "times", "0/1 errors", "constant", "evidence", "flags"],
)
def test_what_a_monitor_keeps_is_stored_in_few_bytes(array: np.ndarray, most: int):
    restored, length = through(array)
    assert same(restored, array)
    assert length < most


def test_a_ring_of_signals_comes_back_and_has_no_rows_where_there_are_no_signals():
    for signals in (0, 3):
        ring = Ring(50)
        codes = np.random.default_rng(1).integers(0, 24, (signals, 70)).astype(np.uint8)
        ring.extend({"codes": codes, "ts": np.arange(70)})
        restored = Ring.load(msgspec.msgpack.decode(msgspec.msgpack.encode(ring.dump())))
        assert restored.total == 70
        for name, column in ring.columns.items():
            assert same(restored.columns[name], column)


@given(sizes=st.lists(st.integers(0, 120), min_size=1, max_size=40), looks=st.integers(0, 2**40))
def test_rows_that_nobody_looks_at_are_held_as_if_somebody_had(sizes: list[int], looks: int):
    plain, lazy, at = Ring(50), Ring(50), 0
    for step, n in enumerate([1, *sizes]):
        columns = {"ts": np.arange(at, at + n), "codes": np.arange(2 * n).reshape(2, n)}
        at += n
        seen = plain.extend(columns)
        if looks >> step & 1:
            found = lazy.extend(columns)
            assert found.first == seen.first
            assert all(same(found.columns[name], seen.columns[name]) for name in columns)
        else:
            lazy.add(columns)
    assert lazy.dump() == plain.dump()
    assert len(plain.columns["ts"]) == min(at, 50)


@pytest.mark.parametrize("n", [0, 1, 6, 7, 40, 5_000])
def test_the_state_of_adwin_is_packed_without_loss_in_half_the_bytes_or_so(n: int):
    detector = Adwin()
    detector.update(np.random.default_rng(2).random(n))
    state, empty = detector._core.__getstate__(), Adwin()._core.__getstate__()
    packed = adwin_state.pack(state)
    assert adwin_state.unpack(packed, empty) == state
    assert len(packed) <= 0.6 * len(state)
    assert "state" in detector.dump()


@pytest.mark.parametrize("spoil", ["length", "settings", "place"])
def test_an_adwin_of_another_layout_is_kept_as_rivers_pickle(
    spoil: str, monkeypatch: pytest.MonkeyPatch
):
    detector = Adwin()
    detector.update(np.random.default_rng(2).random(500))
    state = bytearray(detector._core.__getstate__())
    empty = Adwin()._core.__getstate__()
    if spoil == "length":
        state.append(0)
    else:
        state[{"settings": 10, "place": 92 + 24 + 5 * 8 + 3}[spoil]] ^= 1
    assert adwin_state.unpack(adwin_state.pack(bytes(state)), empty) != bytes(state)
    monkeypatch.setattr("detectors.drift.adwin.pack", lambda state: b"")
    dumped = detector.dump()
    assert "state" not in dumped
    restored = Adwin.load(dumped)
    assert not restored.cold
    assert restored._core.__getstate__() == detector._core.__getstate__()
