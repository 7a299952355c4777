"""Whatever the batches, restarts and bad values, the bank says the same and goes on seeing."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.bank import Bank, Rate, Rates
from detectors.reference.profile import CHANGED, MISSING
from tests.bank_signals import categories, numbers

SIGNALS = [
    numbers("a", 0),
    numbers("up", 1, side="up"),
    categories({"x": 600, "y": 300, "z": 100}, "c", 2),
    categories({f"v{at}": 500 for at in range(40)}, "many", 3),
]
LIMITS = {signal.name: 7.0 for signal in SIGNALS}
N = 11_000


def stream(seed: int) -> np.ndarray:
    """Codes with quiet, a shift, a burst of missing values, and the return to quiet."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(1, 21, (4, N)).astype(np.uint8)
    whole[2] = rng.choice(3, N, p=[0.6, 0.3, 0.1])
    whole[3] = rng.choice(31, N, p=[1 / 40] * 30 + [1 / 4])
    whole[0, 1_500:3_000] = rng.integers(8, 22, 1_500)
    whole[1, 2_000:2_500] = 20
    whole[2, 1_800:2_600] = 4
    whole[3, 2_000:2_400] = CHANGED
    return whole


CODES = [stream(seed) for seed in range(3)]
BITS = np.random.default_rng(9).random((3, N)) < np.where(np.arange(N) // 1_500 == 1, 0.4, 0.1)

frames = st.lists(
    st.sampled_from([1, 5, 31, 32, 33, 200, 256, 999, 4_096]), min_size=1, max_size=12
)


def fresh() -> Bank:
    return Bank(SIGNALS, LIMITS)


def through(dumped):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(dumped))


def feed(bank: Bank, codes: np.ndarray, sizes: list[int], *, restart_after: int = -1):
    turns, start = [], 0
    while start < N:
        size = min(sizes.pop(0) if len(sizes) > 1 else sizes[0], N - start)
        stop = start + size
        turns += bank.step(codes[:, max(start - bank.held, 0) : stop], size)
        if start <= restart_after < stop:
            old, bank = bank, fresh()
            bank.restore(through(old.dump()))
        start = stop
    return turns, through(bank.dump())


WHOLE = [feed(fresh(), codes, [N]) for codes in CODES]


def test_the_streams_have_news_of_every_kind_to_get_wrong():
    states = {(turn.signal, turn.state) for turns, _ in WHOLE for turn in turns}
    assert {name for name, state in states if state == "opened"} == {"a", "up", "c", "many"}
    assert ("a", "closed") in states


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2), frames, st.integers(0, N - 1))
def test_batches_and_restarts_change_no_bit(at, sizes, restart):
    # The last size repeats; a stream of single rows would only be slow.
    sizes = [*sizes, 700]
    assert feed(fresh(), CODES[at], sizes, restart_after=restart) == WHOLE[at]


@settings(max_examples=25, deadline=None)
@given(frames, st.integers(0, N - 1))
def test_batches_and_restarts_change_no_bit_of_a_rate(sizes, restart):
    def bank() -> Rates:
        return Rates(
            [Rate(name, 500, 5_000, fall=name == "b") for name in "abc"], dict.fromkeys("abc", 7.0)
        )

    whole = bank()
    expected = whole.step(BITS)
    assert {turn.state for turn in expected} >= {"opened"}
    cut, start, turns = bank(), 0, []
    sizes = [*sizes, 700]
    while start < N:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        stop = min(start + size, N)
        turns += cut.step(BITS[:, start:stop])
        if start <= restart < stop:
            dumped, cut = through(cut.dump()), bank()
            cut.restore(dumped)
        start = stop
    assert turns == expected
    assert cut.dump() == whole.dump()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3_999), st.integers(0, 255)), max_size=30),
    st.integers(0, 3),
)
def test_no_code_blinds_a_signal(spoilt, row):
    """Missing, changed, never used: after any of them a later change is found as soon as ever."""
    codes = CODES[0][:, :6_000].copy()
    for at, code in spoilt:
        codes[row, at] = code
    codes[row, 4_000:] = 20 if row == 1 else MISSING  # only a rise is news to row 1
    bank = fresh()
    for start in range(0, 6_000, 500):
        bank.step(codes[:, max(start - bank.held, 0) : start + 500], 500)
    levels = bank.evidence()
    assert all(np.isfinite(level) for level, _ in levels.values())
    assert SIGNALS[row].name in bank.open_signals()
