"""The worker's own alerts: what must last how long, what ends them, and who goes on with them."""

from __future__ import annotations

from collections import Counter

import pytest

from driftline.alerts import Alert, decode_alert, encode, fingerprint
from streams.telemetry.vitals import PartitionVitals, Tally, Vitals
from streams.watchdog.alerts import PipelineAlerts
from streams.watchdog.rules import Bad, Examiner, Key, rules

WALL_MS = 1_790_000_000_000
ROWS = "driftline-rows/0"
PATIENCE_S = 45 + 60 + 2 * 30


class Watched:
    """One worker's examiner and alerts, a second at a time."""

    def __init__(self, *, wall_clock: bool = False) -> None:
        self.examiner = Examiner(30.0, wall_clock=wall_clock)
        self.alerts = PipelineAlerts(rules(45.0, 60.0, 30.0))
        self.tally = Tally()
        self.now = 0.0

    @property
    def wall_ms(self) -> int:
        return WALL_MS + round(self.now * 1000)

    def second(self, *partitions: PartitionVitals) -> list[Alert]:
        vitals = Vitals(partitions, self.tally.counts.copy(), self.wall_ms)
        said = self.alerts.step(self.examiner.examine(vitals, self.now), self.now, self.wall_ms)
        self.now += 1
        return said

    def seconds(self, n: int, *partitions: PartitionVitals) -> list[Alert]:
        return [alert for _ in range(n) for alert in self.second(*partitions)]


def join(**readings: object) -> PartitionVitals:
    return PartitionVitals(stage="join", log=ROWS, **readings)  # type: ignore[arg-type]


def test_a_gap_is_an_alert_once_no_rebalance_can_explain_it_any_more():
    worker = Watched()
    assert worker.seconds(PATIENCE_S, join(in_gap=2)) == []
    [opened] = worker.second(join(in_gap=2))
    assert (opened.model, opened.version, opened.kind) == ("_driftline", "join", "pipeline")
    assert (opened.signal, opened.segment, opened.severity) == ("gap", {"where": ROWS}, "critical")
    assert opened.fingerprint == fingerprint(
        "_driftline", "join", "pipeline", "gap", {"where": ROWS}
    )
    assert opened.order == (WALL_MS, 1)  # it began with the gap, not with the alert
    assert opened.statistic.value == 2
    assert decode_alert(encode(opened)) == opened


def test_a_gap_that_closes_for_a_moment_begins_anew():
    worker = Watched()
    assert worker.seconds(PATIENCE_S - 1, join(in_gap=1)) == []
    assert worker.second(join()) == []
    assert worker.seconds(PATIENCE_S, join(in_gap=1)) == []


def test_an_alert_is_said_once_and_ends_only_after_it_has_been_good_for_a_while():
    worker = Watched()
    [opened] = worker.seconds(PATIENCE_S + 60, join(in_gap=1))
    assert worker.seconds(9, join()) == []
    assert worker.second(join(in_gap=1)) == []  # not over yet: no new incident, no new revision
    [over] = worker.seconds(60, join())
    assert (over.status, over.reason, over.revision) == ("resolved", "recovered", 2)
    assert over.started_at == opened.started_at
    assert over.id != opened.id
    assert over.ended_at is not None


@pytest.mark.parametrize(
    ("what", "times", "signal"),
    [
        ("lost", 1, "lost"),
        ("forced", 1, "forced"),
        ("pending_full", 1, "pending_full"),
        ("restarts", 5, "restarts"),
        ("config_mismatch", 3, "config_mismatch"),
        ("audit", 3, "audit"),
    ],
)
def test_what_is_counted_is_an_alert_from_so_many_times_on(what, times, signal):
    worker = Watched()
    for _ in range(times - 1):
        worker.tally.add(what, "join", ROWS)
        assert worker.second() == []
    worker.tally.add(what, "join", ROWS)
    [opened] = worker.second()
    assert (opened.signal, opened.statistic.value) == (signal, times)
    [over] = worker.seconds(3_700)
    assert over.status == "resolved"


def test_rejected_rows_are_an_alert_by_their_share_of_a_topic():
    worker = Watched()
    worker.tally.add("rejected", "ingest", "labels", 99)
    assert worker.second() == []  # all of them, but too few to say so
    worker.tally.add("rows", "ingest", "labels", 900)
    assert worker.second() == []
    worker.tally.add("rejected", "ingest", "labels", 1)
    [opened] = worker.second()
    assert opened.segment == {"where": "labels"}
    assert opened.statistic.value == pytest.approx(0.1)
    worker.tally.add("rows", "ingest", "labels", 2_000)
    [over] = worker.seconds(70)
    assert over.status == "resolved"


def test_a_clock_that_one_silent_source_holds_is_named_with_it():
    held = join(clock=5, slowest="labels/3", behind_ms=300_000)
    worker = Watched()
    worker.second(held)
    assert worker.seconds(300, held) == []
    [opened] = worker.second(held)
    assert "labels/3" in opened.summary
    moving = Watched()
    for second in range(700):
        slow = join(clock=second, slowest="labels/3", behind_ms=900_000)
        assert moving.second(slow) == []  # far behind, but it comes nearer


def test_a_source_never_heard_from_holds_the_clock_and_has_no_figure():
    unheard = join(slowest="labels/3")
    [opened] = Watched().seconds(400, unheard)
    assert opened.statistic.value is None
    assert "never" in opened.summary or "not heard" in opened.summary
    assert decode_alert(encode(opened)) == opened


def test_only_where_clocks_go_with_wall_time_is_standing_still_with_all_others_a_fault():
    still = join(clock=WALL_MS, slowest="labels/3", behind_ms=0)
    assert Watched(wall_clock=False).seconds(1_000, still) == []
    [opened] = Watched(wall_clock=True).seconds(1_000, still)
    assert opened.signal == "clock_held"


def test_lag_is_an_alert_while_it_grows_not_while_it_falls():
    growing, falling = Watched(), Watched()
    said = [a for s in range(700) for a in growing.second(join(lag=100 * s))]
    assert [a.signal for a in said] == ["lag"]
    assert not [a for s in range(700) for a in falling.second(join(lag=100_000 - 100 * s))]


def test_an_overdue_checkpoint_is_an_alert():
    worker = Watched()
    assert worker.seconds(10, join(overdue_s=119.0)) == []
    [opened] = worker.second(join(overdue_s=120.0))
    assert opened.signal == "checkpoint"


def test_a_destination_that_gave_up_is_an_alert_until_it_takes_something_again():
    worker = Watched()
    worker.tally.add("delivered", "notify", "oncall")
    worker.tally.add("undelivered", "notify", "oncall")
    [opened] = worker.second()
    assert opened.segment == {"where": "oncall"}
    assert worker.seconds(2_000) == []
    worker.tally.add("delivered", "notify", "oncall")
    [over] = worker.second()
    assert over.status == "resolved"


def test_whoever_takes_a_partition_over_ends_what_its_predecessor_said():
    first = Watched()
    [opened] = first.seconds(PATIENCE_S + 1, join(in_gap=1))
    first.alerts.drop(ROWS)
    assert first.seconds(60) == []  # not its business any more
    second = Watched()
    second.alerts.adopt(opened)
    [over] = second.seconds(60, join())
    assert (over.fingerprint, over.order) == (opened.fingerprint, (WALL_MS, 2))


def test_whoever_takes_a_partition_over_says_nothing_while_it_goes_on():
    [opened] = Watched().seconds(PATIENCE_S + 1, join(in_gap=1))
    second = Watched()
    second.alerts.adopt(opened)
    assert second.seconds(2 * PATIENCE_S, join(in_gap=1)) == []
    assert second.alerts.firing == [Key("join", "gap", ROWS)]


def test_what_happened_to_a_partition_that_left_is_forgotten():
    worker = Watched()
    worker.tally.add("lost", "join", ROWS, 7)
    assert len(worker.second()) == 1
    worker.alerts.drop(ROWS)
    worker.examiner.drop(ROWS)
    assert worker.seconds(60) == []


def test_every_text_can_be_filled_in_and_fits():
    for signal, rule in rules(45.0, 60.0, 30.0).items():
        alerts = PipelineAlerts({signal: rule})
        bad = {Key("detect", signal, "driftline-observations/12"): Bad(1e9, "driftline.labels/7")}
        said = [*alerts.step(bad, 0.0, WALL_MS), *alerts.step(bad, 10_000.0, WALL_MS)]
        assert len(said) == 1
        assert len(said[0].summary) <= 200
        assert "…" not in said[0].summary


def test_totals_before_the_first_look_count_from_then():
    examiner = Examiner(30.0, wall_clock=False)
    counts = Counter({("lost", "join", ROWS): 3})
    assert Key("join", "lost", ROWS) in examiner.examine(Vitals((), counts, WALL_MS), 5.0)
