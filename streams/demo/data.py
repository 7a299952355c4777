"""Rows of the two data sets, as serving code would have met them.

Sources, authors and licences: `data/README.md`.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Value = float | int | str | None
"""A feature's value; None is missing, and that is a signal."""

BIKE_NUMBERS = ("temp", "feels_like", "humidity", "windspeed")
INCOME_NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
INCOME_WORDS = ("workclass", "marital_status", "occupation")
INCOME_SEGMENTS = ("sex", "race")
"""Sent beside the features, never shown to the model."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what the model is given, what happened, and what it may not see (`segments`)."""

    features: dict[str, Value]
    label: float | str
    segments: dict[str, str] = field(default_factory=dict)
    ts: int | None = None


def ms(day: str, hour: int = 0) -> int:
    """Milliseconds since the epoch of an ISO date and an hour, UTC."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000 + hour * HOUR_MS


def bikes() -> list[Row]:
    """The hourly rentals of Washington's Capital Bikeshare, 2011 and 2012, in order of time."""
    return [_bike(cells) for cells in _read("bikes.csv.gz")]


def income() -> list[Row]:
    """Census records in the order of the UCI files, which has nothing to do with time: no `ts`."""
    return [_income(cells) for cells in _read("income.csv.gz")]


def _bike(cells: dict[str, str]) -> Row:
    hour = int(cells["hour"])
    features: dict[str, Value] = {
        "hour": hour,
        "holiday": cells["holiday"],
        "workingday": cells["workingday"],
        "weather": cells["weather"] or None,
    }
    features.update((name, float(cells[name])) for name in BIKE_NUMBERS)
    return Row(features, float(cells["rentals"]), ts=ms(cells["date"], hour))


def _income(cells: dict[str, str]) -> Row:
    features: dict[str, Value] = {name: int(cells[name]) for name in INCOME_NUMBERS}
    features.update((name, None if cells[name] == "?" else cells[name]) for name in INCOME_WORDS)
    return Row(features, cells["income"], {name: cells[name] for name in INCOME_SEGMENTS})


def _read(name: str) -> Iterator[dict[str, str]]:
    packed = resources.files("streams.demo").joinpath("data", name).read_bytes()
    return csv.DictReader(io.StringIO(gzip.decompress(packed).decode()))
