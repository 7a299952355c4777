"""Alerts on a terminal: they fit it, and a distribution that moved is seen."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from driftline.alerts import Alert, Evidence, Histogram
from streams.cli.alert_lines import bars, show_alerts
from tests.unit.test_cli import ALERT

MOVED = Histogram([0.0, 1.0, 2.0, 99.0], [50.0, 40.0, 10.0], [0.0, 1.0, 99.0])
LONG = replace(
    ALERT,
    model="income-of-households",
    signal="feature:hours_per_week",
    kind="feature_drift",
    summary="hours_per_week changed: 100% of values lie above 99, the reference's limit; " * 2,
    evidence=Evidence(histogram=MOVED),
)


def shown(width: int, *found: Alert, **options: object) -> list[str]:
    out = Console(width=width, file=io.StringIO(), color_system=None)
    show_alerts(found, out, **options)  # type: ignore[arg-type]
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_stands_alone(width: int):
    lines = shown(width, LONG, replace(LONG, status="resolved", reason="recovered"))
    assert max(map(len, lines)) <= width
    assert all(line.startswith(("  ", "warning")) for line in lines)
    assert len(lines) <= (13 if width == 80 else 10)


def test_what_does_not_fit_the_first_line_stands_whole_on_the_second():
    head, what, *_ = shown(80, LONG)
    assert head == "warning   firing     2026-11-01 00:00  feature_drift"
    assert what == "  income-of-households@1  feature:hours_per_week"
    assert shown(120, LONG)[0] == f"{head}{what}"


def test_a_segment_is_part_of_what_is_wrong():
    assert (
        "m@1  error  country=DE, web=no"
        in shown(120, replace(ALERT, segment={"web": "no", "country": "DE"}))[0]
    )


def test_bars_are_on_one_scale_and_show_the_smallest_share():
    reference, now = bars(MOVED)
    assert reference == "reference |▄▃▁|  0 to 99"
    assert now == "now       | ▁█|  0 to 99"
    assert bars(Histogram([0.0, 1.0], [0.0], [0.0])) == []


def test_bars_are_shown_while_an_alert_fires():
    assert any("now " in line for line in shown(80, LONG))
    over = replace(LONG, status="resolved", reason="recovered", summary="as before")
    assert not any("now " in line for line in shown(80, over))


def test_an_incident_that_is_over_is_told_by_how_it_opened():
    over = replace(
        LONG, status="resolved", reason="recovered", summary="as before",
        ended_at="2026-11-03T06:00:00.000Z",
    )  # fmt: skip
    lines = shown(80, over, opened={(LONG.fingerprint, LONG.started_at): LONG})
    assert lines[0].startswith("warning   recovered  2026-11-01 00:00 to 2026-11-03 06:00")
    assert any("100% of values" in line for line in lines)
    assert any("now " in line for line in lines)
    assert not any("as before" in line for line in lines)


def test_brackets_in_names_are_no_markup():
    assert "feature:[bold]x" in " ".join(shown(120, replace(ALERT, signal="feature:[bold]x")))
