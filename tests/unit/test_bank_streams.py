"""The bank on streams of codes: what opens, what does not, what closes, and from when."""

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.bank import Bank, Rate, Rates, Turn
from detectors.bank.evidence import Evidence
from detectors.bank.exact import STEP
from detectors.reference.profile import CHANGED, MISSING
from tests.bank_signals import categories, numbers

LIMIT = 12.0


def coded(shift: float, n: int, seed: int, missing: float = 0.0) -> np.ndarray:
    """Codes of a signal whose 20 bins have equal mass, and whose rank moved by `shift`."""
    rng = np.random.default_rng(seed)
    codes = (np.clip(rng.random(n) + shift, 0, 0.999) * 20).astype(np.uint8) + 1
    codes[rng.random(n) < missing] = MISSING
    return codes


def run(bank: Bank, codes: np.ndarray, frame: int = 1_000) -> list[Turn]:
    turns = []
    for start in range(0, codes.shape[1], frame):
        stop = min(start + frame, codes.shape[1])
        turns += bank.step(codes[:, max(start - bank.held, 0) : stop], stop - start)
    return turns


def bank_of(signals, **options) -> Bank:
    return Bank(signals, {signal.name: LIMIT for signal in signals}, **options)


def test_a_shift_opens_once_and_is_dated_to_where_it_began():
    codes = np.stack([np.append(coded(0, 6_000, 1), coded(0.2, 6_000, 2)), coded(0, 12_000, 3)])
    [turn] = run(bank_of([numbers("a", 0), numbers("b", 1)]), codes)
    assert (turn.signal, turn.state, turn.alternative) == ("a", "opened", "higher")
    assert 6_000 <= turn.row < 6_300
    assert abs(turn.since - 6_000) <= 160
    assert turn.log_evidence > turn.log_threshold == LIMIT
    assert turn.effect > 0.02


def test_wide_ticks_find_it_at_their_own_ends():
    codes = np.append(coded(0, 6_000, 1), coded(0.2, 2_000, 2))[None]
    [turn] = run(bank_of([numbers()], tick=128), codes)
    assert (turn.row + 1) % 128 == 0
    assert 6_000 <= turn.row < 6_400


def test_what_was_held_before_the_bank_began_is_not_judged():
    codes = np.append(coded(0.9, 1_500, 1), coded(0.2, 2_000, 2))[None]
    late, alone = bank_of([numbers()]), bank_of([numbers()])
    assert late.step(codes, 2_000) == alone.step(codes[:, 1_500:], 2_000) != []


def test_an_episode_closes_after_three_windows_as_before_and_may_open_again():
    parts = [coded(0, 3_000, 1), coded(0.2, 4_000, 2), coded(0, 12_000, 3), coded(0.2, 3_000, 4)]
    bank = bank_of([numbers()])
    turns = run(bank, np.concatenate(parts)[None])
    assert [turn.state for turn in turns] == ["opened", "closed", "opened"]
    opened, closed, again = turns
    assert opened.row < 3_300
    assert 7_000 + 5_000 < closed.row <= 7_000 + 8_000
    assert 19_000 <= again.row < 19_300
    assert bank.open_signals() == ["x"]


def test_missing_values_are_a_label_and_a_burst_of_them_is_news():
    codes = np.append(coded(0, 6_000, 1, 0.01), coded(0, 6_000, 2, 0.3))[None]
    turns = run(bank_of([numbers(missing=50)]), codes)
    assert [turn.state for turn in turns] == ["opened"]
    assert turns[0].alternative == "more missing"


def test_another_type_is_news_as_well():
    codes = coded(0, 8_000, 1)
    codes[4_000:] = CHANGED
    assert [turn.state for turn in run(bank_of([numbers()]), codes[None])] == ["opened"]


def test_a_category_never_seen_is_found_and_named():
    rng = np.random.default_rng(3)
    codes = rng.choice(2, 6_000, p=[0.6, 0.4]).astype(np.uint8)
    codes[3_000:][rng.random(3_000) < 0.1] = 3  # two values, then the pool, then new ones
    turns = run(bank_of([categories({"a": 6_000, "b": 4_000})]), codes[None])
    assert [turn.state for turn in turns] == ["opened"]
    assert turns[0].alternative == "more new values"


def test_a_change_too_small_to_matter_is_told_once_and_opens_nothing():
    codes = coded(0.04, 40_000, 1)[None]
    states = [turn.state for turn in run(bank_of([numbers(n=100_000)], gate=0.2), codes)]
    assert states == ["immaterial"]


def test_what_was_immaterial_opens_when_it_grows():
    codes = np.append(coded(0.04, 20_000, 1), coded(0.4, 4_000, 2))[None]
    turns = run(bank_of([numbers(n=100_000)], gate=0.2), codes)
    assert [turn.state for turn in turns] == ["immaterial", "opened"]
    assert 20_000 <= turns[1].row < 21_000


def test_only_a_rise_is_news_where_a_fall_is_good():
    up = numbers(side="up")
    assert run(bank_of([up]), coded(-0.3, 8_000, 1)[None]) == []
    assert [turn.state for turn in run(bank_of([up]), coded(0.3, 8_000, 1)[None])] == ["opened"]


def test_closing_by_hand_starts_the_signal_anew():
    bank = bank_of([numbers()])
    run(bank, coded(0.3, 2_000, 1)[None])
    assert bank.open_signals() == ["x"]
    bank.close("x")
    assert bank.open_signals() == []
    assert bank.evidence()["x"][0] == 0.0


def test_suspected_comes_before_alarmed():
    bank = bank_of([numbers(), numbers("y", 1)])
    codes = np.stack([coded(0.15, 3_000, 1), coded(0, 3_000, 2)])
    seen = []
    for start in range(0, 3_000, 32):
        stop = start + 32
        bank.step(codes[:, max(start - bank.held, 0) : stop], codes[:, start:stop].shape[1])
        seen.append((bank.suspected(), bank.open_signals()))
    first_suspected = next(at for at, (near, _) in enumerate(seen) if near)
    first_open = next(at for at, (_, opened) in enumerate(seen) if opened)
    assert first_suspected <= first_open
    assert all("y" not in near for near, _ in seen)


def test_too_little_history_is_an_error_and_not_another_result():
    bank = bank_of([numbers()])
    codes = coded(0, 5_000, 1)[None]
    bank.step(codes[:, :3_000], 3_000)
    with pytest.raises(ValueError, match="rows held"):
        bank.step(codes[:, 2_900:3_100], 100)


def test_a_signal_whose_reference_changed_starts_anew_and_the_others_go_on():
    old = bank_of([numbers("a", 0), numbers("b", 1)])
    run(old, np.stack([coded(0.3, 2_000, 1), coded(0.3, 2_000, 2)]))
    new = bank_of([numbers("a", 0), numbers("b", 1, n=6_000), categories({"k": 900}, "c", 2)])
    new.restore(old.dump())
    assert new.rows == old.rows
    assert new.open_signals() == ["a"]


def test_two_hundred_signals_cost_little_memory():
    bank = bank_of([numbers(f"s{at}", at, n=600) for at in range(200)])
    assert bank.nbytes < 200 * 640


@pytest.mark.parametrize("cuts", [(40,), (13, 27), (1, 2, 37)])
@pytest.mark.parametrize("signals", [7, 30])
@pytest.mark.parametrize("capped", [np.array([2, 5]), np.zeros(0, np.intp)])
def test_ticks_taken_together_are_bit_by_bit_those_one_by_one(
    cuts: tuple[int, ...], signals: int, capped: NDArray[np.intp]
):
    rng = np.random.default_rng(1)
    prior = np.full((signals, 5), 0.2)
    steps = np.round(rng.normal(-0.2, 1, (40, signals, 5)) / STEP) * STEP
    one, many = (Evidence(prior, np.full(signals, 3.5)) for _ in range(2))
    told_one, told_many, done = [], [], 0
    for tick in range(40):
        over = one.advance(steps[tick], tick + 1)
        one.cap(capped)
        told_one += [(tick, at) for at in over.tolist() if at not in capped]
    for end in np.cumsum(cuts).tolist():
        while done < end:
            done += many.glide(steps[done:end], done, capped)
            if done < end:
                over = many.advance(steps[done], done + 1)
                many.cap(capped)
                told_many += [(done, at) for at in over.tolist() if at not in capped]
                done += 1
    assert told_one == told_many != []
    assert (one.logs == many.logs).all()
    assert (one.quiet == many.quiet).all()


def test_few_categories_share_the_block_of_many_numbers_and_tell_the_same():
    few, many = categories({"k": 900, "l": 400}, "c", 4), [numbers(f"n{i}", i) for i in range(4)]
    apart, together = bank_of([few]), bank_of([*many, few])
    assert len(together.blocks) == 1
    codes = np.stack([*(coded(0.3, 4_000, seed) for seed in range(4)), np.repeat([0, 1], 2_000)])
    alone = apart.step(codes.astype(np.uint8), 4_000)
    turns = [t for t in together.step(codes.astype(np.uint8), 4_000) if t.signal == "c"]
    assert [(t.state, t.row, t.since) for t in turns] == [(t.state, t.row, t.since) for t in alone]
    assert alone[0].state == "opened"


def test_an_error_rate_opens_on_a_rise_closes_on_its_return_and_ignores_a_fall():
    rng = np.random.default_rng(4)
    p = np.repeat([0.1, 0.3, 0.1, 0.02, 0.3], [4_000, 3_000, 12_000, 8_000, 1_000])
    rates = Rates([Rate("error", 500, 5_000)], {"error": LIMIT})
    turns = rates.step((rng.random(len(p)) < p)[None])
    assert [turn.state for turn in turns] == ["opened", "closed", "opened"]
    assert 4_000 <= turns[0].row < 4_200
    assert abs(turns[0].since - 4_000) <= 96
    assert turns[0].effect == pytest.approx(0.3, abs=0.1)
    assert 27_000 <= turns[2].row < 27_200


def test_a_rate_whose_fall_matters_opens_on_it():
    bits = np.random.default_rng(4).random(8_000) < np.repeat([0.5, 0.3], 4_000)
    rates = Rates([Rate("coverage", 2_500, 5_000, fall=True)], {"coverage": LIMIT})
    [turn] = rates.step(bits[None])
    assert (turn.state, turn.alternative) == ("opened", "lower")


def test_a_rate_never_seen_and_one_always_seen_are_sound():
    never, always = Rate("never", 0, 5_000, fall=True), Rate("always", 5_000, 5_000, fall=True)
    rates = Rates([never, always], {"never": LIMIT, "always": LIMIT})
    assert rates.step(np.array([[False], [True]]).repeat(5_000, axis=1)) == []
    turns = rates.step(np.array([[True], [False]]).repeat(64, axis=1))
    assert sorted(turn.signal for turn in turns) == ["always", "never"]


def test_a_rate_needs_the_reference_error_and_the_tolerance_whichever_is_more():
    assert Rate("e", 5_000, 100_000).limits == pytest.approx((0.045, 0.055), abs=1e-4)
    low, high = Rate("e", 50, 1_000).limits
    assert high - 0.0505 == pytest.approx(4.5 * (0.05 * 0.95 / 1_000) ** 0.5, rel=0.02)
    assert Rate("e", 1, 1_000_000).limits[1] == pytest.approx(0.002, abs=1e-4)
    assert low < 0.05
