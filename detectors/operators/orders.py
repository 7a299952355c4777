"""What a monitor does when it is told to: end incidents, or learn a new reference."""

from __future__ import annotations

from detectors.baseline import Baseline
from detectors.errors.concept import Concept
from detectors.operators.commands import Told
from detectors.operators.silence import EXPIRE
from detectors.policy import end_by_hand
from detectors.state import Learning, MonitorState
from driftline.alerts import Alert

DRIFT_RULE = "drift"
"""Rule of incidents that compare with the reference; thresholds have rules of their own."""


def carry_out(state: MonitorState, told: Told) -> list[Alert]:
    """Does what was told, between two rows; returns the alerts that end by it."""
    if told.command == EXPIRE:
        open_ = state.policy.incidents.values()
        last = sorted(open_, key=lambda alert: alert.suppressed_by is None)  # causes after effects
        marks = [alert.fingerprint for alert in last]
        return end_by_hand(state.policy, marks, told.at, "over: no row of this version for 30 days")
    by = f"by {told.who}" + (f": {told.why}" if told.why else "")
    if told.command == "close" and told.fingerprint is not None:
        return end_by_hand(state.policy, [told.fingerprint], told.at, f"closed {by}")
    if told.command == "rebase":
        drifts = [m for m, alert in state.policy.incidents.items() if alert.rule == DRIFT_RULE]
        alerts = end_by_hand(state.policy, sorted(drifts), told.at, f"new reference {by}")
        rebase(state)
        return alerts
    return []


def rebase(state: MonitorState) -> None:
    """Learns a new reference from the rows that come, and compares with nothing until then.

    The task, the windows, the counts since start and the thresholds stay. A monitor that is still
    learning goes on doing so.
    """
    if state.profile is None:
        return
    state.settled = state.decision
    state.profile, state.features, state.score, state.expectation = None, None, None, None
    state.roster.closed = False
    state.concept = Concept(state.spec.warmup, None)
    state.baseline = Baseline(state.spec.warmup)
    state.learning = Learning()
    state.count("rebased")
