"""Which open incidents are one to whoever has to act, and which explains another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from detectors.plan import ERROR, LABEL, RESIDUAL
from detectors.served import PREDICTION
from driftline.alerts import Alert

_ABOUT_A_FEATURE: Final = ("feature_drift", "attribution_drift")
_OF_ITS_VALUES: Final = ("missing:", "type_changed:")
"""Signals of data quality: a feature that is gone or of another type has no values to compare."""

_VIEWS: Final = ({ERROR, RESIDUAL}, {PREDICTION, LABEL})
"""Signals that see one thing from two sides: how far a model misses, and what there is."""


def together(one: Alert, other: Alert, told: Mapping[str, int], near_ms: int) -> bool:
    """Whether two incidents are one to whoever has to act.

    They may have begun together, or are two views of one thing. Arguments as of `neighbour`.
    """
    views = {one.signal, other.signal}
    return views in _VIEWS or neighbour(one, other, told, near_ms)


def neighbour(one: Alert, other: Alert, told: Mapping[str, int], near_ms: int) -> bool:
    """Whether two incidents may have begun together.

    Each began somewhere between its change point and the row that told it, give or take `near_ms`.

    Args:
        one: an incident.
        other: another.
        told: fingerprint -> event time of the row that opened it, ms.
        near_ms: how inexact that is.
    """
    begun, other_begun = one.order[0], other.order[0]
    until = told.get(one.fingerprint, begun)
    other_until = told.get(other.fingerprint, other_begun)
    return begun <= other_until + near_ms and other_begun <= until + near_ms


def cause_of(
    alert: Alert, incidents: Iterable[Alert], told: Mapping[str, int], near_ms: int
) -> str | None:
    """Fingerprint of the first open incident that explains this one; None: it stands for itself."""
    found = (
        other.fingerprint
        for other in incidents
        if explains(other, alert) and neighbour(alert, other, told, near_ms)
    )
    return next(found, None)


def explains(cause: Alert, alert: Alert) -> bool:
    """Whether one thing makes the other happen, whatever else does.

    A feature that is missing or of another type looks drifted; where no predictions come, no labels
    do; larger errors are other residuals; and of what the pipeline lost nothing is sure.
    """
    if cause.kind == "pipeline":
        return alert.kind.endswith("_drift")
    if alert.kind in _ABOUT_A_FEATURE:
        _, _, feature = alert.signal.partition(":")
        causes = {signal + feature for signal in _OF_ITS_VALUES}
        return cause.kind == "data_quality" and cause.signal in causes
    if alert.signal == RESIDUAL:
        return cause.kind == alert.kind and cause.signal == ERROR
    return alert.kind == "label_delay" and cause.kind == "volume"
