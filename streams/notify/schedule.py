"""When an alert's turn comes, and in whose company. Pure: time is passed in."""

from __future__ import annotations

from driftline.alerts import Alert
from streams.notify.lane import Lane, Line, Pending

STORM = "storm"
QUIET = "quiet"


def stormy(lane: Lane, now: float, *, one_more: bool = False) -> bool:
    """Whether more firing alerts came of late than the destination takes one by one."""
    storm = lane.destination.storm
    if storm is None:
        return False
    while lane.arrivals and lane.arrivals[0] <= now - storm.within_s:
        lane.arrivals.popleft()
    return len(lane.arrivals) + one_more > storm.alerts


def plan(
    lane: Lane, alert: Alert, line: Line, replaced: Pending | None, now: float
) -> tuple[float, str | None]:
    """(due, bundle) of an alert that is to be told; `replaced`: an older revision that waited."""
    due, bundle = _company(lane, alert, line, replaced, now)
    if stormy(lane, now, one_more=alert.status == "firing") and not _escalates(bundle):
        assert lane.destination.storm is not None
        due = lane.bundle_due.get(STORM, now + lane.destination.storm.within_s)
        bundle = STORM
    quiet = lane.destination.quiet
    if quiet is not None and not _critical(alert, line):
        until = quiet.until(due)
        if until is not None:
            return until, QUIET
    return due, bundle


def _company(
    lane: Lane, alert: Alert, line: Line, replaced: Pending | None, now: float
) -> tuple[float, str | None]:
    destination = lane.destination
    if destination.after_s and alert.status == "firing" and line.firing is None:
        due = now + destination.after_s
        if replaced is not None and _escalates(replaced.bundle):
            due = replaced.due  # it has been firing since then
        return due, f"after:{alert.fingerprint}"
    grouping = destination.grouping
    if grouping is None:
        return now, None
    bundle = grouping.key(alert)
    if bundle in lane.bundle_due:
        return lane.bundle_due[bundle], bundle
    if replaced is not None and replaced.bundle == bundle:
        return replaced.due, bundle
    due = now + grouping.wait_s
    if bundle in lane.group_sent:
        due = max(due, lane.group_sent[bundle] + grouping.interval_s)
    return due, bundle


def _escalates(bundle: str | None) -> bool:
    return bundle is not None and bundle.startswith("after:")


def _critical(alert: Alert, line: Line) -> bool:
    """Whether the quiet hours do not hold: it is critical, or ends what was told as critical."""
    told = line.firing
    return "critical" in {alert.severity, told.severity if told is not None else ""}
