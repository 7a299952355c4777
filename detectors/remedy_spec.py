"""What a remediation policy says: which alerts ask for which action, and what holds it back."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct

from driftline.actions import ActionMode, ActionName
from driftline.alerts import Alert

HOUR_MS = 3_600_000
PREVIOUS = "previous"
"""As the version to roll back to: the one that was first seen last before this one."""


class Remedy(Struct, frozen=True, kw_only=True):
    """One policy of one model. The defaults do nothing but say what would be done.

    Attributes:
        name: its identity: actions of a policy that was renamed are new ones.
        kinds, severities, signals: what an alert must be; empty: any. Signals may hold wildcards.
        limit, per_ms: so many actions of this policy within so long, over all versions.
        cool_down_ms: between two actions on one version.
        most_versions: versions of the model that may be acted upon at once.
        max_traffic: share of the model's predictions (last 24 whole hours) above which an automatic
            action waits for approval instead.
        approve_within_ms: a waiting action expires after this.
        verify_within_ms: when it is looked at whether the action helped.
        to: of a rollback, `previous` or a version.
        params: passed on to whoever carries the action out.
    """

    name: str
    action: ActionName
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ("critical",)
    signals: tuple[str, ...] = ()
    mode: ActionMode = "dry-run"
    limit: int = 1
    per_ms: int = 24 * HOUR_MS
    cool_down_ms: int = 6 * HOUR_MS
    most_versions: int = 1
    max_traffic: float = 1.0
    approve_within_ms: int = 24 * HOUR_MS
    verify_within_ms: int = 2 * HOUR_MS
    to: str | None = None
    params: dict[str, str] = {}

    def asks(self, alert: Alert) -> bool:
        """Whether this alert, which has just opened or become worse, asks for the action."""
        return (
            alert.suppressed_by is None
            and (not self.kinds or alert.kind in self.kinds)
            and (not self.severities or alert.severity in self.severities)
            and (not self.signals or any(fnmatchcase(alert.signal, s) for s in self.signals))
        )
