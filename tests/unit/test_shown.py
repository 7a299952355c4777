"""What /metrics shows of a detect partition, and when."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.frame import Column, Frame, text_column
from streams.kafka.channel import Header
from streams.kafka.frames import Message
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from streams.shown import APART_S, BUDGET_S, Shown
from streams.telemetry.telemetry import Telemetry


class Clock:
    """Seconds that pass when they are told to, and a little with each look."""

    def __init__(self) -> None:
        self.now, self.look_s = 100.0, 0.0

    def __call__(self) -> float:
        self.now += self.look_s
        return self.now


def orphans(subject: str, n: int) -> Message:
    """A message that counts so many labels without a prediction."""
    columns = {"name": text_column(["orphan_labels"]), "value": Column(np.array([n], np.int64))}
    return Message(Header("rows/0", 0, 1), frames=[Frame(subject, "count", 1, columns)])


def shown_orphans(telemetry: Telemetry, model: str = "m") -> float | None:
    labels = {"model": model, "version": "", "outcome": "orphan"}
    return telemetry.registry.get_sample_value("driftline_labels_total", labels)


@pytest.fixture
def clock():
    return Clock()


def test_a_counter_is_shown_as_the_last_checkpoint_holds_it(clock):
    telemetry, core = Telemetry(), DetectShard(Monitors())
    shown = Shown(core, telemetry, clock)
    core.step(orphans("m@", 3))
    shown.refresh(core)
    assert shown_orphans(telemetry) == 0
    shown.saved(core)
    assert shown_orphans(telemetry) == 3
    core.step(orphans("m@", 4))
    clock.now += APART_S
    shown.refresh(core)
    assert shown_orphans(telemetry) == 3


def test_after_a_restart_counters_go_on_from_the_checkpoint_and_not_from_nothing(clock):
    core = DetectShard(Monitors())
    core.step(orphans("m@", 3))
    again = DetectShard.load(core.dump(), Monitors())
    telemetry = Telemetry()
    shown = Shown(again, telemetry, clock)
    again.step(orphans("m@", 4))
    shown.refresh(again)
    assert shown_orphans(telemetry) == 3


def test_a_subject_is_read_once_in_a_while_and_only_if_it_changed(clock, monkeypatch):
    telemetry, core = Telemetry(), DetectShard(Monitors())
    shown, read = Shown(core, telemetry, clock), []
    monkeypatch.setattr(telemetry, "publish", lambda subject, *_: read.append(subject))
    core.step(orphans("m@", 1))
    shown.refresh(core)
    core.step(orphans("m@", 1))
    clock.now += APART_S / 2
    shown.refresh(core)
    assert read == ["m@"]
    clock.now += APART_S / 2
    shown.refresh(core)
    assert read == ["m@", "m@"]
    clock.now += APART_S
    shown.refresh(core)
    assert read == ["m@", "m@"]


def test_what_one_tick_has_no_time_for_comes_with_the_next_ones(clock, monkeypatch):
    telemetry, core = Telemetry(), DetectShard(Monitors())
    shown, read = Shown(core, telemetry, clock), []
    monkeypatch.setattr(telemetry, "publish", lambda subject, *_: read.append(subject))
    names = [f"m{i}@" for i in range(9)]
    for name in names:
        core.step(orphans(name, 1))
    clock.look_s = BUDGET_S * 0.6
    shown.refresh(core)
    assert 0 < len(read) < len(names)
    for _ in names:
        shown.refresh(core)
    assert sorted(read) == names


def test_a_partition_that_comes_back_is_shown_in_full_again(clock):
    telemetry, core = Telemetry(), DetectShard(Monitors())
    shown = Shown(core, telemetry, clock)
    core.step(orphans("m@", 3))
    shown.refresh(core)
    shown.saved(core)
    shown.forget()
    assert shown_orphans(telemetry) is None
    shown.refresh(core)
    assert shown_orphans(telemetry) == 3
