"""Twenty-one months of traffic, every record of it known beforehand: same code, same bytes.

Two models are served. `bike-demand` predicts the rentals of each hour. Its first version learnt
from January to March 2011 and is never touched again; in June 2012 a second one, trained on the
twelve months before, is put beside it, and both answer every request. `income` scores a census
record every half hour. In September 2011 an upstream team sends `hours_per_week` in minutes for
five days, then repairs it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from streams.demo import models
from streams.demo.data import DAY_MS, HOUR_MS, Row, bikes, income, ms

BIKES = "bike-demand"
BIKES_FIRST, BIKES_SECOND = "2011-04", "2012-06"
INCOME = "income"
INCOME_VERSION = "1994.1"

START = ms("2011-04-01")
END = ms("2013-01-01")
"""The served time is [START, END)."""
BROKEN = (ms("2011-09-12"), ms("2011-09-17"))
"""When `hours_per_week` comes in minutes, [from, until)."""
RETRAINED = ms("2012-06-01")
SECOND_LEARNS_FROM = ms("2011-06-01")

SUBJECTS = {
    f"{BIKES}@{BIKES_FIRST}": START,
    f"{BIKES}@{BIKES_SECOND}": RETRAINED,
    f"{INCOME}@{INCOME_VERSION}": START,
}
"""Every subject, and from when on it is served."""

INCOME_EVERY_MS = HOUR_MS // 2
INCOME_TRAINING_ROWS = 8_000
MINUTE_MS = 60_000
BIKE_LABEL_AFTER_MIN = (60, 180)
INCOME_LABEL_AFTER_MIN = (72, 720)
SEED = 7


@dataclass(frozen=True, slots=True)
class Record:
    """One record for Kafka: its timestamp (ms) is the event's `ts`, as `clock: records` asks."""

    ts: int
    kind: str
    """`prediction` or `label`."""
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Milestone:
    """Something people did in the story, which no monitor is told."""

    ts: int
    text: str


MILESTONES = (
    Milestone(START, f"{BIKES}@{BIKES_FIRST} (trained on January to March 2011) goes live"),
    Milestone(START, f"{INCOME}@{INCOME_VERSION} goes live"),
    Milestone(BROKEN[0], "an upstream team ships a change: hours_per_week now arrives in minutes"),
    Milestone(BROKEN[1], "the upstream team repairs it: hours again"),
    Milestone(
        RETRAINED,
        f"{BIKES}@{BIKES_SECOND} (trained on the last 12 months) goes live; "
        f"@{BIKES_FIRST} stays in shadow",
    ),
)


def records() -> list[Record]:
    """All records of the story, in order of time; trains the three models (seconds)."""
    out = [*_bike_records(bikes()), *_income_records(income())]
    return sorted(out, key=lambda record: (record.ts, record.kind, record.key, record.value))


def _bike_records(rows: Sequence[Row]) -> list[Record]:
    timed = [(row.ts, row) for row in rows if row.ts is not None]
    first = models.train_bikes([row for ts, row in timed if ts < START])
    second = models.train_bikes([row for ts, row in timed if SECOND_LEARNS_FROM <= ts < RETRAINED])
    served = [(ts, row) for ts, row in timed if START <= ts < END]
    shadowed = [(ts, row) for ts, row in served if ts >= RETRAINED]
    out = []
    for version, model, part in (
        (BIKES_FIRST, first, served),
        (BIKES_SECOND, second, shadowed),
    ):
        outputs = models.rentals(model, [row for _, row in part])
        for (ts, row), output in zip(part, outputs, strict=True):
            out.append(_prediction(_bike_id(ts), (BIKES, version), ts, row, output))
    delays = random.Random(SEED)  # noqa: S311  reproducible, not secret
    for ts, row in served:
        after = delays.randint(*BIKE_LABEL_AFTER_MIN) * MINUTE_MS
        out.append(_label(_bike_id(ts), BIKES, ts + after, row.label))
    return out


def _income_records(rows: Sequence[Row]) -> list[Record]:
    model = models.train_income(rows[:INCOME_TRAINING_ROWS])
    times = range(START, END, INCOME_EVERY_MS)
    cases = rows[INCOME_TRAINING_ROWS : INCOME_TRAINING_ROWS + len(times)]
    served = [_in_minutes(row) if BROKEN[0] <= ts < BROKEN[1] else row
              for ts, row in zip(times, cases, strict=True)]  # fmt: skip
    out = []
    delays = random.Random(SEED)  # noqa: S311  reproducible, not secret
    chances = models.probabilities(model, served)
    for number, (ts, row, chance) in enumerate(zip(times, served, chances, strict=True)):
        name = f"income-{number}"
        output = models.POSITIVE if chance >= 0.5 else models.NEGATIVE  # noqa: PLR2004  the middle
        scores = {models.POSITIVE: chance, models.NEGATIVE: round(1 - chance, 4)}
        out.append(_prediction(name, (INCOME, INCOME_VERSION), ts, row, output, scores=scores))
        after = delays.randint(*INCOME_LABEL_AFTER_MIN) * MINUTE_MS
        out.append(_label(name, INCOME, ts + after, row.label))
    return out


def _in_minutes(row: Row) -> Row:
    """The row as the broken upstream sends it."""
    hours = row.features["hours_per_week"]
    if not isinstance(hours, int):
        return row
    return replace(row, features={**row.features, "hours_per_week": hours * 60})


def _bike_id(ts: int) -> str:
    return f"bike-{ts // DAY_MS}-{ts % DAY_MS // HOUR_MS:02d}"


def _prediction(
    name: str,
    subject: tuple[str, str],
    ts: int,
    row: Row,
    output: float | str,
    *,
    scores: dict[str, float] | None = None,
) -> Record:
    event: dict[str, object] = {
        "prediction_id": name,
        "model": subject[0],
        "version": subject[1],
        "ts": ts,
        "features": row.features,
        "prediction": output,
    }
    if scores is not None:
        event["scores"] = scores
    if row.segments:
        event["segments"] = row.segments
    return Record(ts, "prediction", name, orjson.dumps(event))


def _label(name: str, model: str, ts: int, label: float | str) -> Record:
    event = {"prediction_id": name, "model": model, "ts": ts, "label": label}
    return Record(ts, "label", name, orjson.dumps(event))
