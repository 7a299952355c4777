"""The watch over one signal: suspicion, drift, recovery, and the change point."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.error_signal import HELD, ErrorSignal
from detectors.features import Features
from detectors.feed import TICKS, RankFeed, to_ticks
from detectors.ranked import MEMORY, Ranked
from detectors.reference.profile import ErrorReference
from detectors.reference_builder import build
from detectors.ring import Ring
from detectors.signals import observe
from detectors.spec import MonitorSpec
from detectors.watch import Verdict, Watch, change_point, mean_and_error
from tests.monitored import SUBJECT, classifier, frames

REFERENCE = ErrorReference(n=5_000, mean=0.1, sd=0.3)


def errors(*stretches: tuple[int, float], seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([(rng.random(n) < rate).astype(float) for n, rate in stretches])


def verdicts(values: np.ndarray, fired: list[int], step: int | None = None) -> list[Verdict]:
    ring, watch, found = Ring(HELD), Watch(), []
    step = step or len(values)
    for begin in range(0, len(values), step):
        part = values[begin : begin + step]
        history = ring.extend({"error": part})
        signal = ErrorSignal(history, REFERENCE)
        here = [row for row in fired if begin <= row < begin + len(part)]
        found += watch.follow(signal, begin, begin + len(part), here)
    return found


@pytest.mark.parametrize("step", [None, 1, 7, 1_000])
def test_a_change_for_the_worse_is_stated_and_so_is_its_end(step: int | None):
    values = errors((3_000, 0.1), (2_000, 0.4), (3_000, 0.1))
    changed, recovered = verdicts(values, [3_100, 5_100], step)
    assert (changed.state, changed.row) == ("changed", 3_100)
    assert 2_950 <= changed.split <= 3_050
    assert recovered.state == "recovered"
    assert 5_900 <= recovered.row < 6_200  # most of the last 1,000 lie after the repair


def test_a_change_for_the_better_is_no_drift():
    assert verdicts(errors((3_000, 0.1), (3_000, 0.02)), [3_100]) == []


def test_a_detector_that_cries_wolf_is_not_believed():
    assert verdicts(errors((6_000, 0.1)), [500, 2_000, 4_000]) == []


def test_a_change_too_small_at_first_is_stated_once_it_is_sure():
    values = errors((3_000, 0.1), (2_000, 0.14))
    (changed,) = verdicts(values, [3_040])
    assert 3_040 < changed.row < 4_040
    assert (changed.row + 1) % 100 == 0


def test_a_drift_does_not_end_while_old_values_still_weigh():
    values = errors((3_000, 0.1), (900, 0.5))
    assert [v.state for v in verdicts(values, [3_050])] == ["changed"]


def test_values_reach_back_by_a_fixed_number_of_rows():
    """Whatever else a large step still holds, or cuts would show."""
    history = Ring(HELD).extend({"error": errors((5_000, 0.1))})
    values, rows = ErrorSignal(history, REFERENCE).values(0, 4_500)
    assert (len(values), rows[0], rows[-1]) == (HELD, 2_500, 4_499)


def test_ranks_reach_back_by_a_fixed_number_of_rows():
    frame = frames([r for r in classifier(1, 3_000, hostile=False) if r.kind == "prediction"])[0]
    spec = MonitorSpec(model="m")
    features = Features(["amount"], build(SUBJECT, [frame], spec), spec)
    (_, feature), codes = features.watched[0], observe(frame, features.measures).codes
    history = Ring(MEMORY).extend({"codes": codes, "ts": frame.ints("ts")})
    values, rows = Ranked(history, feature.ranking).values(0, 2_500)
    assert (len(values), rows[0], rows[-1]) == (MEMORY, 500, 2_499)


def test_a_watch_reads_back_as_it_was():
    watch = Watch(5, 7, None)
    assert Watch.load(watch.dump()) == watch


@pytest.mark.parametrize("at", [100, 500, 900])
def test_the_change_point_is_where_the_mean_changed(at: int):
    rng = np.random.default_rng(at)
    values = rng.normal(size=1_000)
    values[at:] += 2
    assert abs(change_point(values) - at) <= 5


def test_of_few_values_all_are_new():
    assert change_point(np.arange(10.0)) == 0


def test_serial_correlation_widens_the_error():
    mean, error = mean_and_error(np.array([0.0, 1.0] * 50), 1.0)
    assert mean == 0.5
    assert error == pytest.approx(0.05, rel=0.01)
    assert mean_and_error(np.array([0.0, 1.0] * 50), 4.0)[1] == pytest.approx(2 * error)


@pytest.mark.parametrize("step", [1, 3, 64, 5_000])
def test_an_autocorrelated_signal_is_fed_in_blocks_however_it_comes(step: int):
    rng = np.random.default_rng(3)
    ticks = to_ticks(np.clip(np.concatenate([rng.random(2_500), 0.5 + rng.random(2_500)]), 0, 1))
    whole, parts = RankFeed(6.3), RankFeed(6.3)
    assert whole.size == 7
    expected = whole.update(ticks)
    found = []
    for begin in range(0, len(ticks), step):
        found += [begin + at for at in parts.update(ticks[begin : begin + step])]
        parts = RankFeed.load(parts.dump())
    assert found == expected
    assert expected
    assert all((at + 1) % 7 == 0 for at in expected)
    assert parts.dump() == whole.dump()


def test_independent_values_are_fed_one_by_one():
    assert RankFeed(1.8).size == 1
    assert RankFeed(2.1).size == 3
    assert to_ticks(np.array([0.0, 0.5, 1.0, np.nan])).tolist() == [0, TICKS // 2, TICKS, 0]
