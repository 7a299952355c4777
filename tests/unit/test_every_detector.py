"""What every detector of the registry promises; a new one inherits these by its line there."""

from __future__ import annotations

import inspect
import pickle
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.api import Change, Detector
from detectors.drift.adwin import Adwin
from detectors.drift.page_hinkley import PageHinkley
from detectors.registry import DETECTORS
from detectors.river import riverstate

every = pytest.mark.parametrize("kind", DETECTORS.values(), ids=DETECTORS)
OWN_STATE = (PageHinkley,)
"""Their state is numbers, not an object of River's."""
every_pickle = pytest.mark.parametrize(
    "kind", [kind for kind in DETECTORS.values() if kind not in OWN_STATE]
)


def stream(seed: int = 1, n: int = 6_000) -> np.ndarray:
    """Uniform in [0, 1], shifting its mean twice."""
    rng = np.random.default_rng(seed)
    values = rng.random(n)
    values[n // 3 : 2 * n // 3] = np.clip(values[n // 3 : 2 * n // 3] + 0.4, 0, 1)
    return values


def alarms(detector: Detector, values: np.ndarray, cuts: list[int] | None = None) -> list[int]:
    """Positions in `values` at which it fired, fed in pieces."""
    edges = [0, *sorted(cuts or []), len(values)]
    return [
        begin + change.index
        for begin, end in pairwise(edges)
        for change in detector.update(values[begin:end])
    ]


def wide(kind: type[Detector]) -> Detector:
    """The detector, set so that the stream above makes it fire."""
    return PageHinkley(scale=0.3, center=0.5) if kind is PageHinkley else kind()


@every
def test_it_is_named_as_in_the_registry_and_cites_its_source(kind: type[Detector]):
    assert DETECTORS[kind.name] is kind
    assert "Source:" in (inspect.getdoc(kind) or "")


@every
def test_it_finds_a_change_and_is_deterministic(kind: type[Detector]):
    first = alarms(wide(kind), stream())
    assert first == alarms(wide(kind), stream())
    assert any(2_000 <= at < 3_000 for at in first), first


@every
@given(cuts=st.lists(st.integers(0, 6_000), max_size=8), restart=st.integers(0, 6_000))
@settings(max_examples=15, deadline=None)
def test_batches_and_snapshots_change_nothing(kind: type[Detector], cuts: list[int], restart: int):
    values = stream(seed=2)
    whole = wide(kind)
    expected = alarms(whole, values)
    detector = wide(kind)
    found = alarms(detector, values[:restart], [c for c in cuts if c < restart])
    dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(detector.dump()))
    detector = kind.load(dumped)
    assert not detector.cold
    rest = [c - restart for c in cuts if c > restart]
    found += [restart + at for at in alarms(detector, values[restart:], rest)]
    assert found == expected
    assert detector.statistic == whole.statistic


@every
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e308])
def test_what_is_not_finite_is_skipped_and_blinds_nothing(kind: type[Detector], poison: float):
    values = stream()
    spoiled = np.insert(values, [0, 10, 1_500, 2_100], poison)
    kept = np.flatnonzero(np.isin(np.arange(len(spoiled)), [0, 11, 1_502, 2_103], invert=True))
    assert np.array_equal(spoiled[kept], values)
    expected = [int(kept[at]) for at in alarms(wide(kind), values)]
    detector = wide(kind)
    assert alarms(detector, spoiled) == expected
    assert np.isfinite(detector.statistic)


@every
@pytest.mark.parametrize("constant", [0.0, 0.3, 1.0])
def test_it_is_silent_on_a_constant(kind: type[Detector], constant: float):
    assert alarms(kind(), np.full(20_000, constant)) == []


@every
def test_its_memory_is_bounded(kind: type[Detector]):
    detector = kind()
    detector.update(np.random.default_rng(3).random(100_000))
    assert len(msgspec.msgpack.encode(detector.dump())) < 8_000


@every
def test_an_empty_column_is_no_news(kind: type[Detector]):
    detector = kind()
    before = detector.dump()
    assert detector.update(np.empty(0)) == []
    assert detector.dump() == before
    assert np.isfinite(detector.statistic)


@every_pickle
def test_another_version_of_river_starts_it_cold(
    kind: type[Detector], monkeypatch: pytest.MonkeyPatch
):
    detector = kind()
    detector.update(stream())
    dumped = detector.dump()
    monkeypatch.setattr(riverstate.river, "__version__", "0.0.0")
    cold = kind.load(dumped)
    assert cold.cold
    assert cold.params == detector.params
    assert alarms(cold, stream()) == alarms(kind(), stream())


def test_bytes_that_do_not_unpickle_are_a_cold_start():
    dumped = riverstate.dump_river(object())
    assert riverstate.load_river(dumped) is not None
    assert riverstate.load_river({**dumped, "pickle": b"not a pickle"}) is None
    assert riverstate.load_river({**dumped, "pickle": pickle.dumps(1)[:-2]}) is None


@given(
    seed=st.integers(0, 10**6),
    delta=st.sampled_from([0.002, 0.05, 0.5]),
    kind=st.sampled_from(["uniform", "binary", "steps"]),
)
@settings(max_examples=40, deadline=None)
def test_adwin_fires_where_rivers_own_update_does(seed: int, delta: float, kind: str):
    from river.drift import ADWIN

    rng = np.random.default_rng(seed)
    values = rng.random(1_500)
    if kind == "binary":
        values = (values < np.repeat(rng.random(5), 300)).astype(float)
    elif kind == "steps":
        values = np.clip(values * 0.2 + np.repeat(rng.random(5), 300), 0, 1)
    theirs, expected = ADWIN(delta=delta), []
    for at, x in enumerate(values.tolist()):
        theirs.update(x)
        if theirs.drift_detected:
            expected.append(Change(at, theirs.width))
    ours = Adwin(delta=delta)
    assert ours.update(values) == expected
    if not theirs.drift_detected:  # ours starts afresh at once, River's at its next value
        assert ours.statistic == theirs.estimation


@pytest.mark.parametrize("mode", ["up", "down", "both"])
def test_page_hinkley_is_rivers_own_bit_by_bit_on_standardised_values(mode: str):
    from river.drift import PageHinkley as River

    values = stream(seed=5) * 40 + 7
    center, scale = float(values.mean()), float(values.std())
    theirs, expected = River(delta=0.1, threshold=40.0, mode=mode), []
    ours = PageHinkley(center=center, scale=scale, threshold=40.0, mode=mode)
    for at, x in enumerate(((values - center) / scale).tolist()):
        theirs.update(x)
        if theirs.drift_detected:
            expected.append(at)
        found = ours.update(values[at : at + 1])
        assert bool(found) == theirs.drift_detected
        up = theirs._sum_increase - theirs._min_increase
        down = theirs._max_decrease - theirs._sum_decrease
        assert ours.statistic == max(up, down, 0.0)
    assert expected
    again = PageHinkley(center=center, scale=scale, threshold=40.0, mode=mode)
    assert alarms(again, values) == expected


def test_page_hinkley_goes_on_under_another_version_of_river(monkeypatch: pytest.MonkeyPatch):
    detector = wide(PageHinkley)
    detector.update(stream()[:2_500])
    dumped = detector.dump()
    monkeypatch.setattr(riverstate.river, "__version__", "0.0.0")
    restored = PageHinkley.load(dumped)
    assert not restored.cold
    assert alarms(restored, stream()[2_500:]) == alarms(detector, stream()[2_500:])


def test_page_hinkley_starts_cold_from_a_dump_with_rivers_object():
    dumped = wide(PageHinkley).dump()
    del dumped["state"]
    cold = PageHinkley.load({**dumped, "river": riverstate.dump_river(object())})
    assert cold.cold
    assert alarms(cold, stream()) == alarms(wide(PageHinkley), stream())


def test_page_hinkley_knows_three_modes():
    with pytest.raises(ValueError, match="sideways"):
        PageHinkley(mode="sideways")


@pytest.mark.parametrize("seed", [1, 7])
def test_kswin_fires_where_rivers_own_does(seed: int):
    from river.drift import KSWIN

    from detectors.drift.kswin import Kswin

    values = np.round(stream(seed=seed, n=2_000), 2)  # with ties
    theirs, expected = KSWIN(seed=seed), []
    for at, x in enumerate(values.tolist()):
        theirs.update(x)
        if theirs.drift_detected:
            expected.append(at)
    assert expected
    ours = Kswin(seed=seed)
    assert alarms(ours, values) == expected
    assert ours.statistic == theirs.p_value


@pytest.mark.parametrize("kind", ["binary", "tied", "steps"])
@pytest.mark.parametrize("sizes", [(0.05, 60, 20), (0.0001, 200, 5)])
def test_kswin_fires_where_rivers_own_does_at_other_settings(
    kind: str, sizes: tuple[float, int, int]
):
    from river.drift import KSWIN

    from detectors.drift.kswin import Kswin

    alpha, window_size, stat_size = sizes
    rng = np.random.default_rng(9)
    values = rng.random(1_500)
    if kind == "binary":
        values = (values < np.repeat(rng.random(5), 300)).astype(float)
    elif kind == "tied":
        values = np.round(values * 4)
    else:
        values = values * 0.2 + np.repeat(rng.random(5), 300)
    theirs = KSWIN(alpha=alpha, window_size=window_size, stat_size=stat_size, seed=1)
    expected = []
    for at, x in enumerate(values.tolist()):
        theirs.update(x)
        if theirs.drift_detected:
            expected.append(at)
    assert expected or stat_size == 5  # five against five can never be that unlikely
    ours = Kswin(alpha=alpha, window_size=window_size, stat_size=stat_size)
    assert alarms(ours, values) == expected


@pytest.mark.parametrize("name", ["ddm", "eddm", "hddm_a", "hddm_w", "fhddm"])
def test_a_detector_of_errors_fires_when_errors_rise_and_not_when_they_fall(name: str):
    rng = np.random.default_rng(4)
    rising = (rng.random(4_000) < np.repeat([0.1, 0.6], 2_000)).astype(float)
    falling = (rng.random(4_000) < np.repeat([0.6, 0.1], 2_000)).astype(float)
    assert any(2_000 <= at < 2_300 for at in alarms(DETECTORS[name](), rising))
    assert not any(at >= 2_000 for at in alarms(DETECTORS[name](), falling))
