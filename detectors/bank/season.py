"""Hour-of-day profiles: what each hour of the reference looked like, where it is long enough."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.api import Floats
from detectors.bank.labels import Ints
from detectors.reference.profile import Codes
from detectors.reference.serial import phi

HOURS: Final = 24
_ROWS, _DAYS = HOURS * 1_000, 14
_OWN, _LENT = 500, 200
"""Rows from which an hour has a profile of its own; below, so many of the whole day's stand in."""
_HOUR_MS = 3_600_000


def has_season(rows: int, days: float) -> bool:
    """Whether a reference of so many rows over so many days can have hour-of-day profiles.

    Below that the flat profile holds the cycle in its serial-correlation factor.
    """
    return rows >= _ROWS and days >= _DAYS


def hour_of_day(ts: Ints) -> Ints:
    """Hour of day, 0 to 23, of event times in ms since the epoch; UTC."""
    hours: Ints = ts // _HOUR_MS % HOURS
    return hours


def hourly_counts(codes: Codes, hours: NDArray[Any], width: int) -> Ints:
    """Reference rows per hour of day and code, as `signal_of` takes them.

    Args:
        codes: bin codes of the reference's rows.
        hours: hour of day of each.
        width: number of codes (`Bins.counts`); what lies beyond is a row without a value.

    Returns: shape (24, width + 1).
    """
    column = np.minimum(codes.astype(np.int64), width)
    whole = np.bincount(hours * (width + 1) + column, minlength=HOURS * (width + 1))
    return whole.astype(np.int64).reshape(HOURS, width + 1)


def seasonal(counts: Ints) -> Ints:
    """Hourly counts in which hours that were hardly seen have the whole day's shares.

    Without this, the first night of a service that used to be closed at night would be news.
    """
    of_hour = counts.sum(axis=1)
    whole = counts.sum(axis=0)
    lent = np.rint(whole * (_LENT / max(int(whole.sum()), 1))).astype(np.int64)
    filled: Ints = np.where((of_hour < _OWN)[:, None], lent[None, :], counts)
    return filled


def expected_counts(counts: Ints, hours: NDArray[Any] | None) -> Floats:
    """Reference rows per label, of a day with the hours that the current rows have.

    Args:
        counts: shape (H, K), H = 24 or 1.
        hours: hour of day of the current rows; None, or where H is 1: of all hours.

    Returns: shape (K,), with the sum of `counts`.
    """
    if hours is None or len(counts) == 1:
        whole: Floats = counts.sum(axis=0).astype(np.float64)
        return whole
    share = np.bincount(hours, minlength=len(counts)) / max(len(hours), 1)
    of_hour = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mixed: Floats = (share @ of_hour) * counts.sum()
    return mixed


def phi_within_hours(scores: Floats, hours: NDArray[Any]) -> tuple[float, int]:
    """As `serial.phi`, of what the hours do not explain: scores less their hour's mean.

    Args:
        scores: shape (n, k), in time order.
        hours: hour of day of each row.
    """
    within = scores.copy()
    for hour in np.unique(hours):
        rows = hours == hour
        within[rows] -= scores[rows].mean(axis=0)
    return phi(within)
