"""What serving code hands over, as wire values."""

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from driftline.errors import ContractError
from driftline.values import UNSUPPORTED, as_id, epoch_ms, is_missing, plain, wire_safe


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("x", "x"),
        (Text("x"), "x"),
        (Colour.RED, "red"),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(2.5), 2.5),
        (np.datetime64("2026-11-01T00:00:00.123456789"), "2026-11-01T00:00:00.123456+00:00"),
        (np.datetime64("NaT"), None),
        (np.ma.masked, None),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-11-01"), "2026-11-01T00:00:00+00:00"),
        (pa.scalar(4), 4),
        (pa.scalar(None, pa.int64()), None),
        (datetime(2026, 11, 1, tzinfo=UTC), "2026-11-01T00:00:00+00:00"),
        (date(2026, 11, 1), "2026-11-01"),
        (timedelta(seconds=2), 2.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_value_becomes_plain_and_of_a_plain_type(given, expected):
    value = plain(given)
    assert value == expected
    assert type(value) is type(expected)


class Hostile:
    """Raises whatever is asked of it."""

    shape = ()

    def item(self):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "given",
    [
        [1.0],
        {"a": 1},
        b"x",
        np.zeros(3),
        np.void(b"ab"),
        1j,
        np.complex128(1j),
        Hostile(),
        object(),
    ],
)
def test_what_is_no_feature_becomes_the_sign_for_it(given):
    assert plain(given) is UNSUPPORTED


def test_numbers_beyond_float64_become_infinite():
    assert plain(Fraction(10**400)) == math.inf
    assert wire_safe(10**400) == math.inf
    assert wire_safe(2**64) == float(2**64)
    assert wire_safe(2**63 - 1) == 2**63 - 1
    assert math.isnan(plain(Decimal("sNaN")))


def test_lone_surrogates_are_replaced():
    assert wire_safe("a\ud800b") == "a?b"


@pytest.mark.parametrize(
    "given",
    [
        1_793_500_000_123,
        1_793_500_000_123.0,
        np.int64(1_793_500_000_123),
        datetime.fromtimestamp(1_793_500_000.123, UTC),
        datetime.fromtimestamp(1_793_500_000.123, UTC).replace(tzinfo=None),
        datetime.fromtimestamp(1_793_500_000.123, timezone(timedelta(hours=5))),
        pd.Timestamp(1_793_500_000_123, unit="ms"),
        np.datetime64(1_793_500_000_123, "ms"),
        "2026-11-01T02:26:40.123Z",
    ],
)
def test_every_form_of_a_time_is_the_same_millisecond(given):
    assert epoch_ms(given) == 1_793_500_000_123


@pytest.mark.parametrize(
    "given",
    [1_793_500_000, 1_793_500_000_123_456, "2026-11-01T02:26:40", "soon", True, math.nan, [], None],
)
def test_seconds_naive_text_and_what_is_no_time_are_refused(given):
    with pytest.raises(ContractError, match="bad_ts"):
        epoch_ms(given)


def test_missing_is_recognised_without_comparing():
    assert all(map(is_missing, [None, math.nan, pd.NA, pd.NaT]))
    assert not any(map(is_missing, [0, "", "nan", [], np.zeros(2)]))


def test_integer_and_uuid_ids_are_taken_as_their_text():
    assert as_id(np.int64(5)) == ("5", "5")
    assert as_id(UUID(int=1)) == ("00000000-0000-0000-0000-000000000001",) * 2
    assert as_id(5.0) == ("5.0", 5.0)  # refused later: an integer column with a gap is no id
