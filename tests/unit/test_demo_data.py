"""The demo's data are what their README says, byte for byte, and the models can learn them."""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib import resources

import pytest

from streams.demo import data, extract, models, traffic
from streams.demo.data import HOUR_MS, ms

SHA256 = {
    "bikes.csv.gz": "2b6f9823d129c213777a523ab97129af2856a77310e405c5aaa5586bb54f8d61",
    "income.csv.gz": "054a00699974c94194a4d1d6690b2b8698d69ee1ad2b3b768682652afc67fee8",
}


@pytest.fixture(scope="module")
def bikes():
    return data.bikes()


@pytest.fixture(scope="module")
def income():
    return data.income()


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_the_ones_that_were_extracted(name):
    packed = resources.files("streams.demo").joinpath("data", name).read_bytes()
    assert len(packed) < 300_000
    assert sha256(gzip.decompress(packed)).hexdigest() == SHA256[name]


def test_sources_authors_and_licences_are_named():
    text = resources.files("streams.demo").joinpath("data", "README.md").read_text()
    for name in ("Fanaee-T", "Gama", "Becker", "Kohavi", "CC BY 4.0", "10.24432/C5W894"):
        assert name in text


def test_bike_hours_are_in_order_of_time_and_cover_both_years(bikes):
    times = [row.ts for row in bikes]
    assert len(times) == 17_379
    assert times == sorted(set(times))
    assert times[0] == ms("2011-01-01")
    assert times[-1] == ms("2012-12-31", 23)
    assert all(ts % HOUR_MS == 0 for ts in times)
    assert sum(row.label for row in bikes) == 3_292_679  # UCI's own total


def test_gaps_in_the_weather_stay_gaps(bikes):
    missing = sum(row.features["weather"] is None for row in bikes)
    assert 0.07 < missing / len(bikes) < 0.075


def test_census_records_have_their_classes_and_question_marks_are_missing(income):
    assert len(income) == extract.INCOME_ROWS
    assert {row.label for row in income} == {models.POSITIVE, models.NEGATIVE}
    share = sum(row.label == models.POSITIVE for row in income) / len(income)
    assert 0.23 < share < 0.25
    assert all("?" not in row.features.values() for row in income)
    assert sum(row.features["occupation"] is None for row in income) > 2_000
    assert set(income[0].segments) == {"sex", "race"}
    assert not set(income[0].segments) & set(income[0].features)


@pytest.mark.parametrize(
    ("text", "hour"), [("12am", 0), ("1am", 1), ("11am", 11), ("12pm", 12), ("11pm", 23)]
)
def test_hours_of_the_package_are_read(text, hour):
    assert extract.hour_of_day(text) == hour


def mean_error(model, rows):
    outputs = models.rentals(model, rows)
    return sum(abs(p - row.label) for p, row in zip(outputs, rows, strict=True)) / len(rows)


def between(rows, start, end):
    return [row for row in rows if ms(start) <= row.ts < ms(end)]


def test_the_first_bike_model_learns_and_goes_stale_and_the_second_is_better(bikes):
    first = models.train_bikes([row for row in bikes if row.ts < traffic.START])
    second = models.train_bikes(
        [row for row in bikes if traffic.SECOND_LEARNS_FROM <= row.ts < traffic.RETRAINED]
    )
    fresh = mean_error(first, between(bikes, "2011-04-01", "2011-06-01"))
    autumn = between(bikes, "2012-09-01", "2012-10-01")
    assert 50 < fresh < 80
    assert mean_error(first, autumn) > 2 * fresh
    assert mean_error(second, autumn) < 0.6 * mean_error(first, autumn)


def test_the_income_model_reaches_a_sensible_accuracy_and_minutes_break_it(income):
    model = models.train_income(income[: traffic.INCOME_TRAINING_ROWS])
    unseen = income[traffic.INCOME_TRAINING_ROWS :][:5_000]
    broken = [traffic._in_minutes(row) for row in unseen]

    def accuracy(rows):
        chances = models.probabilities(model, rows)
        right = [
            (chance >= 0.5) == (row.label == models.POSITIVE)
            for chance, row in zip(chances, rows, strict=True)
        ]
        return sum(right) / len(right)

    assert 0.83 < accuracy(unseen) < 0.87
    assert accuracy(broken) < 0.4
    assert unseen[0].features["hours_per_week"] * 60 == broken[0].features["hours_per_week"]
