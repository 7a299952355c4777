"""The bank: sequential tests of every signal whose false alarms are bounded by one budget."""

from detectors.bank.bins import Bank
from detectors.bank.budget import also_moved, log_threshold, ticks_per_day, weights
from detectors.bank.labels import MIN_REFERENCE, Signal, signal_of
from detectors.bank.life import Turn
from detectors.bank.rates import Rate, Rates
from detectors.bank.season import (
    expected_counts,
    has_season,
    hour_of_day,
    hourly_counts,
    phi_within_hours,
    seasonal,
)

__all__ = [
    "MIN_REFERENCE",
    "Bank",
    "Rate",
    "Rates",
    "Signal",
    "Turn",
    "also_moved",
    "expected_counts",
    "has_season",
    "hour_of_day",
    "hourly_counts",
    "log_threshold",
    "phi_within_hours",
    "seasonal",
    "signal_of",
    "ticks_per_day",
    "weights",
]
