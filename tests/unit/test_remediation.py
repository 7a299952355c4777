"""Remediation inside detect: from a drifting stream to an approved action, and into the trail."""

from __future__ import annotations

import msgspec
import pytest

from detectors.remedy_spec import Remedy
from detectors.spec import MonitorSpec
from driftline.actions import Action, decode_action
from driftline.rules import iso_ms, rfc3339
from streams.monitors.load import Monitors
from streams.pipeline.detect_shard import DetectShard
from tests.detect_runs import Detect, command
from tests.monitored import classifier

ROWS = classifier(3, 6_000, hostile=False)
POLICY = Remedy(
    name="retrain", action="retrain", mode="approve", severities=(), verify_within_ms=60_000
)


def spec(**given: object) -> MonitorSpec:
    policy = msgspec.structs.replace(POLICY, **given)
    return MonitorSpec(model="m", warmup=1_000, remediation=(policy,))


def run(of: MonitorSpec, **given: object) -> list[Action]:
    return Detect.of(of).run(ROWS, **given).actions  # type: ignore[arg-type]


def arrival_of(action: Action) -> int:
    at = iso_ms(action.at)
    assert at is not None
    return at


def test_an_alert_asks_a_person_whose_yes_makes_it_due_once_and_then_it_is_looked_at() -> None:
    asked = next(a for a in run(spec()) if a.status == "waiting")
    when = arrival_of(asked) + 5_000
    yes = [(when, command("approve", when, action=asked.id))]
    life = [a for a in run(spec(), commands=yes) if a.id == asked.id]
    assert [a.status for a in life[:2]] == ["waiting", "due"]
    assert (life[1].who, life[1].at) == ("ana", rfc3339(when))
    assert life[2].status in ("helped", "did_not_help")
    assert [a.revision for a in life] == [1, 2, 4], "3 is the executor's"
    assert decode_action(msgspec.json.encode(life[1])) == life[1]


def test_cutting_messages_elsewhere_and_restarts_change_no_action() -> None:
    asked = next(a for a in run(spec()) if a.status == "waiting")
    when = arrival_of(asked) + 5_000
    yes = [(when, command("approve", when, action=asked.id))]
    whole = run(spec(), commands=yes)
    cuts = [when - 100_000, when, when + 1, when + 30_000, when + 61_000]
    assert run(spec(), commands=yes, cuts=cuts) == whole
    detect = Detect.of(spec())
    for begin, end in zip([0, *cuts], [*cuts, ROWS[-1].arrival + 1], strict=True):
        dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(detect.shard.dump()))
        detect.shard = DetectShard.load(dumped, detect.shard.monitors)
        rows = [row for row in ROWS if begin <= row.arrival < end]
        detect.step(rows, [f for at, f in yes if begin <= at < end], end)
    assert detect.actions == whole


def test_a_dry_run_says_what_it_would_do_and_nothing_is_ever_due() -> None:
    statuses = {a.status for a in run(spec(mode="dry-run"))}
    assert "would_run" in statuses
    assert statuses <= {"would_run", "refused"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_changed_configuration_is_said_with_both_hashes(cut: bool) -> None:
    detect = Detect.of(spec())
    half = len(ROWS) // 2
    detect.step(ROWS[:half], [], ROWS[half].arrival)
    other = spec(mode="dry-run")
    detect.shard.configure(Monitors({"m": other}))
    if cut:
        detect.step([], [], ROWS[half].arrival)
    detect.step(ROWS[half:], [], ROWS[-1].arrival + 1)
    said = [a for a in detect.actions if a.action == "configure"]
    assert [a.why for a in said] == ["changed: remediation"]
    assert said[0].config_hash != said[0].params["before"]
