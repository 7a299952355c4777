"""What a destination wants to hear, when, and how hard it is tried. Pure: time is passed in.

Times are seconds since the epoch; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from driftline.alerts import Alert
from streams.notify.api import SEVERITIES, Notifier, Traits

GROUP_FIELDS = ("model", "version", "kind", "signal", "severity", "rule")
MATCH_FIELDS = ("kind", "model", "version", "signal", "rule", "severity")
_DAY = timedelta(days=1)
PLAIN = Traits(groups=False, storm=False, repeats=False)
"""A machine: each alert by itself, at once."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Alerts whose fields, and whose segment, have one of these texts; `*` stands for any."""

    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    segment: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def matches(self, alert: Alert) -> bool:
        """Whether every field named here has one of its texts."""
        segment = alert.segment or {}
        return all(_any(getattr(alert, name), texts) for name, texts in self.fields) and all(
            name in segment and _any(segment[name], texts) for name, texts in self.segment
        )


def _any(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Alerts that agree in the fields `by` go out together."""

    by: tuple[str, ...] = ("model", "version")
    wait_s: float = 30.0
    """From the first alert of a group to its first message."""
    interval_s: float = 300.0
    """Between two messages about changes of one group."""

    def key(self, alert: Alert) -> str:
        """The group's name; it stands in the ledger."""
        return "group:" + "|".join(getattr(alert, name) for name in self.by)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of the day, in a time zone, in which only what is critical is told.

    `start` may be after `end`: the hours then span midnight.
    """

    start: time
    end: time
    zone: ZoneInfo

    def until(self, now: float) -> float | None:
        """When the quiet hours that hold at `now` end; None: it is not quiet."""
        local = datetime.fromtimestamp(now, self.zone)
        at = local.time().replace(tzinfo=None)
        within = (
            self.start <= at < self.end
            if self.start <= self.end
            else at >= self.start or at < self.end
        )
        if not within:
            return None
        end = datetime.combine(local.date(), self.end, self.zone)
        if end.timestamp() <= now:
            end = datetime.combine(local.date() + _DAY, self.end, self.zone)
        return end.timestamp()


@dataclass(frozen=True, slots=True)
class Storm:
    """More than `alerts` new firing alerts within `within_s` become one digest."""

    alerts: int = 20
    within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How long a destination is tried, and how the waits between tries grow.

    Full jitter: each wait is uniform in [0, bound], the bound doubling from `first_s` to `most_s`,
    so that many waiting senders do not come back at once.

    Source: Brooker 2015, "Exponential Backoff And Jitter", AWS Architecture Blog.
    """

    attempts: int = 1000
    give_up_s: float = 3600.0
    """No try begins later than this after the first."""
    first_s: float = 2.0
    most_s: float = 300.0

    def bound_s(self, failures: int) -> float:
        """The longest wait after so many failures, which are at least 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 60))


@dataclass(slots=True)
class Breaker:
    """After `limit` failures in a row a destination is left alone for `pause_s`, then probed once.

    `closed_until`, the pause that a destination asked for itself (Retry-After), counts as one.
    """

    limit: int = 5
    pause_s: float = 60.0
    failures: int = 0
    open_until: float = 0.0

    def open(self, now: float) -> bool:
        """Whether nothing may be sent at `now`."""
        return now < self.open_until

    def failed(self, now: float, asked_s: float | None) -> None:
        """A try failed for the moment; the destination may have asked for a pause."""
        self.failures += 1
        pause = max(self.pause_s if self.failures >= self.limit else 0.0, asked_s or 0.0)
        self.open_until = max(self.open_until, now + pause) if pause else self.open_until

    def worked(self) -> None:
        """The destination answered: accepted, or refused for good, which is not its weakness."""
        self.failures, self.open_until = 0, 0.0


@dataclass(frozen=True, slots=True)
class Destination:
    """A notifier and the rules of what it is to hear, when."""

    notifier: Notifier
    traits: Traits = PLAIN
    severities: frozenset[str] = frozenset(SEVERITIES)
    matchers: tuple[Matcher, ...] = ()
    """It hears what any of these matches; without one, everything."""
    models: Mapping[str, frozenset[str]] | None = None
    """Model to the destinations that its monitor file names; others tell every destination."""
    grouping: Grouping | None = None
    repeat_s: float | None = None
    quiet: Quiet | None = None
    storm: Storm | None = None
    after_s: float = 0.0
    """Escalation: told only of what fires, and nobody acknowledged, for so long."""
    resolved: bool = True
    """Whether it wants to hear that what it was told of is over."""
    picture: bool = True
    retry: Retry = Retry()
    pace_s: float = 0.0
    timeout_s: float = 10.0
    """A try that takes longer has failed."""
    limit: int = 10_000
    """Alerts that may wait; what comes on top goes to the dead letters."""

    @property
    def name(self) -> str:
        """The notifier's name."""
        return self.notifier.name

    def wants(self, alert: Alert) -> bool:
        """Whether the alert concerns this destination."""
        if alert.severity not in self.severities:
            return False
        named = (self.models or {}).get(alert.model)
        if named is not None and self.name not in named:
            return False
        return not self.matchers or any(matcher.matches(alert) for matcher in self.matchers)
