"""The story is told in the order of its own time, once, and judged exactly."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from streams.demo import lines, traffic
from streams.demo.data import DAY_MS, HOUR_MS, ms
from streams.demo.expected import EXPECTED, Incident, differences, incidents
from streams.demo.feed import Gate
from streams.demo.story import Story
from tests.demo_parts import make_alert, make_window


@pytest.fixture
def story():
    return Story(Console(file=io.StringIO(), width=120, force_terminal=False), delay_s=0.0)


def told(story):
    return story.console.file.getvalue()


def close_days(story, start, end):
    """Days of both models close."""
    for day in range(start, end, DAY_MS):
        story.window(make_window("bike-demand@2011-04", day, mae=80.0))
        story.window(make_window("income@1994.1", day, accuracy=0.85))


def test_parts_are_told_in_order_of_their_time_whatever_order_they_come_in(story):
    first, second = ms("2011-04-03"), ms("2011-04-05")
    with story.playing():
        story.alert(make_alert(first, second))
        story.milestones([traffic.Milestone(first, "upstream breaks")])
        assert told(story) == ""
        story.tell()
        assert told(story) == ""
        close_days(story, traffic.START, second + DAY_MS)
        story.tell()
        lines_told = told(story).splitlines()
    assert "upstream breaks" in lines_told[0]
    assert lines_told[1].startswith("2011-04-05 00:00  ALERT (warning): performance of bike-dem")
    assert "since 2011-04-03 00:00, known 2 days later" in told(story)
    assert "mean_rank 0.93, reference 0.5, threshold 0.05, n = 640" in told(story)


def test_nothing_is_told_before_the_slower_model_is_past_it(story):
    with story.playing():
        story.milestones([traffic.Milestone(traffic.START, "begins")])
        for day in range(traffic.START, ms("2011-06-01"), DAY_MS):
            story.window(make_window("income@1994.1", day, accuracy=0.9))
        story.tell()
        assert story.now == traffic.START
        assert told(story) == ""
    assert "begins" in told(story), "the end tells what is left"


def test_the_telling_stays_behind_what_has_closed_so_that_stragglers_find_their_place():
    clock = [100.0]
    story = Story(Console(file=io.StringIO(), width=120), delay_s=1.5, monotonic=lambda: clock[0])
    story.milestones([traffic.Milestone(ms("2011-04-03"), "repaired")])
    close_days(story, traffic.START, ms("2011-04-10"))
    story.tell()
    clock[0] += 1.0
    story.tell()
    assert told(story) == ""
    story.alert(make_alert(ms("2011-04-02"), ms("2011-04-02")))
    clock[0] += 1.0
    story.tell()
    assert "repaired" in told(story).splitlines()[-1]
    assert "ALERT" in told(story).splitlines()[0]


def test_windows_of_a_month_may_come_in_any_order(story):
    days = list(range(ms("2011-04-01"), ms("2011-05-02"), DAY_MS))
    with story.playing():
        for day in reversed(days):
            story.window(make_window("income@1994.1", day, accuracy=0.9))
    assert told(story).count("accuracy 0.900") == 1
    assert "720 predictions" in told(story)


def test_a_month_is_one_line_per_subject_weighted_by_labels(story):
    april, may = ms("2011-04-01"), ms("2011-05-01")
    with story.playing():
        for day in range(april, may, DAY_MS):
            heavy = day == april
            story.window(
                make_window(
                    "income@1994.1",
                    day,
                    accuracy=1.0 if heavy else 0.5,
                    outcomes=29 if heavy else 1,
                )
            )
    (line,) = told(story).splitlines()
    assert "income@1994.1" in line
    assert "720 predictions" in line
    assert "58 labels" in line
    assert "accuracy 0.750" in line


def test_a_revised_window_is_not_counted_twice(story):
    with story.playing():
        for revision in (1, 2):
            for day in range(ms("2011-04-01"), ms("2011-05-01"), DAY_MS):
                accuracy = 0.8 if revision == 1 else 0.1
                story.window(
                    make_window("income@1994.1", day, accuracy=accuracy, revision=revision)
                )
    assert told(story).count("accuracy") == 1
    assert "accuracy 0.800" in told(story)


def test_repeated_alerts_and_deliveries_are_told_once(story):
    opened = make_alert(traffic.START, traffic.START + HOUR_MS)
    with story.playing():
        for _ in range(2):
            story.alert(opened)
            story.delivery(opened)
    assert len(story.alerts) == 1
    assert told(story).count("ALERT") == 1
    assert told(story).count("webhook received") == 1


def test_an_update_is_judged_but_not_told(story):
    with story.playing():
        story.alert(make_alert(traffic.START, traffic.START + HOUR_MS))
        story.alert(
            make_alert(traffic.START, traffic.START + 9 * HOUR_MS, revision=2, reason="updated")
        )
    assert told(story).count("ALERT") == 1
    assert story.alerts[-1].revision == 2


def test_markup_in_names_is_text(story):
    alert = msgspec.structs.replace(
        make_alert(traffic.START, traffic.START), signal="feature:[red]", summary="[/] odd"
    )
    with story.playing():
        story.alert(alert)
        story.delivery(alert)
    story.summary(["unexpected: [bold]"])
    assert "feature:[red]" in told(story)
    assert "[/] odd" in told(story)
    assert "unexpected: [bold]" in told(story)


def test_the_summary_shows_when_it_was_known_when_it_ended_and_whether_it_was_expected(story):
    start, end = ms("2011-09-12"), ms("2011-10-07")
    ended = next(incident for incident in EXPECTED if incident.resolved)
    assert ended.resolved
    story.alert(make_alert(start, start + 15 * HOUR_MS, ended))
    story.alert(make_alert(start, end, ended, revision=2, resolved=True))
    story.alert(make_alert(start, start, Incident("income@1994.1", "concept_drift", "x", True)))
    story.summary(["unexpected: x"])
    rows = [line for line in told(story).splitlines() if line.startswith("income@1994.1")]
    assert len(rows) == 2
    assert any("15 h" in row and "2011-10-07" in row and "yes" in row for row in rows)
    assert any("still firing" in row and "NO" in row for row in rows)


def all_expected():
    for number, incident in enumerate(EXPECTED):
        start = traffic.START + number * DAY_MS
        yield make_alert(start, start + HOUR_MS, incident)
        if incident.resolved:
            yield make_alert(start, start + DAY_MS, incident, revision=2, resolved=True)


def test_exactly_the_expected_alerts_make_no_difference():
    assert differences(all_expected()) == []
    assert differences([*all_expected(), *all_expected()]) == [], "repeats change nothing"
    assert differences(reversed(list(all_expected()))) == []


def test_every_deviation_is_named():
    alerts = list(all_expected())
    assert differences(alerts[1:]) == [f"missing: {EXPECTED[0]}"]
    late = ms("2012-12-01")
    again = make_alert(late, late, EXPECTED[0])
    assert differences([*alerts, again]) == [f"unexpected: {EXPECTED[0]}"], "it came twice"
    unresolved = [a for a in alerts if not (a.status == "resolved" and a.kind == "feature_drift")]
    assert len(differences(unresolved)) == 2
    stranger = msgspec.structs.replace(alerts[0], fingerprint="0" * 32, kind="pipeline")
    assert len(differences([*alerts, stranger])) == 1


def test_an_incident_reads_as_a_sentence():
    assert str(EXPECTED[0]) == "bike-demand@2011-04: performance on error, still firing"
    assert incidents(all_expected()) == sorted(EXPECTED)
    assert str(replace(EXPECTED[0], resolved=True)).endswith("resolved")


@pytest.mark.parametrize(
    ("length", "text"),
    [(0, "0 min"), (HOUR_MS, "60 min"), (15 * HOUR_MS, "15 h"), (3 * DAY_MS, "3 days")],
)
def test_spans_read_as_people_say_them(length, text):
    assert lines.span(length) == text


def test_the_gate_holds_the_feed_back_until_windows_close():
    gate = Gate(lead_ms=DAY_MS)
    passed = threading.Event()
    feed = threading.Thread(target=lambda: gate.wait(traffic.START + 2 * DAY_MS) and passed.set())
    feed.start()
    assert gate.wait(traffic.START + DAY_MS)
    assert not passed.wait(0.05)
    gate.closed(traffic.START + DAY_MS)
    assert passed.wait(5)
    feed.join()


def test_the_gate_lets_go_when_the_run_is_over():
    gate = Gate()
    gate.give_up()
    assert gate.wait(traffic.END) is False
