"""Remediation: what is asked for once is done once, and the guards hold."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from detectors.operators.remedies import Decision, RemedyState, step
from detectors.remedy_spec import HOUR_MS, Remedy
from driftline.actions import Action
from driftline.alerts import Alert, DetectorRef, Statistic, alert_id, fingerprint
from driftline.rules import rfc3339

START = 1_000 * HOUR_MS
MINUTE = 60_000


def alert(
    at: int,
    *,
    version: str = "2",
    signal: str = "error",
    started: int | None = None,
    revision: int = 1,
    severity: Any = "critical",
    reason: Any = "opened",
) -> Alert:
    began = at if started is None else started
    mark = fingerprint("fraud", version, "drift", signal)
    return Alert(
        id=alert_id(mark, began, revision),
        fingerprint=mark,
        revision=revision,
        status="resolved" if reason in ("recovered", "retracted", "expired") else "firing",
        reason=reason,
        severity=severity,
        kind="concept_drift",
        model="fraud",
        version=version,
        signal=signal,
        rule="drift",
        detector=DetectorRef("srbinary", {}),
        statistic=Statistic(name="rate", value=0.2),
        started_at=rfc3339(began),
        detected_at=rfc3339(at),
        summary=f"{signal} of {version} rose",
    )


def remedy(**given: Any) -> Remedy:
    return Remedy(**{"name": "save", "action": "retrain", "mode": "auto", **given})


def state(**rows: int) -> RemedyState:
    """A model whose versions (v1=..., v2=...) had so many predictions in the hour before START."""
    made = RemedyState("fraud")
    for order, (version, n) in enumerate(rows.items()):
        first = np.array([START - (10 - order) * HOUR_MS])
        made.traffic.take(version.removeprefix("v"), first)
        made.traffic.take(version.removeprefix("v"), np.full(n, START - 10 * MINUTE))
    return made


def said(actions: Sequence[Action]) -> list[tuple[str, str]]:
    return [(action.version, action.status) for action in actions]


def test_by_default_it_says_what_it_would_do_and_does_nothing() -> None:
    actions = step(state(v2=10), [remedy(mode="dry-run")], [alert(START)], [], START + 1)
    assert said(actions) == [("2", "would_run")]
    assert not step(state(v2=10), [remedy(mode="dry-run")], [], [], START + 99 * HOUR_MS)


def test_an_incident_asks_once_however_often_it_speaks() -> None:
    held = state(v2=10)
    news = [alert(START), alert(START + 1, started=START, revision=2, reason="escalated")]
    assert said(step(held, [remedy()], news, [], START + 2)) == [("2", "due")]


def test_an_alert_that_another_one_explains_asks_for_nothing() -> None:
    explained = replace(alert(START), suppressed_by="f" * 32)
    assert not step(state(v2=10), [remedy()], [explained], [], START + 1)


def test_an_approved_action_is_due_once() -> None:
    held, policy = state(v1=90, v2=10), remedy(mode="approve", action="rollback")
    waiting = step(held, [policy], [alert(START)], [], START + 1)
    assert said(waiting) == [("2", "waiting")]
    assert waiting[0].to_version == "1"
    yes = Decision(START + MINUTE, waiting[0].id, approved=True, who="ana")
    due = step(held, [policy], [], [yes, yes], START + 2 * MINUTE)
    assert said(due) == [("2", "due")]
    assert (due[0].id, due[0].revision, due[0].who) == (waiting[0].id, 2, "ana")
    assert not step(held, [policy], [], [yes], START + 3 * MINUTE)


def test_a_rejected_action_and_one_that_nobody_answers_are_never_due() -> None:
    policy = remedy(mode="approve", approve_within_ms=HOUR_MS)
    held = state(v2=10)
    first = step(held, [policy], [alert(START)], [], START + 1)[0]
    no = Decision(START + MINUTE, first.id, approved=False, who="ana", why="a known campaign")
    rejected = step(held, [policy], [], [no], START + 2 * MINUTE)
    assert said(rejected) == [("2", "rejected")]
    assert "known campaign" in rejected[0].why
    step(held, [policy], [alert(START + HOUR_MS, signal="score")], [], START + HOUR_MS + 1)
    assert said(step(held, [policy], [], [], START + 3 * HOUR_MS)) == [("2", "expired")]


def test_a_waiting_action_ends_with_its_alert() -> None:
    policy, held = remedy(mode="approve"), state(v2=10)
    over = alert(START + MINUTE, started=START, revision=2, reason="recovered")
    actions = step(held, [policy], [alert(START), over], [], START + HOUR_MS)
    assert said(actions) == [("2", "waiting"), ("2", "expired")]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=60), st.integers(1, 4))
def test_the_rate_limit_holds_under_a_flapping_alert(minutes: list[int], limit: int) -> None:
    policy = remedy(limit=limit, per_ms=6 * HOUR_MS, cool_down_ms=0, most_versions=9)
    held, at, due = state(v2=10), START, []
    for wait in minutes:
        at += wait * MINUTE
        news = [alert(at), alert(at + 1, started=at, revision=2, reason="recovered")]
        actions = step(held, [policy], news, [], at + 2)
        due += [at for action in actions if action.status == "due"]
    assert all(sum(0 <= at - other < 6 * HOUR_MS for other in due) <= limit for at in due)


def test_a_version_cools_down_between_two_actions() -> None:
    policy, held = remedy(limit=9, cool_down_ms=HOUR_MS), state(v2=10)
    news = [alert(START), alert(START + MINUTE, signal="score"), alert(START + HOUR_MS, signal="x")]
    actions = step(held, [policy], news, [], START + HOUR_MS + 1)
    assert said(actions) == [("2", "due"), ("2", "refused"), ("2", "due")]
    assert "cooling down until" in actions[1].why


def test_no_more_versions_are_acted_upon_at_once_than_allowed() -> None:
    policy, held = remedy(limit=9), state(v2=10, v3=10)
    actions = step(held, [policy], [alert(START), alert(START, version="3")], [], START + 1)
    assert said(actions) == [("2", "due"), ("3", "refused")]


def test_what_carries_too_much_traffic_waits_for_a_person() -> None:
    policy = remedy(action="freeze", max_traffic=0.5)
    assert said(step(state(v1=10, v2=90), [policy], [alert(START)], [], START + 1)) == [
        ("2", "waiting")
    ]
    assert said(step(state(v1=90, v2=10), [policy], [alert(START)], [], START + 1)) == [
        ("2", "due")
    ]


def test_a_rollback_goes_to_the_latest_earlier_version_without_a_critical_alert() -> None:
    policy, held = remedy(action="rollback", limit=9, most_versions=9), state(v0=5, v1=5, v2=5)
    news = [alert(START, version="1"), alert(START + 1, version="2")]
    rolled = [a for a in step(held, [policy], news, [], START + 2) if a.version == "2"]
    assert rolled[0].to_version == "0"
    alone = step(state(v2=10), [policy], [alert(START)], [], START + 1)
    assert said(alone) == [("2", "refused")]
    assert "no version" in alone[0].why


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("recovered", ["due", "helped"]),
        ("open, with traffic", ["due", "did_not_help"]),
        ("open, without traffic", ["due", "helped"]),
    ],
)
def test_whether_it_helped_is_looked_at_and_said(after: str, expected: list[str]) -> None:
    policy, held = remedy(verify_within_ms=2 * HOUR_MS), state(v2=10)
    news = [alert(START)]
    if after == "recovered":
        news.append(alert(START + HOUR_MS, started=START, revision=2, reason="recovered"))
    if after == "open, with traffic":
        held.traffic.take("2", np.array([START + HOUR_MS + MINUTE]))
    actions = step(held, [policy], news, [], START + 3 * HOUR_MS)
    assert [action.status for action in actions] == expected


NEWS = st.lists(
    st.tuples(
        st.integers(0, 600),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from(["error", "score"]),
        st.sampled_from(["opened", "recovered", "escalated"]),
    ),
    max_size=30,
)


@given(NEWS, st.lists(st.integers(0, 30), max_size=4), st.sampled_from(["approve", "auto"]))
def test_cutting_the_stream_elsewhere_and_restarting_changes_nothing(
    news: list[tuple[int, str, str, str]], cuts: list[int], mode: str
) -> None:
    policies = [remedy(mode=mode, limit=3, per_ms=HOUR_MS, cool_down_ms=HOUR_MS // 4)]
    alerts = sorted(
        (
            alert(START + at * MINUTE, version=v, signal=s, started=START, reason=r)
            for at, v, s, r in news
        ),
        key=lambda one: one.detected_at,
    )
    whole = step(state(v1=5, v2=5, v3=5), policies, alerts, [], START + 20 * HOUR_MS)
    held, got = state(v1=5, v2=5, v3=5), []
    edges = sorted({0, len(alerts), *(min(cut, len(alerts)) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        # rows at one arrival are released together, so a cut lies between two arrivals
        if end < len(alerts) and alerts[end - 1].detected_at == alerts[end].detected_at:
            return
        held = RemedyState.load(held.dump(), "fraud")
        at = max(int(_ms(alerts[end - 1])), START) + 1
        got += step(held, policies, alerts[begin:end], [], at)
    got += step(held, policies, [], [], START + 20 * HOUR_MS)
    assert got == whole


def _ms(one: Alert) -> int:
    from driftline.rules import iso_ms

    return iso_ms(one.detected_at) or 0
