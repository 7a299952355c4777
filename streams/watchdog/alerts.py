"""From what is bad now to `pipeline` alerts: opened when it lasts, recovered when it is over. Pure.

An incident's identity is (`_driftline`, stage, rule `pipeline`, signal, where), whichever worker
sees it, so whoever takes a partition over goes on with its predecessor's incidents (`adopt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftline.alerts import (
    PIPELINE_MODEL,
    Alert,
    DetectorRef,
    Statistic,
    alert_id,
    fingerprint,
)
from driftline.rules import iso_ms, rfc3339
from streams.watchdog.rules import Bad, Key, Rule

RULE = "pipeline"
WHERE = "where"
NOTHING = Bad(0.0)


@dataclass(slots=True)
class _Course:
    """How long one thing has been bad or good, and its open incident."""

    bad_since: float | None = None
    good_since: float | None = None
    last: Bad = NOTHING
    opened_ms: int | None = None
    """`started_at` of the open incident; None: there is none."""
    revision: int = 0


class PipelineAlerts:
    """The incidents of this worker. Times are passed in, see `step`."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._courses: dict[Key, _Course] = {}

    @property
    def firing(self) -> list[Key]:
        """What fires now."""
        return [key for key, course in self._courses.items() if course.opened_ms is not None]

    def step(self, bad: Mapping[Key, Bad], now: float, wall_ms: int) -> list[Alert]:
        """The alerts that begin or end at this look.

        Args:
            bad: what is wrong at this moment.
            now: seconds that never go back.
            wall_ms: the arrival that a record would have now.
        """
        alerts = []
        for key in sorted(
            {*self._courses, *bad}, key=lambda key: (key.stage, key.signal, key.where)
        ):
            course = self._courses.setdefault(key, _Course())
            alert = self._move(key, course, bad.get(key), now, wall_ms)
            if alert is not None:
                alerts.append(alert)
            if course.opened_ms is None and course.bad_since is None:
                del self._courses[key]
        return alerts

    def _move(
        self, key: Key, course: _Course, bad: Bad | None, now: float, wall_ms: int
    ) -> Alert | None:
        rule = self._rules[key.signal]
        if bad is not None:
            course.last, course.good_since = bad, None
            if course.bad_since is None:
                course.bad_since = now
            if course.opened_ms is None and now - course.bad_since >= rule.after_s:
                course.opened_ms = wall_ms - round((now - course.bad_since) * 1000)
                course.revision = 1
                return _alert(key, rule, course, wall_ms)
            return None
        course.bad_since = None
        if course.opened_ms is None:
            return None
        if course.good_since is None:
            course.good_since = now
        if now - course.good_since < rule.clear_s:
            return None
        course.revision += 1
        alert = _alert(key, rule, course, wall_ms, over=True)
        course.opened_ms = None
        return alert

    def adopt(self, alert: Alert) -> None:
        """Goes on with an incident that fires according to the alerts topic.

        It ends as one of our own would; one that we have open ourselves is left alone, and so is
        one of a rule that this version does not have.
        """
        key = key_of(alert)
        course = self._courses.get(key)
        if key.signal not in self._rules or (course is not None and course.opened_ms is not None):
            return
        course = self._courses.setdefault(key, _Course())
        course.opened_ms = iso_ms(alert.started_at) or 0
        course.revision = alert.revision
        course.last = Bad(alert.statistic.value or 0.0)

    def drop(self, where: str) -> None:
        """A partition left: who has it now goes on with its incidents."""
        for key in [key for key in self._courses if key.where == where]:
            del self._courses[key]


def key_of(alert: Alert) -> Key:
    """What a pipeline alert is about."""
    return Key(alert.version, alert.signal, (alert.segment or {}).get(WHERE, ""))


def _alert(key: Key, rule: Rule, course: _Course, wall_ms: int, *, over: bool = False) -> Alert:
    assert course.opened_ms is not None
    segment = {WHERE: key.where} if key.where else None
    mark = fingerprint(PIPELINE_MODEL, key.stage, RULE, key.signal, segment)
    last = course.last
    text = rule.text.format(where=key.where or key.stage, value=last.value, detail=last.detail)
    return Alert(
        id=alert_id(mark, course.opened_ms, course.revision),
        fingerprint=mark,
        revision=course.revision,
        status="resolved" if over else "firing",
        reason="recovered" if over else "opened",
        severity=rule.severity,
        kind="pipeline",
        model=PIPELINE_MODEL,
        version=key.stage,
        signal=key.signal,
        segment=segment,
        rule=RULE,
        detector=DetectorRef(key.signal, {"after_s": rule.after_s, "clear_s": rule.clear_s}),
        statistic=Statistic(rule.statistic, value=last.value, threshold=rule.threshold),
        started_at=rfc3339(course.opened_ms),
        ended_at=rfc3339(wall_ms) if over else None,
        detected_at=rfc3339(wall_ms),
        summary=f"over: {text}" if over else text,
    )
